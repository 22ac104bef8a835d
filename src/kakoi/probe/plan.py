"""Who asks what: the truth table turned into one set of orders for each host. Pure, and the same for the same policy.

Three views, each of which can be wrong where the others are right:

- *connections*: every cell of the truth table, asked as a program on the source would ask it;
- *enforcement points*: every cell that must be blocked, tried at each managed machine on its way by itself, so that one
  missing rule shows even while the other machines still hold. Before a gateway or a host's own input filter a
  raw frame is laid on the wire; a host's own output filter is judged by what leaves it;
- *attack*: every port of every My Number store, from every internet-facing host by raw frames through every gateway on
  its wire, and once more at the store's door as if all gateways had fallen.

Orders name only addresses of the policy. A host that cannot be logged in to (``vantage`` lacks it) gets none.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kakoi.compile.network import endpoint_address
from kakoi.compile.placement import Pair, Placement
from kakoi.compile.truth import Cell
from kakoi.policy import Policy
from kakoi.policy.model import Family
from kakoi.policy.sets import family_of, internet_facing, my_number_stores, untrusted_zones

type Scope = Literal["quick", "full"]
"""``quick`` attacks the ports of the policy's services only; ``full`` attacks all 65,535."""
type Role = Literal["output", "forward", "input"]
type AssaultKind = Literal["attack", "door", "client"]

LIFETIME_SECONDS = 1800
"""After this a forgotten listening process ends by itself."""
CONTROLS_PER_FAMILY = 4
ALL_PORTS = ((1, 65535),)
BEACON_POINT = 19
"""Frames of this point try nothing: they are laid before every host so that its eyes are known to be open."""
BEACON_PORT = 9
"""UDP discard (RFC 863)."""
_FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


class Question(NamedTuple):
    """A cell, with the addresses it is asked at."""

    cell: Cell
    source_address: str
    """The source's address on the way there; a gateway has several."""
    address: str


class PointTest(NamedTuple):
    """One cell at one enforcement point."""

    question: Question
    point: int
    """Place on the way: 0 the source itself, then its gateways, last the destination."""
    host: str
    role: Role
    beyond: str | None
    """Who must not see the frame: the next machine on the way. None at the last one, whose own input filter decides."""
    beyond_address: str
    """Its address on the wire between the two."""
    injector: str | None
    """Who lays the frame on the wire; None where nobody can, or where the source's own traffic is watched."""


class Assault(NamedTuple):
    """Many ports of one store, tried from one place."""

    host: str
    """Who sends."""
    kind: AssaultKind
    attacker: str
    """Whose address the frames carry."""
    store: str
    family: Family
    source_address: str
    address: str
    via: str
    ports: tuple[tuple[int, int], ...]
    allowed: frozenset[tuple[str, int]]
    """Protocol and port of what the policy lets this attacker open."""
    same_wire: bool
    """Attacker and store share a zone: frames on the store's wire prove nothing."""
    control: tuple[str, int] | None
    """An allowed connection of the sender that leaves by the same gateway."""


class NameQuestion(NamedTuple):
    """A name that a source must resolve to one host's addresses."""

    source: str
    name: str
    destination: str
    addresses: frozenset[str]
    exact: bool
    """All of them, or for a gateway's plain name any of its legs."""


class Controls(NamedTuple):
    """What proves that a source can reach anything at all."""

    questions: tuple[int, ...]
    """Positions among the source's own questions, expected open."""
    links: tuple[str, ...]
    """Next hops that must answer on the wire, for families in which the policy allows the source nothing."""


@dataclass(frozen=True)
class HostPlan:
    """Everything one host is asked to do."""

    host: str
    questions: tuple[int, ...]
    """Numbers of the plan's questions, in the order in which the host asks them."""
    controls: Controls
    orders: Mapping[str, Mapping[str, Any]]
    """Action -> order for the agent."""


@dataclass(frozen=True)
class Plan:
    """One run of the probe."""

    scope: Scope
    questions: tuple[Question, ...]
    points: tuple[PointTest, ...]
    assaults: tuple[Assault, ...]
    names: tuple[NameQuestion, ...]
    hosts: Mapping[str, HostPlan]
    owners: Mapping[str, str]
    """Address -> host."""
    no_vantage: frozenset[str]
    """Hosts that nobody can log in to."""
    unprobed_attackers: tuple[str, ...] = field(default=())
    """Internet-facing hosts without a vantage point."""


def plan_probe(
    policy: Policy, cells: Sequence[Cell], vantage: Collection[str], scope: Scope = "full", run: str = "run"
) -> Plan:
    """Plan a run over the truth table from the hosts of ``vantage``; ``run`` tells it from others at the same time."""
    return _Planner(policy, cells, frozenset(vantage), scope, run).plan()


class _Planner:
    def __init__(self, policy: Policy, cells: Sequence[Cell], vantage: frozenset[str], scope: Scope, run: str) -> None:
        self._policy, self._vantage, self._scope, self._run = policy, vantage, scope, run
        self._placement = Placement(policy)
        self._topology = self._placement.topology
        self._known: dict[tuple[str, str, Family], str] = {}
        self._questions = tuple(
            Question(cell, self._address(cell.source, cell.destination, cell.family), self._address(cell.destination, cell.source, cell.family))
            for cell in cells
        )  # fmt: skip
        self._of_source: dict[str, list[int]] = defaultdict(list)
        for number, question in enumerate(self._questions):
            self._of_source[question.cell.source].append(number)

    def plan(self) -> Plan:
        points = tuple(self._points())
        assaults = tuple(self._assaults())
        names = tuple(self._names())
        hosts = {
            host: self._host_plan(host, points, assaults, names) for host in self._policy.hosts if host in self._vantage
        }
        return Plan(
            scope=self._scope,
            questions=self._questions,
            points=points,
            assaults=assaults,
            names=names,
            hosts=hosts,
            owners={
                str(address): host.id
                for host in self._policy.hosts.values()
                for addresses in host.interfaces.values()
                for address in addresses
            },
            no_vantage=frozenset(self._policy.hosts) - self._vantage,
            unprobed_attackers=tuple(host for host in self._attackers() if host not in self._vantage),
        )

    def _address(self, host: str, peer: str, family: Family) -> str:
        key = (host, peer, family)
        if key not in self._known:
            self._known[key] = str(endpoint_address(self._policy, host, peer, family) or "")
        return self._known[key]

    def _managed(self, host: str) -> bool:
        return self._policy.hosts[host].managed == "ansible"

    # ------------------------------------------------------------------------- enforcement points

    def _points(self) -> Iterator[PointTest]:
        """ICMP has no port that could say what a frame was laid down for: it is tried by connections alone."""
        for question in self._questions:
            cell = question.cell
            if cell.expected == "open" or cell.protocol == "icmp":
                continue
            hops = self._topology.path(cell.source, cell.destination)
            way = (cell.source, *(hop.gateway for hop in hops), cell.destination)
            zones = (*(hop.in_zone for hop in hops), self._topology.facing_zone(cell.destination, cell.source))
            for point, host in enumerate(way):
                role: Role = "output" if point == 0 else "input" if point == len(way) - 1 else "forward"
                if not self._managed(host) or self._lets_zone_pass(cell, role):
                    continue
                if role == "output":
                    if cell.expected == "blocked":  # without a route nothing would leave anyway
                        yield PointTest(question, 0, host, role, None, "", None)
                    continue
                injector = self._injector(way[point - 1], host, zones[point - 1])
                if role == "input":
                    yield PointTest(question, point, host, role, None, "", injector)
                else:
                    behind = self._address_in(way[point + 1], zones[point], cell.family)
                    yield PointTest(question, point, host, role, way[point + 1], behind, injector)

    def _lets_zone_pass(self, cell: Cell, role: Role) -> bool:
        """Whether a flow of a whole zone lets the cell pass at this place, because a gateway's leg stands in the zone.

        A gateway belongs to no zone, and where it is an end itself that is enforced by name. Every other machine
        knows it by its address alone, and that address is one of the zone's.
        """
        sources, targets = set(self._placement.ends(cell.source)), set(self._placement.ends(cell.destination))
        if role != "output":
            sources.add(self._topology.facing_zone(cell.source, cell.destination))
        if role != "input":
            targets.add(self._topology.facing_zone(cell.destination, cell.source))
        return any(
            grant.protocol == cell.protocol and cell.port is not None and grant.first <= cell.port <= grant.last
            for source in sources
            for target in targets
            for grant in self._placement.grants.get(Pair(source, target), ())
        )

    def _injector(self, before: str, host: str, zone: str) -> str | None:
        """The machine before this one on the way, or else any other on the same wire."""
        there = (other.id for other in self._policy.hosts.values() if zone in other.interfaces and other.id != host)
        return next((name for name in (before, *there) if name in self._vantage and name != host), None)

    def _point_frames(self, injector: str, points: Iterable[PointTest]) -> list[dict[str, Any]]:
        frames: dict[str, list[list[Any]]] = defaultdict(list)
        for test in points:
            if test.injector == injector:
                cell = test.question.cell
                via = self._address_in(test.host, self._zone_before(test), cell.family)
                frames[via].append(
                    [test.point, cell.protocol, test.question.source_address, test.question.address, cell.port]
                )
        for source, address in self._beacons(injector):
            frames[address] += [[BEACON_POINT, "udp", source, address, BEACON_PORT]] * 3
        return [{"kind": "point", "via": via, "frames": laid} for via, laid in frames.items()]

    def _beacons(self, injector: str) -> Iterator[tuple[str, str]]:
        """The injector's own address and that of each host on its wires whose eyes it opens."""
        for host in self._policy.hosts.values():
            for zone in host.interfaces if host.id in self._vantage else ():
                if self._injector("", host.id, zone) == injector:
                    for family in _FAMILIES:
                        source, address = (self._address_in(name, zone, family) for name in (injector, host.id))
                        if source and address:
                            yield source, address

    def _zone_before(self, test: PointTest) -> str:
        cell = test.question.cell
        hops = self._topology.path(cell.source, cell.destination)
        if test.point <= len(hops):
            return hops[test.point - 1].in_zone
        return self._topology.facing_zone(cell.destination, cell.source)

    def _address_in(self, host: str, zone: str, family: Family) -> str:
        held = self._policy.hosts[host].interfaces[zone]
        return next((str(address) for address in held if family_of(address) == family), "")

    # ------------------------------------------------------------------------------------- attack

    def _attackers(self) -> tuple[str, ...]:
        outside = set(untrusted_zones(self._policy))
        facing = set(internet_facing(self._policy))
        stores = set(my_number_stores(self._policy))
        return tuple(
            host.id
            for host in self._policy.hosts.values()
            if host.id not in stores
            and (host.id in facing or (outside & set(host.interfaces) and host.kind != "gateway"))
        )

    def _assaults(self) -> Iterator[Assault]:
        attackers = [host for host in self._attackers() if host in self._vantage]
        for store in my_number_stores(self._policy):
            for family in _FAMILIES:
                address = self._address_in(store, self._policy.zone_of(store), family)
                if not address or store not in self._vantage:
                    continue
                yield from self._clients(store, family, address)
                for attacker in attackers:
                    yield from self._attacks(attacker, store, family, address)
                if self._managed(store) and self._scope == "full":
                    for number, attacker in enumerate(attackers):
                        yield from self._doors(number, attacker, store, family, address)

    def _attacks(self, attacker: str, store: str, family: Family, address: str) -> Iterator[Assault]:
        zone, own = self._policy.zone_of(attacker), self._address(attacker, store, family)
        same_wire = zone == self._policy.zone_of(store)
        gateways = [gateway for gateway in self._policy.gateways() if zone in gateway.interfaces]
        ways = {address: None} if same_wire else {self._address_in(g.id, zone, family): g.id for g in gateways}
        for via, gateway in ways.items():
            if own and via:
                yield Assault(
                    host=attacker,
                    kind="attack",
                    attacker=attacker,
                    store=store,
                    family=family,
                    source_address=own,
                    address=address,
                    via=via,
                    ports=self._attacked_ports(),
                    allowed=self._allowed(attacker, store, family),
                    same_wire=same_wire,
                    control=self._control_through(attacker, gateway, family),
                )

    def _doors(self, number: int, attacker: str, store: str, family: Family, address: str) -> Iterator[Assault]:
        """The attacker's frames on the store's own wire, laid there by its neighbours in turn: many hands are quick."""
        zone, source = self._policy.zone_of(store), self._address(attacker, store, family)
        hops = self._topology.path(attacker, store)
        if not hops or not source:
            return
        injectors = [
            host.id
            for host in self._policy.hosts.values()
            if zone in host.interfaces and host.id != store and host.id in self._vantage
        ]
        if injectors:
            yield Assault(
                host=injectors[number % len(injectors)],
                kind="door",
                attacker=attacker,
                store=store,
                family=family,
                source_address=source,
                address=address,
                via=address,
                ports=self._attacked_ports(),
                allowed=self._allowed(attacker, store, family),
                same_wire=False,
                control=None,
            )

    def _clients(self, store: str, family: Family, address: str) -> Iterator[Assault]:
        """Somebody whose frames must be seen: who may connect, or else a neighbour on the wire."""
        for question in self._questions:
            cell = question.cell
            if (cell.destination, cell.family, cell.protocol, cell.expected) == (store, family, "tcp", "open") and (
                cell.source in self._vantage and cell.port is not None
            ):
                path = self._topology.path(cell.source, store)
                gateway = path[0] if path else None
                via = self._address_in(gateway.gateway, gateway.in_zone, family) if gateway else address
                yield self._client(cell.source, store, question, via, allowed=True)
                return
        zone = self._policy.zone_of(store)
        neighbour = self._injector("", store, zone)
        question_from = next(
            (
                q
                for q in self._questions
                if (q.cell.source, q.cell.destination, q.cell.family) == (neighbour, store, family)
            ),
            None,
        )
        if neighbour is not None and question_from is not None:
            yield self._client(neighbour, store, question_from, address, allowed=False)

    def _client(self, host: str, store: str, question: Question, via: str, *, allowed: bool) -> Assault:
        port = question.cell.port or 1
        return Assault(
            host=host,
            kind="client",
            attacker=host,
            store=store,
            family=question.cell.family,
            source_address=question.source_address,
            address=question.address,
            via=via,
            ports=((port, port),),
            allowed=frozenset({("tcp", port)}) if allowed else frozenset(),
            same_wire=via == question.address,
            control=None,
        )

    def _attacked_ports(self) -> tuple[tuple[int, int], ...]:
        if self._scope == "full":
            return ALL_PORTS
        ports = {question.cell.port for question in self._questions if question.cell.port is not None}
        return tuple((port, port) for port in sorted(ports))

    def _allowed(self, attacker: str, store: str, family: Family) -> frozenset[tuple[str, int]]:
        return frozenset(
            (cell.protocol, cell.port)
            for cell in (self._questions[number].cell for number in self._of_source[attacker])
            if (cell.destination, cell.family, cell.expected) == (store, family, "open") and cell.port is not None
        )

    def _control_through(self, host: str, gateway: str | None, family: Family) -> tuple[str, int] | None:
        """The allowed connection with the longest way among those whose first gateway is this one."""
        best: tuple[int, str, int] | None = None
        for number in self._of_source[host]:
            question = self._questions[number]
            cell = question.cell
            if (cell.family, cell.protocol, cell.expected) != (family, "tcp", "open") or cell.port is None:
                continue
            path = self._topology.path(host, cell.destination)
            # Who answers must be sure to be listening.
            if path and path[0].gateway == gateway and cell.destination in self._vantage and cell.flow is not None:
                found = (len(path), question.address, cell.port)
                best = found if best is None or found[0] > best[0] else best
        return None if best is None else best[1:]

    # -------------------------------------------------------------------------------------- names

    def _names(self) -> Iterator[NameQuestion]:
        domain = self._policy.enclave.body.domain
        for source in self._policy.hosts:
            if source not in self._vantage or not self._managed(source):
                continue
            for host in self._policy.hosts.values():
                if host.id == source:
                    continue
                legs = {zone: frozenset(map(str, addresses)) for zone, addresses in host.interfaces.items()}
                gateway = host.kind == "gateway"
                everything: frozenset[str] = frozenset().union(*legs.values())
                named = {host.id: (everything, not gateway)}
                if gateway:
                    named |= {f"{host.id}-{zone}": (addresses, True) for zone, addresses in legs.items()}
                for name, (addresses, exact) in named.items():
                    yield NameQuestion(source, name, host.id, addresses, exact)
                    yield NameQuestion(source, f"{name}.{domain}", host.id, addresses, exact)

    # ------------------------------------------------------------------------------------- orders

    def _host_plan(
        self, host: str, points: Sequence[PointTest], assaults: Sequence[Assault], names: Sequence[NameQuestion]
    ) -> HostPlan:
        numbers = tuple(self._of_source[host])
        controls = self._controls(host, numbers)
        socket = f"/run/kakoi-probe/{self._run}/{host}.sock"
        own = [self._assault_order(assault) for assault in assaults if assault.host == host]
        own += self._point_frames(host, points)
        orders: dict[str, dict[str, Any]] = {
            "listen": {
                "action": "listen",
                "socket": socket,
                "lifetime_seconds": LIFETIME_SECONDS,
                "listeners": self._listeners(host),
                "wire": "all" if any(assault.store == host for assault in assaults) else "points",
            },
            "connect": {
                "action": "connect",
                "cells": [self._order_cell(self._questions[number]) for number in numbers],
                "controls": list(controls.questions),
                "links": list(controls.links),
                "names": [question.name for question in names if question.source == host],
            },
            "attack": {"action": "attack", "assaults": own},
            "stop": {"action": "stop", "socket": socket},
        }
        return HostPlan(host, numbers, controls, orders)

    def _order_cell(self, question: Question) -> list[Any]:
        return [question.cell.protocol, question.address, question.cell.port or 0]

    def _listeners(self, host: str) -> list[list[Any]]:
        wanted = {
            (question.cell.protocol, question.address, question.cell.port)
            for question in self._questions
            if question.cell.destination == host and question.cell.port is not None
        }
        return [list(listener) for listener in sorted(wanted)]

    def _controls(self, host: str, numbers: Sequence[int]) -> Controls:
        chosen: list[int] = []
        links: list[str] = []
        for family in _FAMILIES:
            open_here = [
                (question.cell.protocol != "tcp", question.cell.flow is None, position)
                for position, question in enumerate(self._questions[number] for number in numbers)
                if question.cell.family == family
                and question.cell.expected == "open"
                and question.cell.destination in self._vantage
            ]
            destinations: dict[str, int] = {}
            for _, _, position in sorted(open_here):
                destinations.setdefault(self._questions[numbers[position]].cell.destination, position)
            chosen += list(destinations.values())[:CONTROLS_PER_FAMILY]
            if not destinations:
                links += self._next_hops(host, family)
        return Controls(tuple(sorted(chosen)), tuple(links))

    def _next_hops(self, host: str, family: Family) -> Iterator[str]:
        """Gateways on the host's wire; a gateway has its neighbours' gateways."""
        for zone in self._policy.hosts[host].interfaces:
            for gateway in self._policy.gateways():
                if gateway.id != host and zone in gateway.interfaces:
                    address = self._address_in(gateway.id, zone, family)
                    if address:
                        yield address

    def _assault_order(self, assault: Assault) -> dict[str, Any]:
        order: dict[str, Any] = {
            "kind": assault.kind,
            "target": assault.address,
            "via": assault.via,
            "source": assault.source_address,
            "protocols": ["tcp"] if assault.kind == "client" else ["tcp", "udp"],
            "ports": [list(ports) for ports in assault.ports],
        }
        return order | ({"control": list(assault.control)} if assault.control is not None else {})
