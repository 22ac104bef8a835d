"""Whether a machine is open to what the flows say and to nothing else: connections gained, and connections missing.

A sender uses his own addresses here. What he could send with his own output rules switched off counts, unless the
receiver has no rules of its own (``managed: external``): then only its neighbours' rules stand before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kakoi.compile.network import endpoint_address
from kakoi.compile.placement import Grant, Pair, Placement
from kakoi.policy.model import Family, Policy
from kakoi.policy.sets import hosts_in
from kakoi.reach import dimensions as d
from kakoi.reach.dimensions import Box
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.attack import NOBODY, Attacker
from kakoi.reach.network.boxes import remainder
from kakoi.reach.network.model import FAMILY_BOX, VERSIONS
from kakoi.reach.network.travel import Delivery

_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
_FAMILY_OF_ICMP = {"icmp": 4, "icmpv6": 6}
_ICMP_TYPE = {"icmp": d.ICMP_TYPE, "icmpv6": d.ICMPV6_TYPE}


@dataclass(frozen=True, slots=True)
class Gained:
    """Packets that get through without a flow."""

    sender: str
    wire: str
    delivery: Delivery
    """With a box that no flow covers."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a flow promises and the network does not surely give."""

    flow: str
    sender: str
    target: str
    box: Box
    direction: str
    """``there`` or ``back``."""
    may: bool
    """It may get through nevertheless."""


def grant_box(grant: Grant, version: int) -> Box | None:
    """The ports, or the ICMP type, of a grant; ``None`` where it belongs to the other family."""
    if _FAMILY_OF_ICMP.get(grant.protocol, version) != version:
        return None
    box: dict[d.Dimension, IntervalSet] = {
        **FAMILY_BOX[version],
        d.PROTOCOL: IntervalSet.single(_NUMBERS[grant.protocol]),
    }
    box[_ICMP_TYPE.get(grant.protocol, d.DPORT)] = IntervalSet.single(grant.first, grant.last)
    return box


class Exactness:
    """Compares what arrives at machines with what the flows say."""

    def __init__(self, policy: Policy, attacker: Attacker) -> None:
        self._policy = policy
        self._attacker = attacker
        self._placement = Placement(policy)
        self._sent: dict[tuple[str, bool, int], tuple[tuple[str, Delivery], ...]] = {}

    def gained(self, target: str, failed: frozenset[str] = NOBODY, most_opened: int = 0) -> Iterator[Gained]:
        """Connections to a machine that no flow allows."""
        filtering = self._attacker.model.machines[target].rules is not None
        for sender in [*self._attacker.model.machines, *sorted(self._attacker.outside)]:
            if sender == target:
                continue
            allowed = self._allowed(sender, target)
            for wire, delivery in self._arriving(sender, most_opened, bypass=filtering):
                if delivery.target != target or not delivery.opened <= failed:
                    continue
                for box in remainder([delivery.box], allowed):
                    left = Delivery(target, box, delivery.opened, delivery.certain, delivery.last, delivery.wire)
                    yield Gained(sender, wire, left)

    def missing(self, target: str) -> Iterator[Missing]:
        """Flows to a machine that do not surely work, there or back."""
        for pair, grants in self._placement.grants.items():
            if pair.destination != target and pair.destination not in self._zones(target):
                continue
            senders = (pair.source,) if pair.source in self._policy.hosts else hosts_in(self._policy, [pair.source])
            for sender in senders:
                if sender != target:
                    for grant in grants:
                        yield from self._missing(sender, target, grant)

    def _missing(self, sender: str, target: str, grant: Grant) -> Iterator[Missing]:
        flow = self._placement.flow_ids[grant.order]
        for version in VERSIONS:
            family: Family = "ipv4" if version == 4 else "ipv6"  # noqa: PLR2004 - IPv4
            start = endpoint_address(self._policy, sender, target, family)
            end = endpoint_address(self._policy, target, sender, family)
            ports = grant_box(grant, version)
            if start is None or end is None or ports is None:
                continue
            source, destination = d.ADDRESSES[version]
            there = {**ports, source: IntervalSet.single(int(start)), destination: IntervalSet.single(int(end))}
            back = {of: values for of, values in ports.items() if of in {d.FAMILY, d.PROTOCOL}}
            back |= {source: IntervalSet.single(int(end)), destination: IntervalSet.single(int(start))}
            if d.DPORT in ports:
                back[d.SPORT] = ports[d.DPORT]
            for here, other, box, direction in ((sender, target, there, "there"), (target, sender, back, "back")):
                arrived = [
                    one
                    for one in self._attacker.traveller(0).from_machine(here, box, reply=direction == "back")
                    if one.target == other
                ]
                left = remainder([box], [one.box for one in arrived if one.certain])
                if left:
                    still = remainder([box], [one.box for one in arrived])
                    yield Missing(flow, sender, target, left[0], direction, not still)

    def _zones(self, host: str) -> tuple[str, ...]:
        entry = self._policy.hosts[host]
        return () if entry.kind == "gateway" else tuple(entry.interfaces)

    def _allowed(self, sender: str, target: str) -> list[Box]:
        """Everything that flows let a sender open to a target."""
        ends = {target, *self._zones(target)}
        sources = {sender, *(self._zones(sender) if sender in self._policy.hosts else ())}
        target_machine = self._attacker.model.machines[target]
        found: list[Box] = []
        for source in sources:
            for end in ends:
                for grant in self._placement.grants.get(Pair(source, end), ()):
                    for version in VERSIONS:
                        ports = grant_box(grant, version)
                        if ports is not None:
                            found.append({**ports, d.ADDRESSES[version][1]: target_machine.own(version)})
        return found

    def _arriving(self, sender: str, most_opened: int, *, bypass: bool) -> tuple[tuple[str, Delivery], ...]:
        key = (sender, bypass, most_opened)
        if key not in self._sent:
            self._sent[key] = tuple(self._send(sender, most_opened, bypass=bypass))
        return self._sent[key]

    def _send(  # noqa: C901 - one branch for each kind of sender
        self, sender: str, most_opened: int, *, bypass: bool
    ) -> Iterator[tuple[str, Delivery]]:
        traveller = self._attacker.traveller(most_opened)
        model = self._attacker.model
        if sender not in model.machines:
            for version in VERSIONS:
                listed = IntervalSet.of(
                    pair for machine, _ in model.neighbours.get(sender, ()) for pair in machine.own(version)
                )
                of = d.ADDRESSES[version][0]
                space = model.space(sender, version).intersection(listed.complement(of.maximum))
                if space:
                    for delivery in traveller.from_wire(sender, {**FAMILY_BOX[version], of: space}):
                        yield sender, delivery
            return
        machine = model.machines[sender]
        if not bypass:
            wire = machine.legs[0].wire if machine.legs else ""
            for delivery in traveller.from_machine(sender):
                yield wire, delivery
            return
        for leg in machine.legs:
            for version in VERSIONS:
                own = machine.own(version)
                if own:
                    box = {**FAMILY_BOX[version], d.ADDRESSES[version][0]: own}
                    for delivery in traveller.from_wire(leg.wire, box):
                        yield leg.wire, delivery
