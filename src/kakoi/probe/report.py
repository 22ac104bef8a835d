"""A judgement in words: one sentence for each finding, in Japanese and English, and the same as JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from kakoi.policy import Policy
from kakoi.probe.judge import NO_VANTAGE, AttackVerdict, CellVerdict, Judgement, NameVerdict, PointVerdict, View
from kakoi.probe.rules import DIFFERENCES_TOLD, RuleVerdict

type Finding = CellVerdict | PointVerdict | AttackVerdict | NameVerdict | RuleVerdict

VIEWS: Mapping[View, tuple[str, str]] = {
    "cells": ("通信", "connections"),
    "points": ("防御点ごと", "each enforcement point alone"),
    "attacks": ("保管先への攻撃", "attacks on stores"),
    "names": ("名前", "names"),
    "rules": ("動いている規則", "rules in force"),
}
"""What each view is called."""
GATEWAYS = "gateways"
_OUTCOMES = {
    "open": ("開通", "open"),
    "blocked": ("遮断", "blocked"),
    "no_route": ("経路なし", "no route"),
    "arrived": ("宛先に到達", "arrived at the target"),
    "elsewhere": ("別の機器が応答", "answered by another machine"),
    "unknown": ("不明", "unknown"),
}
SHOWN_OF_ONE_FILTER = 3
_ROLES = {"output": ("送信", "output"), "forward": ("転送", "forward"), "input": ("受信", "input")}


class Sentence(NamedTuple):
    """One finding for people."""

    japanese: str
    english: str


class Tally(NamedTuple):
    """Verdicts between two zones."""

    held: int
    mismatch: int
    unknown: int


def describe(policy: Policy, finding: Finding) -> Sentence:
    """One finding as a sentence that names the pair, what was expected and seen, and the flow."""
    match finding:
        case CellVerdict():
            return _describe_cell(policy, finding)
        case PointVerdict():
            return _describe_point(finding)
        case AttackVerdict():
            return _describe_attack(finding)
        case NameVerdict():
            return _describe_name(finding)
        case RuleVerdict():
            return _describe_rules(finding)


def _describe_cell(policy: Policy, finding: CellVerdict) -> Sentence:
    cell = finding.question.cell
    expected, seen = _OUTCOMES[cell.expected], _OUTCOMES[finding.seen]
    points = enforcement_points(policy, finding)
    if cell.flow:
        flow = Sentence(f"許可通信 {cell.flow}", f"flow {cell.flow}")
    elif cell.expected == "open":
        flow = Sentence("管理対象の防御点なし", "nothing of ours in between")
    else:
        flow = Sentence("許可通信なし", "no flow allows it")
    decided = Sentence(f"防御点: {points}", f"decided by: {points}") if points else Sentence("", "")
    return Sentence(
        f"{_pair(finding)}: 期待 {expected[0]}、実際 {seen[0]}（{finding.reason}）。{flow.japanese}。{decided.japanese}",
        f"{_pair(finding)}: expected {expected[1]}, seen {seen[1]} ({finding.reason}); {flow.english}; {decided.english}",
    )


def _pair(finding: CellVerdict | PointVerdict) -> str:
    question = finding.question if isinstance(finding, CellVerdict) else finding.test.question
    cell = question.cell
    port = f"/{cell.port}" if cell.port is not None else ""
    return (
        f"{cell.source} -> {cell.destination} [{question.address}] {cell.service} {cell.protocol}{port} {cell.family}"
    )


def enforcement_points(policy: Policy, finding: CellVerdict) -> str:
    """Managed machines that should have decided, in the order of the way."""
    from kakoi.compile.network import forward_path  # noqa: PLC0415 - only findings need the topology

    cell = finding.question.cell
    way = [
        (cell.source, "output"),
        *((hop.gateway, "forward") for hop in forward_path(policy, cell.source, cell.destination)),
    ]
    way.append((cell.destination, "input"))
    return ", ".join(f"{host} ({role})" for host, role in way if policy.hosts[host].managed == "ansible")


def _describe_point(finding: PointVerdict) -> Sentence:
    test = finding.test
    role = _ROLES[test.role]
    if finding.verdict == "mismatch":
        return Sentence(
            f"{test.host} の{role[0]}フィルタが {_pair(finding)} を通した。許可通信なし",
            f"{test.host} ({role[1]}) let {_pair(finding)} pass: {finding.reason}; no flow allows it",
        )
    return Sentence(
        f"{test.host} の{role[0]}フィルタ単独では未確認: {_pair(finding)}（{finding.reason}）",
        f"{test.host} ({role[1]}) alone is unknown for {_pair(finding)}: {finding.reason}",
    )


def _describe_attack(finding: AttackVerdict) -> Sentence:
    assault = finding.assault
    who = f"{assault.attacker} -> {assault.store} [{assault.address}] {assault.family}"
    through = (
        Sentence(f"保管先の直前（{assault.host} が送出）", f"at the store's door (laid there by {assault.host})")
        if assault.kind == "door"
        else Sentence(f"{assault.via} 経由", f"through {assault.via}")
    )
    if finding.verdict == "mismatch":
        ports = ", ".join(f"{name}/{a}" if a == b else f"{name}/{a}-{b}" for name, a, b in finding.reached[:12])
        more = f" … +{len(finding.reached) - 12}" if len(finding.reached) > 12 else ""  # noqa: PLR2004 - a line's length
        return Sentence(
            f"{who} {through.japanese}: 届いたポート {ports}{more}",
            f"{who} {through.english}: {finding.reason}: {ports}{more}",
        )
    return Sentence(
        f"{who} {through.japanese}: 未確認（{finding.reason}）", f"{who} {through.english}: unknown: {finding.reason}"
    )


def _describe_name(finding: NameVerdict) -> Sentence:
    question = finding.question
    return Sentence(
        f"{question.source} での名前 {question.name}: {finding.reason}",
        f"{question.name} on {question.source}: {finding.reason}",
    )


def _describe_rules(finding: RuleVerdict) -> Sentence:
    told = "; ".join(finding.differences[:DIFFERENCES_TOLD])
    more = len(finding.differences) - DIFFERENCES_TOLD
    told = f": {told}{f' … +{more}' if more > 0 else ''}" if told else ""
    japanese = "ポリシーと違う規則が動いている" if finding.verdict == "mismatch" else "規則は未確認"
    return Sentence(f"{finding.host}: {japanese}（{finding.reason}）{told}", f"{finding.host}: {finding.reason}{told}")


def zone_tallies(policy: Policy, judgement: Judgement) -> Mapping[tuple[str, str], Tally]:
    """Verdicts on connections by zone pair; see ``place``."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for finding in judgement.cells:
        cell = finding.question.cell
        counts[place(policy, cell.source), place(policy, cell.destination)][finding.verdict] += 1
    return {pair: Tally(found["held"], found["mismatch"], found["unknown"]) for pair, found in counts.items()}


def places(policy: Policy) -> tuple[str, ...]:
    """Rows and columns of the matrix."""
    return (*policy.zones, GATEWAYS)


def place(policy: Policy, host: str) -> str:
    """Zone of a host; the gateways, which stand in several, are a place of their own."""
    return GATEWAYS if policy.hosts[host].kind == "gateway" else policy.zone_of(host)


def findings(judgement: Judgement, verdict: Literal["mismatch", "unknown"]) -> Iterator[Finding]:
    """Everything with a verdict, view by view; what nobody could ask is left out."""
    for view in VIEWS:
        for finding in getattr(judgement, view):
            if finding.verdict == verdict and finding.reason != NO_VANTAGE:
                yield finding


def as_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement for machines and evidence: equal judgements give equal values."""
    plan = judgement.plan
    return {
        "scope": plan.scope,
        "exit_status": int(judgement.exit_status),
        "counts": {view: judgement.count(view)._asdict() for view in VIEWS},
        "silent_hosts": dict(judgement.silent_hosts),
        "no_vantage": sorted(plan.no_vantage),
        "unprobed_attackers": list(plan.unprobed_attackers),
        "attack_frames": sum(finding.frames for finding in judgement.attacks),
        "cells": [_cell_json(finding) for finding in judgement.cells],
        "points": [_point_json(finding) for finding in judgement.points if finding.verdict != "held"],
        "attacks": [_attack_json(finding) for finding in judgement.attacks],
        "names": [_name_json(finding) for finding in judgement.names if finding.verdict != "held"],
        "rules": [_rules_json(finding) for finding in judgement.rules],
    }


def _cell_json(finding: CellVerdict) -> dict[str, Any]:
    cell = finding.question.cell
    return {
        "source": cell.source,
        "destination": cell.destination,
        "address": finding.question.address,
        "family": cell.family,
        "protocol": cell.protocol,
        "port": cell.port,
        "service": cell.service,
        "expected": cell.expected,
        "flow": cell.flow,
        "verdict": finding.verdict,
        "seen": finding.seen,
        "reason": finding.reason,
    }


def _point_json(finding: PointVerdict) -> dict[str, Any]:
    test = finding.test
    cell = test.question.cell
    return {
        "host": test.host,
        "role": test.role,
        "source": cell.source,
        "destination": cell.destination,
        "family": cell.family,
        "protocol": cell.protocol,
        "port": cell.port,
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def _attack_json(finding: AttackVerdict) -> dict[str, Any]:
    assault = finding.assault
    return {
        "host": assault.host,
        "kind": assault.kind,
        "attacker": assault.attacker,
        "store": assault.store,
        "address": assault.address,
        "via": assault.via,
        "family": assault.family,
        "frames": finding.frames,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "reached": [list(entry) for entry in finding.reached],
    }


def _name_json(finding: NameVerdict) -> dict[str, Any]:
    question = finding.question
    return {
        "source": question.source,
        "name": question.name,
        "destination": question.destination,
        "addresses": list(finding.addresses),
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def _rules_json(finding: RuleVerdict) -> dict[str, Any]:
    return {
        "host": finding.host,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "differences": list(finding.differences),
    }


def first(sentences: Iterable[Sentence], limit: int) -> tuple[list[Sentence], int]:
    """The first sentences, and how many were left off."""
    listed = list(sentences)
    return listed[:limit], max(0, len(listed) - limit)


def summary_of_mismatches(policy: Policy, judgement: Judgement) -> Iterator[Sentence]:
    """Every mismatch, one sentence each; of one machine's filter the first few, and how many more it let pass."""
    passed: dict[tuple[str, str], list[PointVerdict]] = defaultdict(list)
    for finding in findings(judgement, "mismatch"):
        if isinstance(finding, PointVerdict):
            passed[finding.test.host, finding.test.role].append(finding)
    for same in passed.values():
        yield from _with_count([describe(policy, finding) for finding in same[:SHOWN_OF_ONE_FILTER]], len(same))
    for finding in findings(judgement, "mismatch"):
        if not isinstance(finding, PointVerdict):
            yield describe(policy, finding)


def summary_of_unknown(policy: Policy, judgement: Judgement) -> Iterator[Sentence]:
    """What could not be found out, one sentence for each reason, with how often and one example."""
    by_reason: dict[tuple[type, str], list[Finding]] = defaultdict(list)
    for finding in findings(judgement, "unknown"):
        by_reason[type(finding), finding.reason].append(finding)
    for same in by_reason.values():
        yield from _with_count([describe(policy, same[0])], len(same))


def _with_count(shown: list[Sentence], total: int) -> list[Sentence]:
    """Sentences, the last with how many of its kind are left off."""
    if total > len(shown):
        last, more = shown[-1], total - len(shown)
        shown[-1] = Sentence(f"{last.japanese}（ほか {more:,} 件）", f"{last.english} (and {more:,} more)")
    return shown
