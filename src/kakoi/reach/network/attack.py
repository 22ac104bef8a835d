"""What an attacker can take, starting from where he stands: one connection, or host after host.

An attacker has full power over what he took: his own output rules do not hold him, and he may put any packet on its wires,
with whatever source address he likes. Where a wire binds addresses to its ports (``bound``), only his own. A host that
he can open any connection to counts as taken; a router that he took gives him all of its wires.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from kakoi.reach import dimensions as d
from kakoi.reach.dimensions import Box
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.filters import MachineFilter
from kakoi.reach.network.model import FAMILY_BOX, VERSIONS, NetworkModel
from kakoi.reach.network.travel import Delivery, Traveller, by_target, unlisted

NOBODY: frozenset[str] = frozenset()


class Foothold(NamedTuple):
    """A place from which an attacker sends."""

    wire: str
    machine: str = ""
    """Whose addresses he must use; empty where he may use any."""


@dataclass(frozen=True, slots=True)
class Capture:
    """How a target fell."""

    foothold: Foothold
    delivery: Delivery
    certain: bool
    """Every step up to here passes whatever is not known."""


class Attacker:
    """Answers about one network for attackers anywhere in it; every journey is made once."""

    def __init__(
        self, model: NetworkModel, outside: Iterable[str], bound: Iterable[str] = (), most_opened: int = 0
    ) -> None:
        """Prepare.

        Args:
            model: the network.
            outside: wires that belong to nobody we know: reaching any address there gives a foothold.
            bound: wires on which nobody can use another's address.
            most_opened: how many enforcement points may fail at once in any later question.
        """
        self.model = model
        self.outside = frozenset(outside)
        self.bound = frozenset(bound) - self.outside
        self.most_opened = most_opened
        self.filters: dict[str, MachineFilter] = {}
        self._travellers: dict[int, Traveller] = {}
        self._edges: dict[tuple[Foothold, int], Mapping[str, tuple[Delivery, ...]]] = {}

    @cached_property
    def points(self) -> tuple[str, ...]:
        """Enforcement points: machines with rules that could fail."""
        return tuple(name for name, machine in self.model.machines.items() if machine.rules is not None)

    def traveller(self, most_opened: int) -> Traveller:
        """The traveller for up to so many failures; filters are shared."""
        if most_opened not in self._travellers:
            self._travellers[most_opened] = Traveller(self.model, most_opened, self.filters)
        return self._travellers[most_opened]

    def footholds(self, reference: str) -> tuple[Foothold, ...]:
        """Where somebody stands who holds a machine, or any address of a zone."""
        if reference in self.model.machines:
            legs = self.model.machines[reference].legs
            return tuple(Foothold(leg.wire, reference if leg.wire in self.bound else "") for leg in legs)
        return (Foothold(reference),)

    def edges(self, foothold: Foothold, most_opened: int = 0) -> Mapping[str, tuple[Delivery, ...]]:
        """Everything that packets from a foothold reach, those that need the fewest failures first."""
        key = (foothold, most_opened)
        if key not in self._edges:
            traveller = self.traveller(most_opened)
            self._edges[key] = by_target(
                [
                    delivery
                    for region in self.sendable(foothold)
                    for delivery in traveller.from_wire(foothold.wire, region)
                    if delivery.target != foothold.machine
                ]
            )
        return self._edges[key]

    def sendable(self, foothold: Foothold) -> tuple[Box, ...]:
        """What can be sent from a foothold."""
        if not foothold.machine:
            return ({},)
        machine = self.model.machines[foothold.machine]
        boxes = []
        for version in VERSIONS:
            own = machine.own(version)
            if version == 6 and own:  # noqa: PLR2004 - IPv6
                own = own.union(IntervalSet.single(0xFE80 << 112, (0xFE81 << 112) - 1))
            if own:
                boxes.append({**FAMILY_BOX[version], d.ADDRESSES[version][0]: own})
        return tuple(boxes)

    def direct(
        self, start: str, target: str, failed: frozenset[str] = NOBODY, most_opened: int | None = None
    ) -> Capture | None:
        """One connection from a start to a target with some enforcement points failed; a certain one if there is any."""
        found: Capture | None = None
        size = len(failed) if most_opened is None else most_opened
        for foothold in self.footholds(start):
            for delivery in self.edges(foothold, size).get(target, ()):
                if delivery.opened <= failed and start != target:
                    capture = Capture(foothold, delivery, delivery.certain)
                    if capture.certain:
                        return capture
                    found = found or capture
        return found

    def closure(  # noqa: C901 - one search, read from top to bottom
        self,
        starts: Iterable[str],
        failed: frozenset[str] = NOBODY,
        never: frozenset[str] = NOBODY,
        *,
        certain_only: bool = False,
        most_opened: int | None = None,
    ) -> Mapping[str, Capture]:
        """Everything that falls after what, breadth first: the shortest chain to each.

        Args:
            starts: machines and zones that the attacker holds.
            failed: enforcement points that accept everything.
            never: machines that cannot be taken.
            certain_only: leave out steps that rest on something unknown.
            most_opened: which journeys to use, where more than the failed ones are at hand.
        """
        taken: dict[str, Capture] = {}
        held: set[Foothold] = set()
        waiting: deque[tuple[Foothold, bool]] = deque()
        size = len(failed) if most_opened is None else most_opened

        def hold(reference: str, *, certain: bool) -> None:
            for foothold in self.footholds(reference):
                if foothold not in held:
                    held.add(foothold)
                    waiting.append((foothold, certain))

        own = set(starts)
        for start in own:
            hold(start, certain=True)
        while waiting:
            foothold, certain = waiting.popleft()
            for target, deliveries in self.edges(foothold, size).items():
                if target in taken or target in own:
                    continue
                usable = [one for one in deliveries if one.opened <= failed and (one.certain or not certain_only)]
                if not usable:
                    continue
                best = max(usable, key=lambda one: one.certain)
                taken[target] = Capture(foothold, best, certain and best.certain)
                if target in never:
                    continue
                if target in self.model.machines:
                    hold(target, certain=taken[target].certain)
                elif target in {unlisted(wire) for wire in self.outside}:
                    hold(best.wire, certain=taken[target].certain)
        return taken

    def holders(self, starts: Iterable[str], taken: Mapping[str, Capture], foothold: Foothold) -> str:
        """Who stands at a foothold: a start, or something that was taken."""
        for reference in [*starts, *taken]:
            if reference in self.model.machines:
                if foothold in self.footholds(reference):
                    return reference
            elif reference.removeprefix("unlisted:") == foothold.wire and (
                reference in starts or foothold.wire in self.outside
            ):
                return reference
        return foothold.wire

    def smallest_cut(
        self, broken_by: Callable[[frozenset[str]], bool], largest: int, points: Iterable[str] | None = None
    ) -> tuple[str, ...] | None:
        """The fewest enforcement points whose loss breaks something, or ``None`` when no ``largest`` of them do."""
        chosen = tuple(points if points is not None else self.points)
        for size in range(largest + 1):
            for failed in combinations(chosen, size):
                if broken_by(frozenset(failed)):
                    return failed
        return None
