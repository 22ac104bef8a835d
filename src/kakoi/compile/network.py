"""Where every host stands and which way its packets go: addresses, routes, paths.

Gateways join zones. Between two zones there is one path, the same in both directions: the fewest gateways, and
among equals the one that a fixed order of names prefers (every gateway and zone weighs a distinct power of two,
so no two paths weigh the same). Routing is hop by hop with static routes only.

- A host knows a route to every trusted network. A default route exists only where its zone names one
  (``default_route``), so a zone without it has no way to the internet at all, whatever the firewalls say.
- Hosts of the untrusted zone send everything to that zone's ``default_route``: the strongest attacker knows the way.
- A gateway as the end of a connection has the address of the interface that faces the other end.

Raises ``InputError``, with every problem found, for a zone that nothing connects, a gateway without an address,
a path that would differ between there and back, or a family that is missing half way.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import NamedTuple

from kakoi.errors import InputError
from kakoi.policy.model import Address, Family, Host, Network, Policy, Zone
from kakoi.policy.sets import family_of, untrusted_zones

EVERYTHING: Mapping[Family, Network] = {"ipv4": IPv4Network("0.0.0.0/0"), "ipv6": IPv6Network("::/0")}
"""Destination of a default route."""
_TAKEN_DEVICES = frozenset({"lo", "all", "default"})
"""The loopback device, which every ruleset lets pass, and two names that mean something else to sysctl."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One leg of a host: the zone, the device that stands in it, its addresses with prefix length."""

    zone: str
    device: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A static route. A default route's destination is ``0.0.0.0/0`` or ``::/0``."""

    destination: Network
    via: Address


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """Everything about one host's network that is not filtering."""

    host: str
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    forwarding: bool


class Hop(NamedTuple):
    """A gateway crossed on the way, and the zones it is entered from and left to."""

    gateway: str
    in_zone: str
    out_zone: str


def plan_network(policy: Policy) -> Mapping[str, HostNetwork]:
    """Addresses and routes of every host, external ones too, in policy order."""
    topology = topology_of(policy)
    return {host.id: topology.host_network(host) for host in policy.hosts.values()}


def forward_path(policy: Policy, source: str, destination: str) -> tuple[Hop, ...]:
    """Gateways that a packet crosses from one host or zone to another; neither end counts as crossed."""
    return topology_of(policy).path(source, destination)


def endpoint_address(policy: Policy, host: str, peer: str, family: Family) -> Address | None:
    """The address by which ``peer`` (host or zone) meets ``host``; None where the host has none of the family."""
    zone = topology_of(policy).facing_zone(host, peer)
    return next((address for address in policy.hosts[host].interfaces[zone] if family_of(address) == family), None)


class _Tree(NamedTuple):
    """Shortest ways to one zone: what to do next at each zone and each gateway, and a gateway's distance."""

    gateway_of: Mapping[str, str]
    zone_of: Mapping[str, str]
    gateway_cost: Mapping[str, int]


class Topology:
    """The graph of zones and gateways of one policy, checked; ways to a zone are worked out when first asked for."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._trees: dict[str, _Tree] = {}
        self._zone_routes: dict[str, tuple[Route, ...]] = {}
        self._paths: dict[tuple[str, str], tuple[Hop, ...]] = {}
        self._gateways_in: dict[str, list[str]] = {zone: [] for zone in policy.zones}
        for gateway in sorted(policy.gateways(), key=lambda gateway: gateway.id):
            for zone in gateway.interfaces:
                self._gateways_in[zone].append(gateway.id)
        names = [*sorted(gateway.id for gateway in policy.gateways()), *sorted(policy.zones)]
        crossing = 1 << len(names)
        self._weight = {name: 1 << index for index, name in enumerate(names)}
        for gateway in policy.gateways():
            self._weight[gateway.id] += crossing
        _refuse([*self._misplaced_addresses(), *self._clashing_devices(), *self._unconnected(), *self._missing_legs()])
        _refuse([*self._one_way_defaults(), *self._family_gaps()])

    # ------------------------------------------------------------------------------------- paths

    def path(self, source: str, destination: str) -> tuple[Hop, ...]:
        """Gateways crossed between two ends, each a host or a zone."""
        ends = self._ends(source, destination)
        if ends not in self._paths:
            self._paths[ends] = tuple(self._walk(*ends))
        return self._paths[ends]

    def facing_zone(self, host: str, peer: str) -> str:
        """Zone in which a host meets its peer: a gateway's nearest leg, any other host's only one."""
        return self._ends(host, peer)[0]

    def has_route(self, source: str, destination: str) -> bool:
        """Whether the source host itself knows a way to the destination (host or zone)."""
        start, end = self._ends(source, destination)
        if source in self._gateway_ids:
            known = source in self._knows_default or end in self.policy.hosts[source].interfaces
            return known or end not in self._untrusted
        if start == end or not self._untrusted & {start, end}:
            return True
        return self.policy.zones[start].default_route is not None

    def _ends(self, source: str, destination: str) -> tuple[str, str]:
        """Zones in which the first end sends and the second receives."""
        if source in self._gateway_ids and destination in self._gateway_ids:
            legs = self.policy.hosts[source].interfaces
            start = min(legs, key=lambda zone: self._weight[zone] + self._tree(zone).gateway_cost[destination])
            return start, self._tree(start).zone_of[destination]
        if source in self._gateway_ids:
            end = self._zone(destination)
            return self._tree(end).zone_of[source], end
        start = self._zone(source)
        if destination in self._gateway_ids:
            return start, self._tree(start).zone_of[destination]
        return start, self._zone(destination)

    def _walk(self, start: str, end: str) -> Iterator[Hop]:
        tree, zone = self._tree(end), start
        while zone != end:
            gateway = tree.gateway_of[zone]
            yield Hop(gateway, zone, tree.zone_of[gateway])
            zone = tree.zone_of[gateway]

    def _zone(self, name: str) -> str:
        return name if name in self.policy.zones else self.policy.zone_of(name)

    def _tree(self, destination: str) -> _Tree:
        """Dijkstra's algorithm from the destination over zones and gateways."""
        if destination not in self._trees:
            cost: dict[str, int] = {destination: 0}
            gateway_of: dict[str, str] = {}
            zone_of: dict[str, str] = {}
            done: set[str] = set()
            queue = [(0, destination)]
            while queue:
                spent, name = heappop(queue)
                if name in done:
                    continue
                done.add(name)
                if name in self._gateway_ids:
                    neighbours, onward, extra = self.policy.hosts[name].interfaces, gateway_of, self._weight[name]
                else:
                    neighbours, onward = dict.fromkeys(self._gateways_in[name], ()), zone_of
                    extra = 0 if name == destination else self._weight[name]
                for neighbour in neighbours:
                    if neighbour not in cost or spent + extra < cost[neighbour]:
                        cost[neighbour], onward[neighbour] = spent + extra, name
                        heappush(queue, (cost[neighbour], neighbour))
            self._trees[destination] = _Tree(gateway_of, zone_of, cost)
        return self._trees[destination]

    # ------------------------------------------------------------------------ addresses and routes

    def host_network(self, host: Host) -> HostNetwork:
        """Interfaces and routes of one host."""
        interfaces = tuple(
            Interface(zone, host.device(zone), tuple(self._with_prefix(address, zone) for address in addresses))
            for zone, addresses in sorted(host.interfaces.items())
        )
        if host.kind == "gateway":
            return HostNetwork(host.id, interfaces, _sorted(self._gateway_routes(host)), forwarding=True)
        return HostNetwork(host.id, interfaces, self.zone_routes(interfaces[0].zone), forwarding=False)

    def zone_routes(self, zone_id: str) -> tuple[Route, ...]:
        """Routes that all ordinary hosts of a zone share."""
        if zone_id not in self._zone_routes:
            self._zone_routes[zone_id] = _sorted(self._routes_from_zone(self.policy.zones[zone_id]))
        return self._zone_routes[zone_id]

    def _routes_from_zone(self, zone: Zone) -> Iterator[Route]:
        if zone.id not in self._untrusted:
            for other in self._trusted_others({zone.id}):
                yield from self._routes(self._tree(other.id).gateway_of[zone.id], zone, other)
        if zone.default_route is not None:
            for family in zone.families:
                yield Route(EVERYTHING[family], self._address(zone.default_route, zone.id, family))

    def _gateway_routes(self, gateway: Host) -> Iterator[Route]:
        for other in self._trusted_others(gateway.interfaces.keys()):
            tree = self._tree(other.id)
            leg = self.policy.zones[tree.zone_of[gateway.id]]
            yield from self._routes(tree.gateway_of[leg.id], leg, other)
        for outside in self._untrusted & gateway.interfaces.keys():
            for router in self.policy.zones[outside].upstream:
                yield Route(EVERYTHING[family_of(router)], router)
        for outside in self._untrusted - gateway.interfaces.keys() if gateway.id in self._knows_default else ():
            tree = self._tree(outside)
            leg = self.policy.zones[tree.zone_of[gateway.id]]
            for family in leg.families:
                yield Route(EVERYTHING[family], self._address(tree.gateway_of[leg.id], leg.id, family))

    def _routes(self, gateway: str, leg: Zone, destination: Zone) -> Iterator[Route]:
        for network in destination.networks:
            if family_of(network) in leg.families and family_of(network) in destination.families:
                yield Route(network, self._address(gateway, leg.id, family_of(network)))

    def _trusted_others(self, without: object) -> Iterator[Zone]:
        for zone in self.policy.zones.values():
            if zone.id not in self._untrusted and zone.id not in without:  # type: ignore[operator]  # a set of ids
                yield zone

    def _address(self, host: str, zone: str, family: Family) -> Address:
        return next(a for a in self.policy.hosts[host].interfaces[zone] if family_of(a) == family)

    def _with_prefix(self, address: Address, zone: str) -> IPv4Interface | IPv6Interface:
        network = self._wire(address, zone)
        return ip_interface((address, network.prefixlen if network else address.max_prefixlen))

    def _wire(self, address: Address, zone: str) -> Network | None:
        return next((network for network in self.policy.zones[zone].networks if address in network), None)

    # ------------------------------------------------------------------------------------- facts

    @cached_property
    def _gateway_ids(self) -> frozenset[str]:
        return frozenset(gateway.id for gateway in self.policy.gateways())

    @cached_property
    def _untrusted(self) -> frozenset[str]:
        return frozenset(untrusted_zones(self.policy))

    @cached_property
    def _knows_default(self) -> frozenset[str]:
        """Gateways on the way from a zone with a default route to the untrusted zone."""
        return frozenset(
            hop.gateway
            for zone in self.policy.zones.values()
            if zone.default_route is not None and zone.id not in self._untrusted
            for outside in self._untrusted
            for hop in self.path(zone.id, outside)
        )

    # ---------------------------------------------------------------------------------- refusals

    def _misplaced_addresses(self) -> Iterator[str]:
        for host in self.policy.hosts.values():
            for zone, addresses in host.interfaces.items():
                networks = self.policy.zones[zone].networks
                held = {self._wire(address, zone) for address in addresses}
                if None in held:
                    yield (
                        f"host {host.id} has an address outside zone {zone}; "
                        f"write one out of {', '.join(map(str, networks))}"
                    )
                for network in networks:
                    if network not in held and any(family_of(other) == family_of(network) for other in held if other):
                        yield (
                            f"host {host.id} has no address in {network}, which is on the same wire of zone {zone}; "
                            f"give it one, or make {network} a zone of its own"
                        )

    def _clashing_devices(self) -> Iterator[str]:
        for host in self.policy.hosts.values():
            devices = [host.device(zone) for zone in host.interfaces]
            for zone, device in zip(host.interfaces, devices, strict=True):
                if device in _TAKEN_DEVICES:
                    yield f"host {host.id} calls its device in zone {zone} {device}, a name the kernel uses; set devices"
                elif devices.count(device) > 1:
                    yield f"host {host.id} has two devices called {device}; set devices, one name for each zone"

    def _unconnected(self) -> Iterator[str]:
        zones = list(self.policy.zones)
        if len(self._untrusted) > 1:
            yield (
                f"zones {', '.join(sorted(self._untrusted))} are all untrusted, and each stands for every address that "
                "nobody else has; keep one"
            )
        for zone in zones[1:]:
            if zone not in self._tree(zones[0]).gateway_of:
                yield (
                    f"no gateway connects zone {zone} with zone {zones[0]}; "
                    f"give a gateway (kind: gateway) an interface in {zone}"
                )

    def _missing_legs(self) -> Iterator[str]:
        for gateway in self.policy.gateways():
            for zone, addresses in gateway.interfaces.items():
                held = {family_of(address) for address in addresses}
                for family in self.policy.zones[zone].families:
                    if family not in held:
                        yield f"gateway {gateway.id} has no {family} address in zone {zone}; add one"
        for zone_id, entry in self.policy.zones.items():
            if entry.default_route is not None and entry.default_route not in self._gateways_in[zone_id]:
                here = ", ".join(self._gateways_in[zone_id]) or "none"
                yield (
                    f"default_route of zone {zone_id} is {entry.default_route}, which is not a gateway in it; "
                    f"write one of: {here}"
                )

    def _one_way_defaults(self) -> Iterator[str]:
        for outside in sorted(self._untrusted):
            default = self.policy.zones[outside].default_route
            for zone in self.policy.zones.values():
                if zone.id == outside:
                    continue
                there, back = self.path(zone.id, outside)[0].gateway, self.path(outside, zone.id)[0].gateway
                if zone.default_route not in (None, there):
                    yield (
                        f"zone {zone.id} sends to {outside} through {zone.default_route} (its default_route), but answers "
                        f"come back through {there}; write default_route: {there}"
                    )
                if default not in (None, back):
                    yield (
                        f"zone {outside} sends everything through {default} (its default_route), but zone {zone.id} is "
                        f"reached through {back}; let one gateway connect {outside} with the rest"
                    )

    def _family_gaps(self) -> Iterator[str]:
        for here in self.policy.zones.values():
            for there in self.policy.zones.values():
                for hop in self.path(here.id, there.id)[:-1]:
                    middle = self.policy.zones[hop.out_zone]
                    for family in sorted(set(here.families) & set(there.families) - set(middle.families)):
                        yield (
                            f"zones {here.id} and {there.id} use {family}, but zone {middle.id} between them does not; "
                            f"add {family} to {middle.id} or leave it out of one of them"
                        )


_latest: list[Topology] = []


def topology_of(policy: Policy) -> Topology:
    """The topology of a policy; the one asked for last is kept, so that a loop over pairs is cheap."""
    if not _latest or _latest[0].policy is not policy:
        _latest[:] = [Topology(policy)]
    return _latest[0]


def _sorted(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Routes by family and address, a default route last: the order does not depend on the order of zones.yml."""
    return tuple(
        sorted(
            routes,
            key=lambda route: (
                route.destination.version,
                route.destination.prefixlen == 0,
                int(route.destination.network_address),
            ),
        )
    )


def _refuse(problems: list[str]) -> None:
    if problems:
        found = "\n".join(f"  - {problem}" for problem in problems)
        raise InputError(
            f"the network of this policy cannot be built:\n{found}",
            "mend zones.yml or hosts.yml as each line says, then run `kakoi check`",
        )
