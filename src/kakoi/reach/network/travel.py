"""Packets on their way: from a wire or a machine, hop by hop, to every machine that takes them as its own.

Regions travel, not packets: what arrives at a machine is a box, each passage through its rules cuts it, each route sends a
part of it on. Nothing is sampled; a box is left out only where an earlier one at the same place covers it whole.

Every step may instead *open* the machine it is at: its rules count as accept-all from there on. A delivery's ``opened``
says which machines had to fail for it, so one journey answers every question about lost enforcement points.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kakoi.reach import dimensions as d
from kakoi.reach.compiled import Hook
from kakoi.reach.conditions import merge
from kakoi.reach.dimensions import Box
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.filters import OPEN, MachineFilter, Passage, Translation
from kakoi.reach.network.model import FAMILY_BOX, VERSIONS, Exit, Leg, Machine, NetworkModel

_MOST_HOPS = 255
"""The largest time to live (RFC 791), or hop limit (RFC 8200)."""
_TCP = 6
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One hook passed by a box of packets."""

    machine: str
    hook: Hook
    iif: str
    oif: str
    before: Box
    """The packets as they came."""
    translation: Translation
    after: Box
    """The packets as they went on."""
    opened: bool
    """The machine's rules had to fail for this."""
    previous: "Step | None"

    def chain(self) -> tuple["Step", ...]:
        """All steps, the first one first."""
        steps: list[Step] = []
        step: Step | None = self
        while step is not None:
            steps.append(step)
            step = step.previous
        return tuple(reversed(steps))


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """Packets that reach a machine, or an address of a wire that no machine is listed for."""

    target: str
    """Name of the machine, or ``unlisted:<wire>``."""
    box: Box
    """The packets as they arrive."""
    opened: frozenset[str]
    """Machines that had to fail."""
    certain: bool
    """They arrive whatever is not known, once the opened machines have failed."""
    last: Step | None
    """The last hook passed; ``None`` for a neighbour without a machine."""
    wire: str
    """The wire that it arrived by."""


@dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    machine: Machine
    leg: Leg
    version: int
    box: Box
    opened: frozenset[str]
    certain: bool
    hops: int
    step: Step | None


def unlisted(wire: str) -> str:
    """The target that stands for addresses of a wire without a machine."""
    return f"unlisted:{wire}"


def apply(box: Box, translation: Translation) -> Box:
    """The packets of a box after address translation."""
    return {**box, **dict(translation)} if translation else box


def covers(large: Box, small: Box) -> bool:
    """Whether one box lies inside of another."""
    for of, values in large.items():
        inner = small.get(of)
        if inner is None or not values.covers(inner):
            return False
    return True


@dataclass(slots=True)
class Traveller:
    """Sends regions through a network and collects what arrives."""

    model: NetworkModel
    most_opened: int = 0
    """How many machines may fail on one way."""
    filters: dict[str, MachineFilter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for machine in self.model.machines.values():
            known = self.filters.get(machine.name)
            if known is None or known.machine is not machine:
                self.filters[machine.name] = MachineFilter(machine)

    def from_wire(self, wire: str, region: Box | None = None, *, reply: bool = False) -> tuple[Delivery, ...]:
        """Packets put on a wire by somebody with full power over his own machine: every neighbour gets them.

        Args:
            wire: where they are put.
            region: which packets; all of them, whatever source they claim, when left out.
            reply: they answer a connection instead of opening one.
        """
        journey = _Journey(self, reply=reply)
        for version in VERSIONS:
            box = merge(region or {}, FAMILY_BOX[version])
            if box is not None:
                journey.spread(wire, version, box, _NOBODY, certain=True, hops=0, step=None)
        return journey.run()

    def from_machine(self, name: str, region: Box | None = None, *, reply: bool = False) -> tuple[Delivery, ...]:
        """Packets that a machine sends itself: through its own output rules, by its own routes."""
        journey = _Journey(self, reply=reply)
        machine = self.model.machines[name]
        for version in VERSIONS:
            sources = {d.ADDRESSES[version][0]: machine.own(version)}
            box = merge(merge(region or {}, FAMILY_BOX[version]) or {}, sources)
            if box is None or not machine.own(version) or merge(region or {}, FAMILY_BOX[version]) is None:
                continue
            journey.leave(machine, "output", "", _Start(version, box))
        return journey.run()


@dataclass(frozen=True, slots=True)
class _Start:
    version: int
    box: Box
    opened: frozenset[str] = _NOBODY
    certain: bool = True
    hops: int = 0
    step: Step | None = None


class _Journey:
    def __init__(self, traveller: Traveller, *, reply: bool) -> None:
        self._traveller = traveller
        self._model = traveller.model
        self._reply = reply
        self._waiting: deque[_Arrival] = deque()
        self._seen: dict[tuple[str, str], list[tuple[Box, frozenset[str], bool]]] = {}
        self._delivered: dict[str, list[Delivery]] = {}

    def run(self) -> tuple[Delivery, ...]:
        while self._waiting:
            arrival = self._waiting.popleft()
            seen = self._seen.setdefault((arrival.machine.name, arrival.leg.device), [])
            if arrival.hops > _MOST_HOPS or _known(seen, arrival.box, arrival.opened, arrival.certain):
                continue
            seen.append((arrival.box, arrival.opened, arrival.certain))
            self._receive(arrival)
            if arrival.version in arrival.machine.forwards:
                start = _Start(
                    arrival.version, arrival.box, arrival.opened, arrival.certain, arrival.hops + 1, arrival.step
                )
                self.leave(arrival.machine, "forward", arrival.leg.device, start)
        return tuple(delivery for deliveries in self._delivered.values() for delivery in deliveries)

    def spread(
        self, wire: str, version: int, box: Box, opened: frozenset[str], *, certain: bool, hops: int, step: Step | None
    ) -> None:
        """Packets that any neighbour on the wire may get to see."""
        for machine, leg in self._model.neighbours.get(wire, ()):
            self._waiting.append(_Arrival(machine, leg, version, box, opened, certain, hops, step))
        self._to_unlisted(wire, version, box, _Start(version, box, opened, certain, hops, step))

    def _receive(self, arrival: _Arrival) -> None:
        machine, version = arrival.machine, arrival.version
        destination = {d.ADDRESSES[version][1]: machine.heard(version)}
        for passage, opened in self._ways(machine, "input", arrival.leg.device, "", arrival.opened):
            for before, translation, after in _through(arrival.box, passage):
                final = merge(after, destination)
                if final is None:
                    continue
                failed = opened != arrival.opened
                step = Step(
                    machine.name, "input", arrival.leg.device, "", before, translation, final, failed, arrival.step
                )
                certain = arrival.certain and passage.certain and len(passage.translations) == 1
                self._deliver(Delivery(machine.name, final, opened, certain, step, arrival.leg.wire))

    def leave(self, machine: Machine, hook: Literal["forward", "output"], iif: str, start: _Start) -> None:
        """Out of a machine by its routes."""
        exits = machine.exits(start.version)
        for oif in dict.fromkeys(exit_.device for exit_ in exits if exit_.device is not None):
            ways = [exit_ for exit_ in exits if exit_.device == oif]
            for passage, opened in self._ways(machine, hook, iif, oif, start.opened):
                for before, translation, after in _through(start.box, passage):
                    for exit_ in ways:
                        final = merge(after, {d.ADDRESSES[start.version][1]: exit_.destinations})
                        if final is None or exit_.device is None:
                            continue
                        failed = opened != start.opened
                        step = Step(
                            machine.name, hook, iif, exit_.device, before, translation, final, failed, start.step
                        )
                        surely = passage.certain and exit_.certain and len(passage.translations) == 1
                        onward = _Start(start.version, final, opened, start.certain and surely, start.hops, step)
                        self._send(machine, exit_, machine.leg(exit_.device).wire, onward)

    def _send(self, machine: Machine, exit_: Exit, wire: str, onward: _Start) -> None:
        """Onto a wire: to the destination itself, or to the next router, whoever that is."""
        if exit_.via is None:
            self._to_owners(wire, machine, onward)
            return
        version = onward.version
        routers = [
            (other, leg)
            for other, leg in self._model.neighbours.get(wire, ())
            if other is not machine and exit_.via in other.own(version)
        ]
        if not routers:
            self.spread(wire, version, onward.box, onward.opened, certain=False, hops=onward.hops, step=onward.step)
        for other, leg in routers:
            surely = onward.certain and len(routers) == 1
            self._waiting.append(
                _Arrival(other, leg, version, onward.box, onward.opened, surely, onward.hops, onward.step)
            )

    def _to_owners(self, wire: str, sender: Machine, onward: _Start) -> None:
        """On the wire itself: to the machines that have the destination's address."""
        of = d.ADDRESSES[onward.version][1]
        for other, leg in self._model.neighbours.get(wire, ()):
            mine = merge(onward.box, {of: other.own(onward.version)}) if other is not sender else None
            if mine is not None:
                self._waiting.append(
                    _Arrival(other, leg, onward.version, mine, onward.opened, onward.certain, onward.hops, onward.step)
                )
        self._to_unlisted(wire, onward.version, onward.box, onward)

    def _to_unlisted(self, wire: str, version: int, box: Box, start: _Start) -> None:
        free = self._free(wire, version)
        found = merge(box, {d.ADDRESSES[version][1]: free}) if free else None
        if found is not None:
            self._deliver(Delivery(unlisted(wire), found, start.opened, start.certain, start.step, wire))

    def _free(self, wire: str, version: int) -> IntervalSet:
        of = d.ADDRESSES[version][1]
        space = self._model.space(wire, version)
        for machine, _ in self._model.neighbours.get(wire, ()):
            space = space.intersection(machine.own(version).complement(of.maximum))
        return space

    def _ways(
        self, machine: Machine, hook: Hook, iif: str, oif: str, opened: frozenset[str]
    ) -> Iterator[tuple[Passage, frozenset[str]]]:
        if machine.rules is None or machine.name in opened:
            yield OPEN[0], opened
            return
        for passage in self._traveller.filters[machine.name].passages(hook, iif, oif, reply=self._reply):
            yield passage, opened
        if len(opened) < self._traveller.most_opened:
            yield OPEN[0], opened | {machine.name}

    def _deliver(self, delivery: Delivery) -> None:
        known = self._delivered.setdefault(delivery.target, [])
        if not any(
            one.opened <= delivery.opened and one.certain >= delivery.certain and covers(one.box, delivery.box)
            for one in known
        ):
            known.append(delivery)


def _known(
    seen: Sequence[tuple[Box, frozenset[str], bool]],
    box: Box,
    opened: frozenset[str],
    certain: bool,  # noqa: FBT001
) -> bool:
    return any(already <= opened and surely >= certain and covers(earlier, box) for earlier, already, surely in seen)


def _through(box: Box, passage: Passage) -> Iterator[tuple[Box, Translation, Box]]:
    before = merge(box, passage.box)
    if before is None:
        return
    for translation in passage.translations:
        yield before, translation, apply(before, translation)


def by_target(deliveries: Sequence[Delivery]) -> Mapping[str, tuple[Delivery, ...]]:
    """Deliveries grouped by where they arrive, those with the fewest failures first, TCP before others."""
    found: dict[str, list[Delivery]] = {}
    for delivery in sorted(deliveries, key=_plainness):
        found.setdefault(delivery.target, []).append(delivery)
    return {target: tuple(group) for target, group in found.items()}


def _plainness(delivery: Delivery) -> tuple[int, bool]:
    protocols = delivery.box.get(d.PROTOCOL)
    return len(delivery.opened), protocols is not None and _TCP not in protocols
