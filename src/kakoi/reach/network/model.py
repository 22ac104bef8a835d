"""Machines on wires: addresses, routes, forwarding, rules. What packets can do follows from this and nothing else.

A *wire* is a set of network devices that hear each other without a router: a zone of the policy, or, for an observed
device outside every zone, its own network. Addresses are numbers; ``version`` is 4 or 6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Literal

from kakoi.reach import dimensions as d
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.intervals import EMPTY, IntervalSet

type Version = Literal[4, 6]
type Network = IPv4Network | IPv6Network
type Basis = Literal["observed", "compiled", "rendered", "assumed_open"]
"""Where a machine's rules were taken from: read back from it, compiled for it, rendered for a machine that nobody logs in
to (``managed: external``: nothing of it is known, so it is taken to accept everything), or an address without a host."""

VERSIONS: tuple[Version, ...] = (4, 6)
FAMILY_BOX = {4: {d.FAMILY: d.IPV4}, 6: {d.FAMILY: d.IPV6}}
_MAXIMUM = {4: (1 << 32) - 1, 6: (1 << 128) - 1}
HEARD_BY_ALL: Mapping[int, IntervalSet] = {
    4: IntervalSet.of([(0xE0000000, 0xEFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)]),
    6: IntervalSet.of([(0xFE80 << 112, (0xFEC0 << 112) - 1), (0xFF << 120, (1 << 128) - 1)]),
}
"""Destinations that every machine on a wire may take as its own: multicast and broadcast (RFC 5771, RFC 919), IPv6
link-local and multicast (RFC 4291). No router passes them on."""


def addresses_of(networks: Iterable[Network], version: int) -> IntervalSet:
    """The addresses of networks of one version."""
    return IntervalSet.of(
        (int(network.network_address), int(network.broadcast_address))
        for network in networks
        if network.version == version
    )


@dataclass(frozen=True, slots=True)
class Leg:
    """A network device of a machine, and the wire it stands on."""

    device: str
    wire: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    def own(self, version: int) -> IntervalSet:
        """Its addresses."""
        return IntervalSet.of((int(one.ip), int(one.ip)) for one in self.addresses if one.version == version)

    def on_link(self, version: int) -> IntervalSet:
        """Addresses reached over it without a router."""
        return addresses_of((one.network for one in self.addresses), version)

    def broadcast(self) -> IntervalSet:
        """IPv4 broadcast addresses of its networks (RFC 919, RFC 922)."""
        ends = (one.network for one in self.addresses if one.version == 4 and one.network.prefixlen < 31)  # noqa: PLR2004 - RFC 3021
        return IntervalSet.of((int(net.broadcast_address), int(net.broadcast_address)) for net in ends)


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of a routing table; ``device`` is ``None`` where packets are thrown away."""

    destination: Network
    device: str | None
    via: int | None
    """The next router's address; ``None``: the destination itself is on the wire."""
    certain: bool = True
    """Whether the kernel surely uses it; entries of other tables may or may not be looked at."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Where a machine may send packets for some destinations."""

    device: str | None
    via: int | None
    destinations: IntervalSet
    certain: bool
    """No other way exists for these destinations."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One host of the network."""

    name: str
    legs: tuple[Leg, ...]
    routes: tuple[Route, ...]
    forwards: frozenset[int]
    """IP versions that it passes on."""
    rules: CompiledRuleset | None
    """``None``: it accepts everything."""
    basis: Basis
    routing_known: bool = True
    """False where the machine chooses routes by more than the destination: every route may then be taken."""
    text: str = field(default="", repr=False, compare=False)
    """The compiled file, for the line of a rule."""
    _exits: dict[int, tuple[Exit, ...]] = field(default_factory=dict, repr=False, compare=False, init=False)

    def leg(self, device: str) -> Leg:
        """The leg of a device name."""
        return next(leg for leg in self.legs if leg.device == device)

    def on(self, wire: str) -> tuple[Leg, ...]:
        """Its legs on a wire."""
        return tuple(leg for leg in self.legs if leg.wire == wire)

    def own(self, version: int) -> IntervalSet:
        """All addresses of the machine: it answers to each of them on every device (RFC 1122, weak host model)."""
        return IntervalSet.of(pair for leg in self.legs for pair in leg.own(version))

    def heard(self, version: int) -> IntervalSet:
        """Destinations that the machine takes as meant for itself, whichever device they come in by."""
        heard = self.own(version).union(HEARD_BY_ALL[version])
        if version == 4:  # noqa: PLR2004 - IPv4
            heard = heard.union(IntervalSet.of(pair for leg in self.legs for pair in leg.broadcast()))
        return heard

    def exits(self, version: int) -> tuple[Exit, ...]:
        """Every way out, by longest prefix; where several entries compete, each may be taken."""
        if version not in self._exits:
            self._exits[version] = _exits(self, version)
        return self._exits[version]


def _exits(machine: Machine, version: int) -> tuple[Exit, ...]:
    connected = [
        Route(one.network, leg.device, None) for leg in machine.legs for one in leg.addresses if one.version == version
    ]
    listed = [route for route in machine.routes if route.destination.version == version]
    routes = list(dict.fromkeys([*connected, *listed]))
    left = IntervalSet.single(0, _MAXIMUM[version])
    never_routed = machine.heard(version)
    left = left.intersection(never_routed.complement(_MAXIMUM[version]))
    exits: list[Exit] = []
    for length in sorted({route.destination.prefixlen for route in routes}, reverse=True):
        same = [route for route in routes if route.destination.prefixlen == length]
        surely: list[IntervalSet] = []
        for route in same:
            whole = addresses_of((route.destination,), version)
            reached = whole.intersection(left)
            rivals = [other for other in same if other is not route and other.destination == route.destination]
            certain = machine.routing_known and route.certain and not rivals
            if reached:
                exits.append(Exit(route.device, route.via, reached, certain))
            if route.certain:
                surely.append(whole)
        for whole in surely if machine.routing_known else ():
            left = left.intersection(whole.complement(_MAXIMUM[version]))
    return tuple(exits)


@dataclass(frozen=True)
class NetworkModel:
    """All machines, and what each wire's addresses are."""

    machines: Mapping[str, Machine]
    spaces: Mapping[str, Mapping[int, IntervalSet]]
    """Wire -> version -> addresses that belong to it, listed as a machine's or not."""
    notes: tuple[str, ...] = ()
    """What an answer about this network must say: machines only compiled, machines unknown."""

    @cached_property
    def neighbours(self) -> Mapping[str, tuple[tuple[Machine, Leg], ...]]:
        """Wire -> every machine on it, with the leg it has there."""
        found: dict[str, list[tuple[Machine, Leg]]] = {wire: [] for wire in self.spaces}
        for machine in self.machines.values():
            for leg in machine.legs:
                found.setdefault(leg.wire, []).append((machine, leg))
        return {wire: tuple(members) for wire, members in found.items()}

    def space(self, wire: str, version: int) -> IntervalSet:
        """Addresses of a wire."""
        return self.spaces.get(wire, {}).get(version, EMPTY)
