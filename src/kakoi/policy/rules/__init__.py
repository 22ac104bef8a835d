"""The rules of the domain: what a well-formed policy may still not say."""

from collections.abc import Iterator

from kakoi.policy.problem import Finding
from kakoi.policy.rules import (
    addressing,
    administration,
    assets,
    flows,
    guarantees,
    references,
    services,
    topology,
)
from kakoi.policy.rules.registry import RULES, Rule
from kakoi.policy.rules.scope import Scope

__all__ = ["RULES", "Rule", "Scope", "findings"]

SUBJECTS = (references, addressing, topology, services, flows, administration, assets, guarantees)
"""Modules of rules, in the order in which they are listed."""


def findings(scope: Scope, broken: frozenset[str]) -> Iterator[Finding]:
    """What every rule that can be judged has to say; ``broken`` names sections with something left out."""
    for rule in RULES:
        if rule.needs.isdisjoint(broken):
            yield from rule.check(scope)
