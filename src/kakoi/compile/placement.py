"""Which flow lets what pass, and at which enforcement point: the step between sentences and rules.

A flow is opened into *pairs* of ends, each end a host or a zone, and each pair carries the ports that flows grant.
A pair is then *placed* on every managed machine that its packets meet: the source (output), the gateways on the path
(forward, at the zones they enter and leave by) and the destination (input), and nowhere else.
An end that is a zone means every address of the zone; each host of the zone enforces its own share of it.

Raises ``InputError``, with every case found, for a flow that no route can carry.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from kakoi.compile.network import Topology, topology_of
from kakoi.errors import InputError
from kakoi.policy.model import Policy, Service
from kakoi.policy.sets import expand

ECHO_REQUEST = {"icmp": 8, "icmpv6": 128}
"""Type numbers of RFC 792 and RFC 4443."""
_PROBLEMS_SHOWN = 20


class Grant(NamedTuple):
    """Ports (or one ICMP type) that a flow opens. ``order`` is the flow's place in the policy."""

    protocol: str
    first: int
    last: int
    order: int


class Pair(NamedTuple):
    """One end may open connections to the other; ends are hosts or zones."""

    source: str
    destination: str


type Passage = tuple[str, str]
"""Zones that a packet leaves and enters at a machine; ``localhost`` is the machine itself."""

LOCALHOST = "localhost"


class Placement:
    """Every pair of a policy, and where it is enforced."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.topology: Topology = topology_of(policy)
        self.flow_ids = tuple(policy.flows)
        self.grants: Mapping[Pair, list[Grant]] = _open_flows(policy)
        self._leaving: dict[str, list[Pair]] = defaultdict(list)
        self._arriving: dict[str, list[Pair]] = defaultdict(list)
        for pair in self.grants:
            self._leaving[pair.source].append(pair)
            self._arriving[pair.destination].append(pair)
        _refuse(self._unroutable())

    def passages(self, host: str) -> dict[Passage, dict[Pair, list[Grant]]]:
        """What one machine must let pass: passage -> pair -> disjoint grants.

        In a machine's own traffic its end of every pair is the machine, even where the flow names its zone.
        """
        found: dict[Passage, dict[Pair, list[Grant]]] = defaultdict(dict)
        for passage, pairs in self._crossing.get(host, {}).items():
            found[passage] = {pair: disjoint(self.grants[pair]) for pair in pairs}
        for peer, grants in self._own(host, self._leaving, "destination").items():
            found[LOCALHOST, self.topology.facing_zone(peer, host)][Pair(host, peer)] = disjoint(grants)
        for peer, grants in self._own(host, self._arriving, "source").items():
            found[self.topology.facing_zone(peer, host), LOCALHOST][Pair(peer, host)] = disjoint(grants)
        return found

    def between(self, source: str, destination: str) -> list[Grant]:
        """Everything that one host can open to another, in policy order.

        A gateway belongs to no zone, but only its own firewall holds it to that: to all others its address is one of
        the zone's. So a gateway that is not managed can do what the zone that faces its peer may do.
        """
        sources, destinations = self._ends_towards(source, destination), self._ends_towards(destination, source)
        pairs = (Pair(start, end) for start in sources for end in destinations)
        return sorted((grant for pair in pairs for grant in self.grants.get(pair, ())), key=lambda grant: grant.order)

    def _ends_towards(self, host: str, peer: str) -> tuple[str, ...]:
        entry = self.policy.hosts[host]
        if entry.kind == "gateway" and entry.managed == "external":
            return host, self.topology.facing_zone(host, peer)
        return self.ends(host)

    def ends(self, host: str) -> tuple[str, ...]:
        """Ends that stand for a host: itself, and its zone; a gateway belongs to no zone."""
        entry = self.policy.hosts[host]
        return (host,) if entry.kind == "gateway" else (host, *entry.interfaces)

    def _own(self, host: str, index: Mapping[str, list[Pair]], other_end: str) -> dict[str, list[Grant]]:
        found: dict[str, list[Grant]] = defaultdict(list)
        for end in self.ends(host):
            for pair in index.get(end, ()):
                peer = getattr(pair, other_end)
                if peer != host:
                    found[peer] += self.grants[pair]
        return found

    @cached_property
    def _crossing(self) -> Mapping[str, Mapping[Passage, list[Pair]]]:
        found: dict[str, dict[Passage, list[Pair]]] = defaultdict(lambda: defaultdict(list))
        for pair in self.grants:
            for gateway, in_zone, out_zone in self.topology.path(*pair):
                found[gateway][in_zone, out_zone].append(pair)
        return found

    def _unroutable(self) -> Iterator[str]:
        for pair, grants in self.grants.items():
            for start, end in (pair, pair[::-1]):
                if not self.topology.has_route(start, end):
                    flow = self.flow_ids[grants[0].order]
                    yield f"flow {flow} lets {pair.source} talk to {pair.destination}, but {start} has no route to {end}"


def disjoint(grants: list[Grant]) -> list[Grant]:
    """The same ports, each granted once: the first flow in policy order owns what several flows open."""
    if len(grants) == 1:
        return grants
    kept: list[Grant] = []
    for grant in sorted(grants, key=lambda grant: (grant.order, grant)):
        pieces = [(grant.first, grant.last)]
        for owner in kept:
            if owner.protocol == grant.protocol:
                pieces = [
                    piece
                    for first, last in pieces
                    for piece in ((first, min(last, owner.first - 1)), (max(first, owner.last + 1), last))
                    if piece[0] <= piece[1]
                ]
        kept += (grant._replace(first=first, last=last) for first, last in pieces)
    return sorted(kept)


def _open_flows(policy: Policy) -> dict[Pair, list[Grant]]:
    ports = {service.id: _ports(service) for service in policy.services.values()}
    opened: dict[tuple[str, ...], tuple[str, ...]] = {}
    found: dict[Pair, list[Grant]] = defaultdict(list)
    for order, flow in enumerate(policy.flows.values()):
        for references in (flow.from_, flow.to):
            if references not in opened:
                opened[references] = expand(policy, references)
        granted = [Grant(*port, order) for service in flow.services for port in ports[service]]
        for source in opened[flow.from_]:
            for destination in opened[flow.to]:
                if source != destination or source in policy.zones:
                    found[Pair(source, destination)] += granted
    return found


def _ports(service: Service) -> list[tuple[str, int, int]]:
    return [
        *(("tcp", ports.first, ports.last) for ports in service.tcp),
        *(("udp", ports.first, ports.last) for ports in service.udp),
        *(("icmp", ECHO_REQUEST["icmp"], ECHO_REQUEST["icmp"]) for _ in service.icmp),
        *(("icmpv6", ECHO_REQUEST["icmpv6"], ECHO_REQUEST["icmpv6"]) for _ in service.icmpv6),
    ]


def _refuse(problems: Iterable[str]) -> None:
    remaining = iter(problems)
    shown = list(islice(remaining, _PROBLEMS_SHOWN))
    if shown:
        more = sum(1 for _ in remaining)
        found = "\n".join(f"  - {problem}" for problem in shown) + (f"\n  - and {more} more" if more else "")
        raise InputError(
            f"flows that no packet could follow:\n{found}",
            "give the zone a default_route in zones.yml if it may use the internet, or take it out of the flow",
        )
