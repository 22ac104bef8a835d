"""What the deployed network must answer: the truth table that probes are compared with.

One cell for every ordered pair of hosts, every port of every service, and every family that both hosts have.
A range of ports stands by its two ends. The answer follows from flows, routes and from who is there to enforce:

- ``no_route``: the source itself knows no way; its kernel answers before any firewall does.
- ``open``: a flow allows it, or (``flow`` is None) neither end and no gateway between them is managed, so nothing
  of ours stands in the way; calling that cell blocked would be a promise that nobody keeps.
- ``blocked``: everything else.

The table grows with the square of the hosts: ``truth_cells`` works it out cell by cell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kakoi.compile.placement import ECHO_REQUEST, Placement
from kakoi.policy.model import Family, Policy
from kakoi.policy.sets import family_of

type Protocol = Literal["tcp", "udp", "icmp"]
type Expected = Literal["open", "blocked", "no_route"]

_FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class Cell:
    """One question to the network, and its right answer."""

    source: str
    destination: str
    family: Family
    protocol: Protocol
    port: int | None
    """Destination port; None for ICMP, which asks with an echo request."""
    service: str
    """First service of the policy that has this port."""
    expected: Expected
    flow: str | None
    """First flow of the policy that opens it."""


def truth_table(policy: Policy) -> tuple[Cell, ...]:
    """The whole table, in policy order."""
    return tuple(truth_cells(policy))


def cell_limit(policy: Policy) -> int:
    """How many cells the table has at most, without working it out."""
    return len(policy.hosts) * (len(policy.hosts) - 1) * sum(len(_questions(policy, family)) for family in _FAMILIES)


def truth_cells(policy: Policy) -> Iterator[Cell]:
    """The table cell by cell: for each source, each destination, each family, each port."""
    placement = Placement(policy)
    questions = {family: _questions(policy, family) for family in _FAMILIES}
    families = {host.id: _host_families(policy, host.id) for host in policy.hosts.values()}
    for source in policy.hosts:
        for destination in policy.hosts:
            if source == destination:
                continue
            routed = placement.topology.has_route(source, destination)
            grants = placement.between(source, destination) if routed else []
            enforced = _enforced(policy, placement, source, destination)
            for family in families[source]:
                if family not in families[destination]:
                    continue
                for service, protocol, port, wire in questions[family]:
                    flow = next((g.order for g in grants if g.protocol == wire and g.first <= port <= g.last), None)
                    expected: Expected = "open" if flow is not None or not enforced else "blocked"
                    yield Cell(
                        source=source,
                        destination=destination,
                        family=family,
                        protocol=protocol,
                        port=None if protocol == "icmp" else port,
                        service=service,
                        expected=expected if routed else "no_route",
                        flow=None if flow is None else placement.flow_ids[flow],
                    )


class _Question(NamedTuple):
    service: str
    protocol: Protocol
    port: int
    wire: str
    """Protocol as grants name it: ICMP differs between the families."""


def _questions(policy: Policy, family: Family) -> list[_Question]:
    """Every distinct port of the policy's services, under the first service that has it."""
    found: dict[tuple[str, int], _Question] = {}
    for service in policy.services.values():
        for ports in service.tcp:
            for port in (ports.first, ports.last):
                found.setdefault(("tcp", port), _Question(service.id, "tcp", port, "tcp"))
        for ports in service.udp:
            for port in (ports.first, ports.last):
                found.setdefault(("udp", port), _Question(service.id, "udp", port, "udp"))
        wire = "icmp" if family == "ipv4" else "icmpv6"
        if service.icmp if family == "ipv4" else service.icmpv6:
            found.setdefault(("icmp", 0), _Question(service.id, "icmp", ECHO_REQUEST[wire], wire))
    return list(found.values())


def _host_families(policy: Policy, host: str) -> tuple[Family, ...]:
    held = {family_of(address) for addresses in policy.hosts[host].interfaces.values() for address in addresses}
    return tuple(family for family in _FAMILIES if family in held)


def _enforced(policy: Policy, placement: Placement, source: str, destination: str) -> bool:
    """Whether any machine on the way is ours to filter on."""
    crossed = (hop.gateway for hop in placement.topology.path(source, destination))
    return any(policy.hosts[host].managed == "ansible" for host in (source, destination, *crossed))
