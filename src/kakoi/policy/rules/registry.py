"""How a rule is written: a generator over a ``Scope``, with a sentence in each language that says what it demands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kakoi.policy.problem import Bilingual, Finding, Path
from kakoi.policy.rules.scope import Scope

type Check = Callable[[Scope], Iterator[Finding]]

NETWORK = frozenset({"zones", "hosts"})
SETS = frozenset({"zones", "hosts", "groups", "assets"})
EVERYTHING = frozenset({"enclave", "zones", "hosts", "groups", "services", "flows", "assets", "guarantees"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a policy must keep."""

    name: str
    subject: str
    demand: Bilingual
    needs: frozenset[str]
    """Sections that must be whole: a rule about what is missing would else complain about what was left out."""
    check: Check


RULES: list[Rule] = []


def rule(en: str, ja: str, needs: frozenset[str] = frozenset()) -> Callable[[Check], Check]:
    """Register a rule under its function's name."""

    def register(check: Check) -> Check:
        name = getattr(check, "__name__", "")
        RULES.append(Rule(name, check.__module__.rpartition(".")[2], Bilingual(en, ja), needs, check))
        return check

    return register


def error(
    path: Path, message: tuple[str, str] | Bilingual, remedy: tuple[str, str] | Bilingual, *, at_key: bool = False
) -> Finding:
    """A finding that refuses the policy."""
    return Finding(path, _bilingual(message), _bilingual(remedy), "error", at_key)


def warning(
    path: Path, message: tuple[str, str] | Bilingual, remedy: tuple[str, str] | Bilingual, *, at_key: bool = False
) -> Finding:
    """A finding that lets the policy pass."""
    return Finding(path, _bilingual(message), _bilingual(remedy), "warning", at_key)


def _bilingual(sentence: tuple[str, str] | Bilingual) -> Bilingual:
    return sentence if isinstance(sentence, Bilingual) else Bilingual(*sentence)
