"""Sets of hosts and spaces of addresses that follow from a policy: computed, never declared."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

from kakoi.policy.model import Address, Family, Policy, Zone

type AddressRange = tuple[Address, Address]
"""First and last address, both included, of one family."""

_ROUTABLE = {"ipv4": ("0.0.0.0/0",), "ipv6": ("2000::/3",)}
_NEVER_FROM_OUTSIDE = {
    "ipv4": (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
    ),
    "ipv6": (),
}
"""RFC 6890 special-purpose ranges that no packet of the internet carries as source or destination."""


def family_of(address: object) -> Family:
    """``ipv4`` or ``ipv6`` of an address or network."""
    return "ipv4" if getattr(address, "version", 0) == 4 else "ipv6"  # noqa: PLR2004 - the IP version number


def expand(policy: Policy, references: Iterable[str]) -> tuple[str, ...]:
    """Zones and hosts that references name, groups and computed sets opened, in policy order without repeats.

    Zones stay zones: a flow from a zone allows every address of the zone, listed as a host or not.
    """
    found: dict[str, None] = {}
    for reference in references:
        for member in _members(policy, reference):
            found.setdefault(member)
    return tuple(found)


def hosts_in(policy: Policy, references: Iterable[str]) -> tuple[str, ...]:
    """Hosts that references name; a zone gives all of its hosts that are not gateways, an asset its stores."""
    found: dict[str, None] = {}
    for member in expand(policy, references):
        for host in _zone_hosts(policy, member) if member in policy.zones else (member,):
            found.setdefault(host)
    return tuple(found)


def _members(policy: Policy, reference: str) -> Iterable[str]:
    if reference in policy.groups:
        return expand(policy, policy.groups[reference].members)
    if reference in policy.assets:
        return policy.assets[reference].stores
    match reference:
        case "managed_hosts":
            return managed_hosts(policy)
        case "internet_facing":
            return internet_facing(policy)
        case "my_number_stores":
            return my_number_stores(policy)
        case _:
            return (reference,)


def _zone_hosts(policy: Policy, zone: str) -> tuple[str, ...]:
    return tuple(host.id for host in policy.hosts.values() if zone in host.interfaces and host.kind != "gateway")


def managed_hosts(policy: Policy) -> tuple[str, ...]:
    """Hosts that Ansible writes to."""
    return tuple(host.id for host in policy.hosts.values() if host.managed == "ansible")


def my_number_stores(policy: Policy) -> tuple[str, ...]:
    """Hosts that keep specific personal information (特定個人情報)."""
    kept = {
        store
        for asset in policy.assets.values()
        if asset.information == "specific_personal_information"
        for store in asset.stores
    }
    return tuple(host for host in policy.hosts if host in kept)


def untrusted_zones(policy: Policy) -> tuple[str, ...]:
    """Zones outside the body's power."""
    return tuple(zone.id for zone in policy.zones.values() if zone.trust == "untrusted")


def internet_facing(policy: Policy) -> tuple[str, ...]:
    """Hosts that flows let an untrusted zone reach, or that may reach an untrusted zone themselves."""
    outside = set(untrusted_zones(policy))
    outside |= {host.id for host in policy.hosts.values() if outside & set(host.interfaces) and host.kind != "gateway"}
    facing: set[str] = set()
    for flow in policy.flows.values():
        sources, targets = expand(policy, flow.from_), expand(policy, flow.to)
        if outside & set(sources):
            facing.update(hosts_in(policy, targets))
        if outside & set(targets):
            facing.update(hosts_in(policy, sources))
    return tuple(host for host in policy.hosts if host in facing - outside)


def address_space(policy: Policy, zone: Zone, family: Family) -> tuple[AddressRange, ...]:
    """Every address that counts as the zone's, as disjoint ascending ranges.

    A trusted zone is its networks. An untrusted zone is everything routable that no trusted zone has.
    """
    own = [network for network in zone.networks if family_of(network) == family]
    if zone.trust != "untrusted":
        return _ranges((network.network_address, network.broadcast_address) for network in own)
    taken = [
        network
        for other in policy.zones.values()
        if other.trust != "untrusted"
        for network in other.networks
        if family_of(network) == family
    ]
    space = [ip_network(text) for text in _ROUTABLE[family]]
    barred = [*taken, *(ip_network(text) for text in _NEVER_FROM_OUTSIDE[family])]
    spans = _subtract(
        [(int(network[0]), int(network[-1])) for network in space],
        [(int(network[0]), int(network[-1])) for network in barred],
    )
    spans += [(int(network[0]), int(network[-1])) for network in own]
    kind = IPv4Address if family == "ipv4" else IPv6Address
    return _ranges((kind(first), kind(last)) for first, last in spans)


def _subtract(spans: list[tuple[int, int]], barred: list[tuple[int, int]]) -> list[tuple[int, int]]:
    for low, high in barred:
        spans = [
            piece
            for first, last in spans
            for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if piece[0] <= piece[1]
        ]
    return spans


def _ranges(spans: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    merged: list[AddressRange] = []
    for first, last in sorted(spans, key=lambda span: int(span[0])):
        if merged and int(first) <= int(merged[-1][1]) + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last, key=int))
        else:
            merged.append((first, last))
    return tuple(merged)
