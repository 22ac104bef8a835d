"""The rules in force beside the compiled ones: what is missing and what was added, chain by chain. Pure.

Asking the network shows what gets through; it cannot show a rule whose loss another rule still makes up for, such as a
chain's last ``drop`` above a policy of drop. So each host's table is also compared, line by line, with the one that
the same kernel makes of the compiled file (module ``nftables_table`` in check mode: both listings are in one normal
form, without counters).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

DIFFERENCES_TOLD = 12


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """One host's table."""

    host: str
    verdict: Literal["held", "mismatch", "unknown"]
    reason: str
    differences: tuple[str, ...] = ()
    """Each as ``chain office-localhost: missing: counter drop``. A chain's name is the pair of zones it decides."""


def judge_rules(hosts: Iterable[str], results: Mapping[str, Mapping[str, Any]]) -> tuple[RuleVerdict, ...]:
    """One verdict for each host; a host without a result was not compared, which is never held."""
    return tuple(_judge_host(host, results.get(host)) for host in hosts)


def _judge_host(host: str, result: Mapping[str, Any] | None) -> RuleVerdict:
    if result is None or result.get("failed") or result.get("unreachable"):
        said = str((result or {}).get("msg") or "it gave no answer")
        return RuleVerdict(host, "unknown", f"its rules could not be compared: {said}")
    if not result.get("verified"):
        return RuleVerdict(host, "mismatch", str(result.get("msg") or "it holds no rules"))
    if not result.get("changed"):
        return RuleVerdict(host, "held", "")
    diff = result.get("diff") or {}
    if not diff.get("before"):
        return RuleVerdict(host, "mismatch", "the table inet kakoi is not loaded")
    found = tuple(differences(str(diff["before"]), str(diff["after"])))
    return RuleVerdict(host, "mismatch", f"{len(found)} lines differ from the compiled rules", found)


def differences(in_force: str, compiled: str) -> Iterator[str]:
    """Lines of each chain, set and map that only one of two listings has; the order of rules counts last."""
    here, wanted = _blocks(in_force), _blocks(compiled)
    for block in (*wanted, *(block for block in here if block not in wanted)):
        if block not in here:
            yield f"{block}: missing"
            continue
        if block not in wanted:
            yield f"{block}: added"
            continue
        lost, gained = Counter(wanted[block]) - Counter(here[block]), Counter(here[block]) - Counter(wanted[block])
        yield from (f"{block}: missing: {line}" for line in lost.elements())
        yield from (f"{block}: added: {line}" for line in gained.elements())
        if not lost and not gained and here[block] != wanted[block]:
            yield f"{block}: the same rules in another order"


def _blocks(listing: str) -> dict[str, list[str]]:
    """``chain X``, ``set X``, ``map X`` -> its lines."""
    blocks: dict[str, list[str]] = {}
    current = ""
    for line in listing.splitlines():
        if line.startswith("\t") and not line.startswith("\t\t") and line.endswith("{"):
            current = line.strip(" \t{")
            blocks[current] = []
        elif line.startswith("\t\t") and current:
            blocks[current].append(line.strip())
    return blocks
