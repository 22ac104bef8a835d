"""What one machine lets through, worked out once for each way through it and kept as boxes.

A *passage* is a box of packets in the coordinates in which they arrive, together with what address translation makes of
them. The machine's own routing table answers ``fib saddr . iif oif`` exactly: it is what stops forged sources.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kakoi.reach import dimensions as d
from kakoi.reach.compiled import Hook
from kakoi.reach.conditions import merge
from kakoi.reach.diagram import BudgetExceededError, Diagrams
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.engine import Question, piece_budget
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.names import CT_STATES
from kakoi.reach.network.model import FAMILY_BOX, HEARD_BY_ALL, VERSIONS, Machine
from kakoi.reach.packet import first_packet
from kakoi.reach.space import boxes_in, on_the_wire, restrict

_NEW = IntervalSet.single(CT_STATES.index("new"))
_ESTABLISHED = IntervalSet.single(CT_STATES.index("established"))
ROUTE_BACK = d.hidden("fib saddr . iif oif", 129)
"""The reader's dimension for the look-up that anti-spoofing rules make; 0 is *missing*."""
_FOUND = IntervalSet.single(1, ROUTE_BACK.maximum)
_HOP_ONLY = {d.IIF, d.OIF, d.CT_STATE, d.CT_DIRECTION, *d.MARK, *d.CT_MARK, *d.CT_STATUS}
"""What a packet does not carry from one machine to the next."""

type Translation = tuple[tuple[Dimension, IntervalSet], ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """Packets that may pass, and what they may look like afterwards."""

    box: Box
    certain: bool
    """They pass whatever is not known about the machine."""
    translations: tuple[Translation, ...] = ((),)


OPEN = (Passage({}, certain=True),)
"""A machine that filters nothing."""


def state_box(hook: Hook, *, reply: bool) -> Box:
    """What holds of every first packet of a connection, or of every answer to one, at a hook."""
    state: Box = {d.CT_STATE: _ESTABLISHED, d.CT_DIRECTION: d.ONE} if reply else {d.CT_STATE: _NEW}
    return {**on_the_wire(hook), **first_packet(state), **state}


class MachineFilter:
    """The passages through one machine; each is worked out when it is first asked for."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.exhausted = False
        """Some answer took too many pieces: everything was let through instead."""
        self._known: dict[tuple[Hook, str, str, bool], tuple[Passage, ...]] = {}
        self._route_back: dict[str, tuple[Box, ...]] = {}

    def passages(self, hook: Hook, iif: str = "", oif: str = "", *, reply: bool = False) -> tuple[Passage, ...]:
        """What passes a hook between two devices; empty names where the hook has none."""
        if self.machine.rules is None:
            return OPEN
        key = (hook, iif, oif, reply)
        if key not in self._known:
            self._known[key] = tuple(self._asked(hook, iif, oif, reply=reply))
        return self._known[key]

    def asked_box(self, hook: Hook, iif: str, oif: str, *, reply: bool) -> Box:
        """The region of a hook's question that does not depend on the packet."""
        box = dict(state_box(hook, reply=reply))
        if iif:
            box[d.IIF] = IntervalSet.single(d.name_number(iif))
        if oif:
            box[d.OIF] = IntervalSet.single(d.name_number(oif))
        return box

    def _asked(self, hook: Hook, iif: str, oif: str, *, reply: bool) -> Iterator[Passage]:
        rules = self.machine.rules
        assert rules is not None  # noqa: S101 - asked only then
        asked = self.asked_box(hook, iif, oif, reply=reply)
        destinations = self._destinations(hook, oif)
        sources: Sequence[Box] = self.sources(iif) if iif else ({},)
        for source in sources:
            for destination in destinations:
                region = merge(merge(asked, source) or {}, destination)
                if region is None or merge(source, destination) is None:
                    continue
                try:
                    diagrams = Diagrams(piece_budget())
                    node = restrict(Question(rules, hook, diagrams).answer(region), region, diagrams)
                    for accepted in boxes_in(node, region):
                        kept = {of: values for of, values in accepted.box.items() if of not in _HOP_ONLY}
                        pinned = all(accepted.box[of] == region.get(of) for of in accepted.box if of in _HOP_ONLY)
                        yield Passage(kept, accepted.certain and pinned, accepted.translations)
                except BudgetExceededError:
                    self.exhausted = True
                    yield Passage(
                        {of: v for of, v in region.items() if of not in _HOP_ONLY and not of.hidden}, certain=False
                    )

    def _destinations(self, hook: Hook, oif: str) -> Sequence[Box]:
        """Destinations that can be at this hook at all; all of them where rules rewrite destinations."""
        rules = self.machine.rules
        if rules is not None and not {d.DADDR4, d.DADDR6}.isdisjoint(rules.assigned):
            return tuple(FAMILY_BOX[version] for version in VERSIONS)
        boxes = []
        for version in VERSIONS:
            inwards = hook == "input"
            values = self.machine.heard(version) if inwards else leaving_by(self.machine, oif, version)
            if values:
                boxes.append({**FAMILY_BOX[version], d.ADDRESSES[version][1]: values})
        return boxes

    def sources(self, iif: str) -> tuple[Box, ...]:
        """All sources, split by what the look-up of the way back to them says at a device."""
        if iif not in self._route_back:
            self._route_back[iif] = tuple(self._split_sources(iif))
        return self._route_back[iif]

    def _split_sources(self, iif: str) -> Iterator[Box]:
        rules = self.machine.rules
        if rules is None or ROUTE_BACK not in rules.read or not self.machine.routing_known:
            yield {}
            return
        for version in VERSIONS:
            of = d.ADDRESSES[version][0]
            found, unsure = route_back(self.machine, iif, version)
            missing = found.union(unsure).complement(of.maximum)
            for values, answer in ((found, _FOUND), (missing, d.ZERO)):
                if values:
                    yield {**FAMILY_BOX[version], of: values, ROUTE_BACK: answer}
            if unsure:
                yield {**FAMILY_BOX[version], of: unsure}


def leaving_by(machine: Machine, oif: str, version: int) -> IntervalSet:
    """Destinations for which a machine may send packets out of a device."""
    return IntervalSet.of(
        pair for exit_ in machine.exits(version) if exit_.device == oif for pair in exit_.destinations
    )


def route_back(machine: Machine, iif: str, version: int) -> tuple[IntervalSet, IntervalSet]:
    """Sources that surely route back through a device, and those that may.

    As ``nft_fib`` does it: longest prefix, then compare the device; the machine's own addresses are no unicast route and
    count as missing. IPv6 link-local sources route back through every device.
    """
    sure: list[tuple[int, int]] = []
    unsure: list[tuple[int, int]] = []
    for exit_ in machine.exits(version):
        if exit_.device == iif:
            (sure if exit_.certain else unsure).extend(exit_.destinations)
    if version == 6:  # noqa: PLR2004 - IPv6
        link_local = HEARD_BY_ALL[6].clip(0xFE80 << 112, (0xFEC0 << 112) - 1)
        unsure.extend(link_local)
    found, maybe = IntervalSet.of(sure), IntervalSet.of(unsure)
    return found, maybe.intersection(found.complement((1 << (32 if version == 4 else 128)) - 1))  # noqa: PLR2004
