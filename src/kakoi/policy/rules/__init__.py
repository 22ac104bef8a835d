"""The rules of the domain: what a well-formed policy may still not say."""

import importlib
from collections.abc import Iterator

from kakoi.policy.problem import Finding
from kakoi.policy.rules.registry import RULES, Rule
from kakoi.policy.rules.scope import Scope

__all__ = ["RULES", "Rule", "Scope", "findings"]

SUBJECTS = ("references", "addressing", "topology", "services", "flows", "administration", "assets", "guarantees")
"""Modules of rules, in the order in which they are judged and listed; importing one registers its rules."""

for _subject in SUBJECTS:
    importlib.import_module(f"{__name__}.{_subject}")


def findings(scope: Scope, broken: frozenset[str]) -> Iterator[Finding]:
    """What every rule that can be judged has to say; ``broken`` names sections with something left out."""
    for rule in RULES:
        if rule.needs.isdisjoint(broken):
            yield from rule.check(scope)
