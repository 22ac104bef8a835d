"""Networks do not overlap, and every address is one host's, in its zone, in every family that the zone uses."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from kakoi.policy.model import Address, Family, Host, Network, Policy, Zone
from kakoi.policy.problem import Finding, Path, quote
from kakoi.policy.rules.registry import error, rule
from kakoi.policy.rules.scope import FAMILY_NAMES, Scope
from kakoi.policy.sets import family_of

_POINT_TO_POINT = {4: 31, 6: 127}
"""Prefix lengths from which on every address is a host's (RFC 3021, RFC 6164)."""


def _addresses(policy: Policy) -> Iterator[tuple[Path, Host, str, Address]]:
    for host in policy.hosts.values():
        for zone, addresses in host.interfaces.items():
            for index, address in enumerate(addresses):
                yield ("hosts", host.id, "interfaces", zone, index), host, zone, address


@rule("Networks do not overlap.", "ネットワークは重ならない。")
def no_overlapping_networks(scope: Scope) -> Iterator[Finding]:
    """An address in two zones has two levels of trust."""
    networks: list[tuple[int, int, int, Path, str, Network]] = []
    for zone in scope.policy.zones.values():
        for index, network in enumerate(zone.networks):
            first, last = int(network[0]), int(network[-1])
            networks.append((network.version, first, -last, ("zones", zone.id, "networks", index), zone.id, network))
    networks.sort(key=lambda entry: entry[:3])
    widest: tuple[int, int, str, Network] | None = None
    for version, first, minus_last, path, zone_id, network in networks:
        if widest and widest[0] == version and first <= widest[1]:
            yield error(
                path,
                (
                    f"{network} overlaps {widest[3]} of the zone {quote(widest[2])}",
                    f"{network} はゾーン {quote(widest[2])} の {widest[3]} と重なっています",
                ),
                ("Give each zone networks of its own.", "ゾーンごとに別のネットワークにしてください。"),
            )
        if widest is None or widest[0] != version or -minus_last > widest[1]:
            widest = (version, -minus_last, zone_id, network)


@rule(
    "Networks are of hosts: not loopback, link-local, multicast or unspecified.",
    "ループバック、リンクローカル、マルチキャストはゾーンのネットワークにできない。",
)
def ordinary_networks(scope: Scope) -> Iterator[Finding]:
    """Addresses that never cross a router cannot be a zone's."""
    for zone in scope.policy.zones.values():
        for index, network in enumerate(zone.networks):
            if network.is_loopback or network.is_link_local or network.is_multicast or network.is_unspecified:
                yield error(
                    ("zones", zone.id, "networks", index),
                    (
                        f"{network} is not a network of hosts (loopback, link-local or multicast)",
                        f"{network} はホストのネットワークとして使えません（ループバック、リンクローカル、マルチキャスト）",
                    ),
                    (
                        'Use a private network such as 10.40.3.0/24 or "fd00:43::/64".',
                        '10.40.3.0/24 や "fd00:43::/64" のようなプライベートアドレスを使ってください。',
                    ),
                )


@rule("A zone's networks and its families say the same.", "ゾーンの networks と families は一致する。")
def families_have_networks(scope: Scope) -> Iterator[Finding]:
    """A family without a network is unfiltered by oversight: the classic hole is IPv6."""
    for zone in scope.policy.zones.values():
        for family in FAMILY_NAMES:
            with_networks = [i for i, network in enumerate(zone.networks) if family_of(network) == family]
            if family in zone.families and not with_networks:
                yield error(
                    ("zones", zone.id, "networks"),
                    (
                        f"the zone {quote(zone.id)} uses {FAMILY_NAMES[family]} but has no {FAMILY_NAMES[family]} network",
                        f"ゾーン {quote(zone.id)} は {FAMILY_NAMES[family]} を使いますが、{FAMILY_NAMES[family]} のネットワークがありません",
                    ),
                    (
                        f"Add one, or decide against {FAMILY_NAMES[family]} with `families: [{_other(family)}]`.",
                        f"追加するか、使わないと決めて `families: [{_other(family)}]` と書いてください。",
                    ),
                    at_key=True,
                )
            if family not in zone.families and with_networks:
                yield error(
                    ("zones", zone.id, "networks", with_networks[0]),
                    (
                        f"the zone {quote(zone.id)} does not use {FAMILY_NAMES[family]} but has the network {zone.networks[with_networks[0]]}",
                        f"ゾーン {quote(zone.id)} は {FAMILY_NAMES[family]} を使わないのに、ネットワーク {zone.networks[with_networks[0]]} があります",
                    ),
                    (
                        f"Delete it, or add {family} to families.",
                        f"削除するか、families に {family} を加えてください。",
                    ),
                )


def _other(family: Family) -> Family:
    return "ipv6" if family == "ipv4" else "ipv4"


@rule("A host's address lies in a network of its zone.", "ホストのアドレスは、そのゾーンのネットワークの中にある。")
def addresses_in_their_zone(scope: Scope) -> Iterator[Finding]:
    """A foreign address is cut off by the anti-spoofing rules, or trusted as somebody else's."""
    for path, _, zone_id, address in _addresses(scope.policy):
        zone = scope.policy.zones.get(zone_id)
        if zone and not any(address in network for network in zone.networks):
            networks = ", ".join(str(network) for network in zone.networks)
            home = next((z.id for z in scope.policy.zones.values() if any(address in n for n in z.networks)), None)
            belongs = (f" but in {quote(home)}", f"（{quote(home)} のアドレスです）") if home else ("", "")
            yield error(
                path,
                (
                    f"{address} is not in the zone {quote(zone_id)}{belongs[0]}",
                    f"{address} はゾーン {quote(zone_id)} の外です{belongs[1]}",
                ),
                (f"Write an address in {networks}.", f"{networks} の中のアドレスを書いてください。"),
            )


@rule(
    "A host's address is not the network's own or its broadcast address.",
    "ネットワークアドレスとブロードキャストアドレスはホストに付けない。",
)
def no_reserved_addresses(scope: Scope) -> Iterator[Finding]:
    """The first and last address of a network are not hosts'."""
    for path, _, zone_id, address in _addresses(scope.policy):
        zone = scope.policy.zones.get(zone_id)
        network = next((n for n in zone.networks if address in n), None) if zone else None
        if network is None or network.prefixlen >= _POINT_TO_POINT[network.version]:
            continue
        kind = _reserved_kind(address, network)
        if kind:
            yield error(
                path,
                (f"{address} is the {kind[0]} of {network}", f"{address} は {network} の{kind[1]}です"),
                ("Write another address of the network.", "ネットワーク内の別のアドレスを書いてください。"),
            )


def _reserved_kind(address: Address, network: IPv4Network | IPv6Network) -> tuple[str, str] | None:
    if address == network.network_address:
        return (
            ("network address", "ネットワークアドレス")
            if isinstance(address, IPv4Address)
            else ("subnet-router anycast address", "サブネットルータ・エニーキャストアドレス")
        )
    if isinstance(address, IPv4Address) and address == network.broadcast_address:
        return ("broadcast address", "ブロードキャストアドレス")
    return None


@rule("An address belongs to one host.", "アドレスは一つのホストのもの。")
def no_duplicate_addresses(scope: Scope) -> Iterator[Finding]:
    """Two hosts with one address take each other's connections, and each other's permissions."""
    owner: dict[Address, str] = {}
    for path, host, _, address in _addresses(scope.policy):
        if address in owner:
            yield error(
                path,
                (
                    f"{address} is already an address of {quote(owner[address])}",
                    f"{address} はすでに {quote(owner[address])} が使っています",
                ),
                ("Write a free address.", "空いているアドレスを書いてください。"),
            )
        else:
            owner[address] = host.id


@rule(
    "A host has an address in every family that its zone uses.",
    "ホストは、ゾーンが使うすべてのアドレス族のアドレスを持つ。",
)
def no_family_gaps(scope: Scope) -> Iterator[Finding]:
    """A host that is known by IPv4 only is reached, and reaches out, by an IPv6 address that no rule knows."""
    for host in scope.policy.hosts.values():
        for zone_id, addresses in host.interfaces.items():
            zone: Zone | None = scope.policy.zones.get(zone_id)
            present = {family_of(address) for address in addresses}
            for family in zone.families if zone else ():
                network = next((n for n in zone.networks if family_of(n) == family), None) if zone else None
                if family not in present and network is not None:
                    yield error(
                        ("hosts", host.id, "interfaces", zone_id),
                        (
                            f"{quote(host.id)} has no {FAMILY_NAMES[family]} address in {quote(zone_id)}, which uses {FAMILY_NAMES[family]}",
                            f"{quote(zone_id)} は {FAMILY_NAMES[family]} を使いますが、{quote(host.id)} に {FAMILY_NAMES[family]} アドレスがありません",
                        ),
                        (f"Add one of {network}.", f"{network} のアドレスを追加してください。"),
                    )
