"""Packets as people write them: ``iif=eth0 saddr=192.0.2.1 daddr=198.51.100.7 proto=tcp dport=5432 ct=new``."""

from collections.abc import Mapping
from ipaddress import ip_address

from kakoi.errors import InputError
from kakoi.reach import dimensions as d
from kakoi.reach import names
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet

KEYS = (
    "family",
    "iif",
    "oif",
    "saddr",
    "daddr",
    "proto",
    "sport",
    "dport",
    "type",
    "code",
    "ct",
    "direction",
    "mark",
    "flags",
)
_EXAMPLE = "iif=eth0 oif=eth1 saddr=192.0.2.1 daddr=198.51.100.7 proto=tcp sport=40000 dport=5432 ct=new"
_REMEDY = f"write a packet like: {_EXAMPLE}"
_CT_STATUS_WHEN_NEW = (0, 1, 2, 4, 5)
"""Bits of ``ct status`` that no first packet has before address translation: expected, seen-reply, assured, snat, dnat."""
_PROTOCOL_FAMILY = {1: 4, 58: 6}


def parse_packet(spec: str) -> Box:
    """The region of a packet description; what it leaves out may have any value.

    Raises:
        InputError: an unknown key, or a value that does not fit.
    """
    given: dict[str, str] = {}
    for word in spec.split():
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError(f"{word!r}: not of the form key=value", _REMEDY)
        if key not in KEYS:
            raise InputError(f"{word!r}: unknown key {key!r}", f"use one of: {', '.join(KEYS)}; {_REMEDY}")
        if key in given:
            raise InputError(f"{word!r}: {key} is given twice", _REMEDY)
        given[key] = value
    if not given:
        raise InputError("an empty packet", _REMEDY)
    box: dict[Dimension, IntervalSet] = {}
    _network(given, box)
    _transport(given, box)
    _surroundings(given, box)
    return box


def plain_packet(box: Box) -> Box:
    """The packet with what an ordinary packet leaves unsaid.

    Not a fragment, no IP options, no IPv6 extension headers; no mark before the ruleset sets one; the first packet of a
    connection goes in its original direction, without connection mark or translation.
    """
    assumed: dict[Dimension, IntervalSet] = {
        d.hidden("ip version", 4): IntervalSet.single(4),
        d.hidden("ip6 version", 4): IntervalSet.single(6),
        d.hidden("ip hdrlength", 4): IntervalSet.single(5),
        d.hidden("ip frag-off", 16): IntervalSet.of([(0, 0), (0x4000, 0x4000)]),
        **dict.fromkeys(d.MARK, d.ZERO),
        **first_packet(box),
    }
    for header in ("hbh", "rt", "frag", "dst", "mh", "srh"):
        assumed[d.hidden(f"exthdr {header}", 129)] = d.ZERO
    for option in ("lsrr", "ra", "rr", "ssrr"):
        assumed[d.hidden(f"ip option {option}", 129)] = d.ZERO
    protocol = box.get(d.PROTOCOL)
    if protocol is not None:
        assumed[d.hidden("ip6 nexthdr", 8)] = protocol
    return {**assumed, **box}


def first_packet(box: Box) -> Box:
    """What holds of every first packet of a connection; nothing for a region of other packets."""
    states = box.get(d.CT_STATE)
    if states is None or states != IntervalSet.single(names.CT_STATES.index("new")):
        return {}
    return {
        d.CT_DIRECTION: d.ZERO,
        **dict.fromkeys(d.CT_MARK, d.ZERO),
        **{d.CT_STATUS[bit]: d.ZERO for bit in _CT_STATUS_WHEN_NEW},
    }


def _network(given: Mapping[str, str], box: dict[Dimension, IntervalSet]) -> None:
    version = 0
    if "family" in given:
        versions = {"ip": 4, "ip6": 6, "ipv4": 4, "ipv6": 6}
        if given["family"] not in versions:
            raise InputError(f"family={given['family']}: neither ip nor ip6", "write family=ip or family=ip6")
        version = versions[given["family"]]
    for key in ("saddr", "daddr"):
        if key not in given:
            continue
        try:
            address = ip_address(given[key])
        except ValueError as error:
            raise InputError(f"{key}={given[key]}: not an IPv4 or IPv6 address", _REMEDY) from error
        if version and version != address.version:
            raise InputError(
                f"{key}={given[key]}: the packet is IPv{version} elsewhere", "give both addresses of one family"
            )
        version = address.version
        box[d.ADDRESSES[version][key == "daddr"]] = IntervalSet.single(int(address))
    if version:
        box[d.FAMILY] = d.IPV4 if version == 4 else d.IPV6  # noqa: PLR2004 - the IP version


def _transport(given: Mapping[str, str], box: dict[Dimension, IntervalSet]) -> None:  # noqa: C901 - one check for each key
    number: int | None = None
    if "proto" in given:
        number = names.protocol_number(given["proto"])
        if number is None or number > d.PROTOCOL.maximum:
            raise InputError(f"proto={given['proto']}: unknown protocol", "write tcp, udp, icmp, icmpv6 or a number")
        box[d.PROTOCOL] = IntervalSet.single(number)
        family = _PROTOCOL_FAMILY.get(number)
        if family is not None and d.FAMILY in box and box[d.FAMILY] != (d.IPV4 if family == 4 else d.IPV6):  # noqa: PLR2004
            raise InputError(
                f"proto={given['proto']}: belongs to IPv{family}", "use proto=icmp with IPv4, proto=icmpv6 with IPv6"
            )
    for key, of in (("sport", d.SPORT), ("dport", d.DPORT)):
        if key in given:
            if number is not None and number not in d.PORT_PROTOCOLS:
                raise InputError(f"{key}={given[key]}: {given['proto']} has no ports", f"leave {key} out")
            box[of] = _number(key, given[key], of.maximum)
    for key, of4, of6, table4, table6 in (
        ("type", d.ICMP_TYPE, d.ICMPV6_TYPE, names.ICMP_TYPES, names.ICMPV6_TYPES),
        ("code", d.ICMP_CODE, d.ICMPV6_CODE, names.ICMP_CODES, names.ICMPV6_CODES),
    ):
        if key not in given:
            continue
        if number not in _PROTOCOL_FAMILY:
            raise InputError(f"{key}={given[key]}: only ICMP has a {key}", "add proto=icmp or proto=icmpv6")
        of, table = (of4, table4) if number == 1 else (of6, table6)
        box[of] = IntervalSet.single(table[given[key]]) if given[key] in table else _number(key, given[key], of.maximum)
    if "flags" in given:
        if number != names.PROTOCOLS["tcp"]:
            raise InputError(f"flags={given['flags']}: only TCP has flags", "add proto=tcp")
        box[d.TCP_FLAG_BITS] = IntervalSet.single(_flags(given["flags"]))


def _surroundings(given: Mapping[str, str], box: dict[Dimension, IntervalSet]) -> None:
    for key, of in (("iif", d.IIF), ("oif", d.OIF)):
        if key in given:
            if len(given[key].encode()) > 15:  # noqa: PLR2004 - IFNAMSIZ without the final zero
                raise InputError(f"{key}={given[key]}: longer than 15 bytes", "give the name of an interface")
            box[of] = IntervalSet.single(d.name_number(given[key]))
    if "ct" in given:
        if given["ct"] not in names.CT_STATES:
            raise InputError(f"ct={given['ct']}: unknown state", f"use one of: {', '.join(names.CT_STATES)}")
        box[d.CT_STATE] = IntervalSet.single(names.CT_STATES.index(given["ct"]))
    if "direction" in given:
        if given["direction"] not in {"original", "reply"}:
            raise InputError(f"direction={given['direction']}: unknown", "write direction=original or direction=reply")
        box[d.CT_DIRECTION] = IntervalSet.single(int(given["direction"] == "reply"))
    if "mark" in given:
        mark = _number("mark", given["mark"], (1 << 32) - 1).first
        box.update({bit: d.ONE if mark >> index & 1 else d.ZERO for index, bit in enumerate(d.MARK)})


def _number(key: str, value: str, maximum: int) -> IntervalSet:
    try:
        number = int(value, 0)
    except ValueError as error:
        raise InputError(f"{key}={value}: not a number", _REMEDY) from error
    if not 0 <= number <= maximum:
        raise InputError(f"{key}={value}: outside of 0-{maximum}", _REMEDY)
    return IntervalSet.single(number)


def _flags(value: str) -> int:
    total = 0
    for name in value.replace("|", ",").split(","):
        if name not in names.TCP_FLAGS:
            raise InputError(
                f"flags={value}: unknown flag {name!r}", f"use one or more of: {', '.join(names.TCP_FLAGS)}"
            )
        total |= names.TCP_FLAGS[name]
    return total
