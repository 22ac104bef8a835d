"""Who may talk to whom, as people look at it: services by pair of zones and by pair of hosts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kakoi.compile.network import Topology, topology_of
from kakoi.policy.model import Policy
from kakoi.policy.sets import expand, hosts_in


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one end may open to the other: services and the flows that say so, in policy order."""

    services: tuple[str, ...]
    flows: tuple[str, ...]


type Matrix = Mapping[tuple[str, str], Allowed]
"""(from, to) -> what is allowed; a pair that is missing may not talk at all."""


def zone_matrix(policy: Policy) -> Matrix:
    """Services between zones. A gateway counts in the zone of the interface that faces its peer."""
    topology = topology_of(policy)
    return _matrix(policy, lambda references: expand(policy, references), topology)


def host_matrix(policy: Policy) -> Matrix:
    """Services between hosts. A zone stands for its hosts that are not gateways."""
    return _matrix(policy, lambda references: hosts_in(policy, references), None)


def _matrix(policy: Policy, opened: Callable[[Iterable[str]], tuple[str, ...]], topology: Topology | None) -> Matrix:
    services: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    flows: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for flow in policy.flows.values():
        targets = opened(flow.to)
        for source in opened(flow.from_):
            for target in targets:
                if source == target and source in policy.hosts:
                    continue
                pair = (source, target)
                if topology is not None:
                    pair = (_zone(topology, source, target), _zone(topology, target, source))
                services[pair].update(dict.fromkeys(flow.services))
                flows[pair][flow.id] = None
    order = {name: place for place, name in enumerate((*policy.zones, *policy.hosts))}
    pairs = sorted(services, key=lambda pair: (order[pair[0]], order[pair[1]]))
    in_policy = list(policy.services)
    return {pair: Allowed(tuple(sorted(services[pair], key=in_policy.index)), tuple(flows[pair])) for pair in pairs}


def _zone(topology: Topology, end: str, peer: str) -> str:
    return end if end in topology.policy.zones else topology.facing_zone(end, peer)
