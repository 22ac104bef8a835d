"""What two rulesets decide differently: every hook, both families, every connection state, exactly."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from kakoi.reach import dimensions as d
from kakoi.reach.decide import Decision, decide
from kakoi.reach.diagram import Diagrams, Node, boxes_of
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.engine import HOOKS, CompiledRuleset, Hook, Outcome, Question, piece_budget
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.memory import no_collection
from kakoi.reach.names import CT_STATES
from kakoi.reach.space import hidden_outcomes, on_the_wire, restrict

_PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Change:
    """One box of packets that the second ruleset decides differently from the first."""

    hook: Hook
    kind: str
    """``opened``, ``closed``, or ``retargeted``: let through by both, translated to something else."""
    box: Box
    certain: bool
    """They differ whatever is not known about the machine."""
    witness: Box
    """One packet of the box."""
    before: Decision
    after: Decision


def difference(before: CompiledRuleset, after: CompiledRuleset) -> Iterator[Change]:
    """Every change from one ruleset to another; nothing when they let exactly the same through.

    What cannot be known (limits, routing look-ups, the arguments of iptables extensions) counts as equal only where both
    rulesets ask it in the same rule; otherwise the change is listed as not certain.

    Raises:
        BudgetExceededError: a comparison takes too many pieces.
    """
    for hook in HOOKS:
        diagrams = Diagrams(piece_budget())
        with no_collection():
            first = Question(before, hook, diagrams).answer({})
            second = Question(after, hook, diagrams).answer({})
        if first is second:
            continue
        compared = diagrams.combine(first, second, _compare)
        ordinary = list(_changes(hook, compared, before, after, on_the_wire(hook)))
        yield from ordinary or _changes(hook, compared, before, after, {})


def _compare(before: Hashable, after: Hashable) -> Hashable:
    assert isinstance(before, Outcome)  # noqa: S101 - answers hold nothing else
    assert isinstance(after, Outcome)  # noqa: S101
    passed_before, passed_after = before.verdict == "accept", after.verdict == "accept"
    if passed_before != passed_after:
        return Outcome("opened" if passed_after else "closed")
    if passed_before and before.translation != after.translation:
        return Outcome("retargeted", after.translation)
    return Outcome(_PASSED)


def _changes(
    hook: Hook, compared: Node, before: CompiledRuleset, after: CompiledRuleset, region: Box
) -> Iterator[Change]:
    """The changes within a region: unmarked packets of real interfaces first, since that is what arrives."""
    diagrams = Diagrams(piece_budget())
    judged = hidden_outcomes(restrict(compared, region, diagrams), diagrams, lambda outcomes: outcomes)
    for box, outcomes in boxes_of(judged, _differs):
        assert isinstance(outcomes, frozenset)  # noqa: S101 - the judgement above
        kinds = {outcome.verdict for outcome in outcomes}
        for kind in sorted(kinds - {_PASSED}):
            witness = _witness(hook, box)
            verdicts = decide(before, hook, witness), decide(after, hook, witness)
            yield Change(hook, kind, box, len(kinds) == 1, witness, *verdicts)


def _differs(outcomes: Hashable) -> bool:
    return isinstance(outcomes, frozenset) and any(outcome.verdict != _PASSED for outcome in outcomes)


_ADDRESSES = ("192.0.2.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "203.0.113.1", "2001:db8::1", "fd00::1")
_NAMES = ("eth0", "eth1", "lan0", "wan0", "x0", "x1")
_LIKED: dict[Dimension, tuple[int, ...]] = {
    d.FAMILY: (0,),
    d.CT_STATE: (CT_STATES.index("new"),),
    d.PROTOCOL: (6, 17),
    d.SPORT: (40000,),
    d.DPORT: (443, 80, 22),
    d.IIF: tuple(map(d.name_number, _NAMES)),
    d.OIF: tuple(map(d.name_number, reversed(_NAMES))),
    **{
        of: tuple(int(ip_address(text)) for text in _ADDRESSES if (":" in text) == (of.notation == "ipv6"))
        for of in d.HEADER[:4]
    },
}
"""Values that make a witness an ordinary packet, best first."""


def _witness(hook: Hook, box: Box) -> Box:
    """One packet of a box, as ordinary as the box allows: a new TCP connection between unicast addresses."""
    point: dict[Dimension, IntervalSet] = {}

    def choose(of: Dimension) -> None:
        values = box.get(of, d.everything(of))
        if of in {d.IIF, d.OIF}:
            values = values.clip(1, of.maximum) or values
        liked = [value for value in _LIKED.get(of, ()) if value in values]
        point[of] = IntervalSet.single(liked[0] if liked else values.first)

    for of in (d.FAMILY, d.CT_STATE, d.PROTOCOL, *box):
        choose(of)
    for of in d.ADDRESSES[4 if point[d.FAMILY] == d.IPV4 else 6]:
        choose(of)
    if point[d.PROTOCOL].first in d.PORT_PROTOCOLS:
        choose(d.SPORT)
        choose(d.DPORT)
    if hook != "output":
        choose(d.IIF)
    if hook != "input":
        choose(d.OIF)
    return point
