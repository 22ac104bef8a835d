"""One finished nftables file per managed host: table ``inet kakoi``, everything dropped that no flow allows.

A file declares, deletes and defines its table in one transaction, so a packet meets the old rules or the new ones and
never none; other tables stay as they are. What a packet costs does not grow with the number of flows: the machine's
state, the zones (a verdict map) and the flow (one lookup for each shape of set) are each found by hashing or by a tree.

The text follows from the policy alone, to the byte. It is written for people, too: a section for each pair of zones,
its sets, then the chain that uses them; the comment of each element is the flow that wants it.

Shapes of sets (``host`` is one address, ``zone`` is a zone's networks or ranges): addresses of one shape are equal or
disjoint, and the ports of one pair of addresses are disjoint, so no two elements of a set overlap; the kernel would
refuse them otherwise. Single ports between hosts need no intervals and go into plain hash sets.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kakoi.compile.placement import LOCALHOST, Grant, Pair, Passage, Placement
from kakoi.errors import InputError
from kakoi.policy.model import Family, Host, Policy
from kakoi.policy.sets import address_space, family_of, managed_hosts, untrusted_zones

_FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
_IP: Mapping[Family, str] = {"ipv4": "ip", "ipv6": "ip6"}
_ICMP: Mapping[Family, str] = {"ipv4": "icmp", "ipv6": "icmpv6"}
_LOG_RATE = "limit rate 5/second burst 10 packets"
_LOG_GROUP = 1

_HEAD = """\
#!/usr/sbin/nft -f
# kakoi: {host} ({name})
# Compiled by kakoi from policy/; do not edit. The comment of each element names its flow in policy/flows.yml.

table inet kakoi
delete table inet kakoi

table inet kakoi {{
"""

_PREROUTING = f"""\
	# A source address must route back through the interface that its packet came in by (RFC 2827, RFC 3704).
	# First what a neighbour rightly sends from :: before it has an address: discovery (RFC 4862; hop limit 255 proves
	# that no router passed it on) and listener reports (RFC 3590).
	chain prerouting {{
		type filter hook prerouting priority raw; policy accept;
		iifname "lo" accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
		icmpv6 type {{ mld-listener-report, mld2-listener-report }} ip6 saddr :: ip6 hoplimit 1 accept
		fib saddr . iif oif missing goto spoofed
	}}

	chain spoofed {{
		{_LOG_RATE} log prefix "kakoi spoofed drop " group {_LOG_GROUP}
		counter drop
	}}

	chain invalid {{
		{_LOG_RATE} log prefix "kakoi invalid drop " group {_LOG_GROUP}
		counter drop
	}}

	# Errors about a connection that is allowed (RFC 792, RFC 4443, RFC 4890). Nothing else is ever related.
	chain icmp_errors {{
		icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
		goto invalid
	}}

	# The wire itself: neighbours (RFC 4861) and multicast listeners (RFC 2710, RFC 3810). Addresses and routes are
	# static, so routers' advertisements and redirects are not heard.
	chain wire-localhost {{
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
		icmpv6 type mld-listener-query ip6 saddr fe80::/10 ip6 hoplimit 1 accept
		goto invalid
	}}

	chain localhost-wire {{
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
		icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} ip6 hoplimit 1 accept
		goto invalid
	}}
"""


def ruleset(policy: Policy, host: str) -> str:
    """The firewall of one managed host."""
    return _Compiler(policy).file(policy.hosts[host])


def rulesets(policy: Policy) -> Iterator[tuple[str, str]]:
    """Every managed host and its firewall, in policy order; cheaper than one by one."""
    compiler = _Compiler(policy)
    for host in managed_hosts(policy):
        yield host, compiler.file(policy.hosts[host])


class _Address(NamedTuple):
    """What stands for one end in an element, with a key that sorts as addresses do."""

    order: int
    text: str


class _Shape(NamedTuple):
    """One set of a passage: what its elements are keyed by."""

    name: str
    interval: bool
    icmp: bool


class _Compiler:
    """Work that the files of one policy share."""

    def __init__(self, policy: Policy) -> None:
        _refuse_reserved_names(policy)
        self.policy = policy
        self.placement = Placement(policy)
        self._untrusted = next(iter(untrusted_zones(policy)), None)
        self._zones = tuple(sorted(policy.zones))
        self._addresses: dict[tuple[str, str, Family], tuple[_Address, ...]] = {}
        self._dispatch = {
            direction: _address_dispatch(policy, self._zones, direction) for direction in ("input", "output")
        }
        self._closed = {passage: _closed_chain(passage) for zone in self._zones for passage in _own_passages(zone)}

    def file(self, host: Host) -> str:
        passages = self.placement.passages(host.id)
        every = [*self._transit(host), *(passage for zone in self._zones for passage in _own_passages(zone))]
        talking = passages.keys() | {(out_zone, in_zone) for in_zone, out_zone in passages}
        open_passages = [passage for passage in every if passage in talking]
        parts = [
            _HEAD.format(host=host.id, name=" ".join(host.name.split())),
            _PREROUTING,
            self._base_chains(host),
            *(self._section(passage, passages) for passage in open_passages),
            "\n\t# Nothing is allowed here, in either direction.\n",
            *(self._closed.get(passage) or _closed_chain(passage) for passage in every if passage not in talking),
            "}\n",
        ]
        return "".join(parts)

    # ------------------------------------------------------------------------------- base chains

    def _transit(self, host: Host) -> list[Passage]:
        legs = sorted(host.interfaces) if host.kind == "gateway" else []
        return [(in_zone, out_zone) for in_zone in legs for out_zone in legs if in_zone != out_zone]

    def _base_chains(self, host: Host) -> str:
        transit = ",\n".join(
            f'\t\t\t"{host.device(in_zone)}" . "{host.device(out_zone)}" : goto {in_zone}-{out_zone}'
            for in_zone, out_zone in self._transit(host)
        )
        dispatch = f"\t\tiifname . oifname vmap {{\n{transit}\n\t\t}}\n" if transit else ""
        return (
            "\n\t# Packets for this machine.\n"
            "\tchain input {\n"
            "\t\ttype filter hook input priority filter; policy drop;\n"
            '\t\tiifname "lo" accept\n'
            "\t\tct state vmap { invalid : goto invalid, untracked : goto wire-localhost }\n"
            f"{self._dispatch['input']}"
            "\t}\n"
            "\n\t# Packets of others that pass through.\n"
            "\tchain forward {\n"
            "\t\ttype filter hook forward priority filter; policy drop;\n"
            "\t\tct state vmap { invalid : goto invalid, untracked : goto invalid }\n"
            f"{dispatch}"
            f"{_closing('forward')}"
            "\t}\n"
            "\n\t# Packets that this machine sends itself.\n"
            "\tchain output {\n"
            "\t\ttype filter hook output priority filter; policy drop;\n"
            '\t\toifname "lo" accept\n'
            "\t\tct state vmap { invalid : goto invalid, untracked : goto localhost-wire }\n"
            f"{self._dispatch['output']}"
            "\t}\n"
        )

    # ---------------------------------------------------------------------------------- sections

    def _section(self, passage: Passage, passages: Mapping[Passage, Mapping[Pair, list[Grant]]]) -> str:
        name = _chain_name(passage)
        sets: list[str] = []
        rules: list[str] = []
        for family in _FAMILIES:
            for shape, elements in self._elements(passages.get(passage, {}), family):
                set_name = f"{name}.{shape.name}.{family}"
                key = _key(family, icmp=shape.icmp)
                flags = "\t\tflags interval\n" if shape.interval else ""
                body = ",\n\t\t\t".join(elements)
                sets.append(
                    f"\tset {set_name} {{\n\t\ttypeof {key}\n{flags}\t\tcounter\n"
                    f"\t\telements = {{\n\t\t\t{body}\n\t\t}}\n\t}}\n\n"
                )
                rules.append(f"\t\t{key} @{set_name} accept\n")
        answers = "\t\tct state established ct direction reply accept\n" if passage[::-1] in passages else ""
        return (
            f"\n\t# {_title(passage)}\n{''.join(sets)}\tchain {name} {{\n{answers}"
            f"\t\tct state related goto icmp_errors\n{''.join(rules)}{_closing(name)}\t}}\n"
        )

    def _elements(self, pairs: Mapping[Pair, list[Grant]], family: Family) -> Iterator[tuple[_Shape, list[str]]]:
        """The sets of one passage and family, each with its elements in the order of their addresses and ports."""
        found: dict[_Shape, list[tuple[int, int, str, int, str]]] = {}
        zones, flow_ids, icmp = self.policy.zones, self.placement.flow_ids, _ICMP[family]
        for pair, grants in pairs.items():
            sources = self._space(pair.source, pair.destination, family)
            targets = self._space(pair.destination, pair.source, family)
            if not sources or not targets:
                continue
            between = f"{_kind(pair.source in zones)}_{_kind(pair.destination in zones)}"
            wide = between != "host_host"
            for protocol, first, last, order in grants:
                if protocol in _ICMP.values():
                    if protocol != icmp:
                        continue
                    shape = _Shape(f"echo_{between}", wide, icmp=True)
                    what = "echo-request"
                elif first == last:
                    shape = _Shape(between, wide, icmp=False)
                    what = f"{protocol} . {first}"
                else:
                    shape = _Shape(between if wide else "host_host_ranges", interval=True, icmp=False)
                    what = f"{protocol} . {first}-{last}"
                tail = f'{what} comment "{flow_ids[order]}"'
                found.setdefault(shape, []).extend(
                    (source.order, target.order, protocol, first, f"{source.text} . {target.text} . {tail}")
                    for source in sources
                    for target in targets
                )
        for shape in sorted(found, key=_shape_order):
            yield shape, [element[-1] for element in sorted(found[shape])]

    def _space(self, end: str, peer: str, family: Family) -> tuple[_Address, ...]:
        """Every address of one end, as elements write it; a gateway has those of the leg that faces its peer."""
        zone = "" if end in self.policy.zones else self.placement.topology.facing_zone(end, peer)
        key = (end, zone, family)
        if key not in self._addresses:
            if zone:
                own = self.policy.hosts[end].interfaces[zone]
                found = [_Address(int(address), str(address)) for address in own if family_of(address) == family]
            else:
                found = [_Address(order, text) for order, text in _zone_space(self.policy, end, family)]
            self._addresses[key] = tuple(sorted(found))
        return self._addresses[key]


def _zone_space(policy: Policy, zone_id: str, family: Family) -> Iterator[tuple[int, str]]:
    """A trusted zone's networks; an untrusted zone's ranges, which are everything that nobody else has."""
    zone = policy.zones[zone_id]
    if zone.trust != "untrusted":
        for network in zone.networks:
            if family_of(network) == family:
                yield int(network.network_address), str(network)
    elif family in zone.families:
        for first, last in address_space(policy, zone, family):
            yield int(first), f"{first}-{last}" if first != last else str(first)


def _address_dispatch(policy: Policy, zones: Iterable[str], direction: str) -> str:
    """Rules of a base chain that find the peer's zone by its address."""
    side, lines = ("saddr" if direction == "input" else "daddr"), []
    for family in _FAMILIES:
        networks = sorted(
            (int(network.network_address), str(network), zone)
            for zone in zones
            for network in policy.zones[zone].networks
            if family_of(network) == family
        )
        if networks:
            targets = ",\n".join(
                f"\t\t\t{network} : goto {_chain_name(_own_passage(zone, direction))}" for _, network, zone in networks
            )
            lines.append(f"\t\t{_IP[family]} {side} vmap {{\n{targets}\n\t\t}}\n")
    outside = next(iter(untrusted_zones(policy)), None)
    if outside is not None:
        return "".join(lines) + f"\t\tgoto {_chain_name(_own_passage(outside, direction))}\n"
    return "".join(lines) + _closing(direction)


def _own_passages(zone: str) -> tuple[Passage, Passage]:
    return _own_passage(zone, "input"), _own_passage(zone, "output")


def _own_passage(zone: str, direction: str) -> Passage:
    return (zone, LOCALHOST) if direction == "input" else (LOCALHOST, zone)


def _closed_chain(passage: Passage) -> str:
    name = _chain_name(passage)
    return f"\tchain {name} {{\n{_closing(name)}\t}}\n"


def _closing(name: str) -> str:
    return f'\t\t{_LOG_RATE} log prefix "kakoi {name} drop " group {_LOG_GROUP}\n\t\tcounter drop\n'


def _chain_name(passage: Passage) -> str:
    return "-".join(passage)


def _title(passage: Passage) -> str:
    here, there = ("this machine" if zone == LOCALHOST else zone for zone in passage)
    return f"{here} -> {there}"


def _key(family: Family, *, icmp: bool) -> str:
    what = f"{_ICMP[family]} type" if icmp else "meta l4proto . th dport"
    return f"{_IP[family]} saddr . {_IP[family]} daddr . {what}"


def _kind(is_zone: bool) -> str:  # noqa: FBT001 - one obvious argument
    return "zone" if is_zone else "host"


def _shape_order(shape: _Shape) -> tuple[bool, bool, str]:
    """Hash sets before intervals, ports before ICMP."""
    return shape.icmp, shape.interval, shape.name


def _refuse_reserved_names(policy: Policy) -> None:
    for reserved in (LOCALHOST, "wire"):
        if reserved in policy.zones:
            raise InputError(
                f"a zone is called {reserved}, which names chains of the machine itself", "give the zone another name"
            )
