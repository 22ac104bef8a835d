"""The rules of the domain: what a well-formed policy may still not say."""

import importlib
from collections.abc import Iterator
from dataclasses import replace

from kakoi.policy.problem import Finding
from kakoi.policy.rules.registry import RULES, Rule
from kakoi.policy.rules.scope import Scope

__all__ = ["RULES", "Rule", "Scope", "findings", "waiting"]

SUBJECTS = ("references", "addressing", "topology", "services", "flows", "administration", "assets", "guarantees")
"""Modules of rules, in the order in which they are judged and listed; importing one registers its rules."""

for _subject in SUBJECTS:
    importlib.import_module(f"{__name__}.{_subject}")


def waiting(broken: frozenset[str]) -> tuple[str, ...]:
    """Names of rules that cannot be judged while something is left out of the sections they need whole."""
    return tuple(rule.name for rule in RULES if not rule.needs.isdisjoint(broken))


def findings(scope: Scope, broken: frozenset[str]) -> Iterator[Finding]:
    """What every rule that can be judged has to say; ``broken`` names sections with something left out."""
    for rule in RULES:
        if rule.needs.isdisjoint(broken):
            for finding in rule.check(scope):
                yield replace(finding, rule=rule.name)
