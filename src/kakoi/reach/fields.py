"""What each nft selector reads: its dimensions, the values its constants stand for, and what must hold for it to be there.

A selector that reads a header implies the header (``tcp dport`` matches only TCP), as nft's own bytecode does. Where the
thing read may be absent (an option, a socket, a routing answer) a hidden "present" dimension joins: the kernel lets a
comparison with an absent value fail, whichever operator it uses.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from kakoi.reach import dimensions as d
from kakoi.reach import names, syntax
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import EMPTY, IntervalSet, masked

_CT_PRESENT: Box = {
    d.CT_STATE: IntervalSet.of((names.CT_STATES.index(state),) * 2 for state in ("new", "established", "related"))
}
_PORTLESS = d.PORT_PROTOCOLS.complement(d.PROTOCOL.maximum)
_V4: Box = {d.FAMILY: d.IPV4}
_V6: Box = {d.FAMILY: d.IPV6}

_PAYLOAD_BITS = {
    "ip": {
        "version": 4,
        "hdrlength": 4,
        "dscp": 6,
        "ecn": 2,
        "length": 16,
        "id": 16,
        "frag-off": 16,
        "ttl": 8,
        "checksum": 16,
    },
    "ip6": {"version": 4, "dscp": 6, "ecn": 2, "flowlabel": 20, "length": 16, "nexthdr": 8, "hoplimit": 8},
    "tcp": {"sequence": 32, "ackseq": 32, "doff": 4, "reserved": 4, "window": 16, "checksum": 16, "urgptr": 16},
    "udp": {"length": 16, "checksum": 16},
    "udplite": {"checksum": 16, "csumcov": 16},
    "icmp": {"checksum": 16, "id": 16, "sequence": 16, "gateway": 32, "mtu": 16},
    "icmpv6": {
        "checksum": 16,
        "parameter-problem": 32,
        "packet-too-big": 32,
        "id": 16,
        "sequence": 16,
        "max-delay": 16,
    },
    "esp": {"spi": 32, "sequence": 32},
    "ah": {"spi": 32, "sequence": 32, "nexthdr": 8, "hdrlength": 8, "reserved": 16},
    "comp": {"nexthdr": 8, "flags": 8, "cpi": 16},
    "sctp": {"vtag": 32, "checksum": 32},
    "dccp": {"type": 4},
}
"""Fields every packet of the protocol has, and their bits."""

_OPTION_REQUIRES: Mapping[str, Box] = {
    "exthdr": _V6,
    "ip option": _V4,
    "tcp option": {d.PROTOCOL: IntervalSet.single(6)},
    "sctp chunk": {d.PROTOCOL: IntervalSet.single(132)},
}
_ALWAYS_THERE = {
    "mark",
    "length",
    "priority",
    "pkttype",
    "cpu",
    "random",
    "nftrace",
    "iif",
    "oif",
    "iifgroup",
    "oifgroup",
}
"""Keys of meta that can always be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One readable thing.

    ``parts`` is one dimension, or one for each bit, lowest first.
    """

    parts: tuple[Dimension, ...]
    constant: Callable[[str | int | bool], IntervalSet | None]
    """The values that a constant of nft stands for; ``None`` when it cannot be read."""
    requires: Box = field(default_factory=dict)
    """What must hold for the field to be there at all."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Names of single bits, for fields that are written as flag lists."""
    one_hot: bool = False
    """The kernel keeps a bit for each value (ct state): masks select values."""

    @property
    def bits(self) -> int:
        """Width."""
        return len(self.parts) if len(self.parts) > 1 else self.parts[0].bits

    @property
    def maximum(self) -> int:
        """The largest value."""
        return (1 << len(self.parts)) - 1 if len(self.parts) > 1 else self.parts[0].maximum

    def boxes(self, values: IntervalSet) -> tuple[Box, ...]:
        """The region where the field has one of the values."""
        if len(self.parts) == 1:
            return ({self.parts[0]: values},) if values else ()
        return tuple(box for low, high in values for box in _aligned(self.parts, low, high))

    def masked(self, mask: int, value: int) -> tuple[Box, ...]:
        """The region where ``field & mask == value``; of a scattered mask, a dimension of its own."""
        if self.one_hot:
            chosen = [
                index for index, state in enumerate(names.CT_STATES) if names.CT_STATE_BITS[state] & mask == value
            ]
            return self.boxes(IntervalSet.of((index, index) for index in chosen))
        if len(self.parts) > 1:
            if value & ~mask:
                return ()
            return (
                {part: d.ONE if value >> bit & 1 else d.ZERO for bit, part in enumerate(self.parts) if mask >> bit & 1},
            )
        found = masked(mask, value, self.bits)
        return ({d.masked_bits(self.parts[0], mask, value): d.ONE},) if found is None else self.boxes(found)

    def bit_pattern(self, expression: syntax.Expression) -> int | None:
        """The bits that a mask or flag list stands for."""
        match expression:
            case syntax.FlagList(values):
                patterns = [self.bit_pattern(value) for value in values]
                return None if None in patterns else _joined([pattern for pattern in patterns if pattern is not None])
            case syntax.Binary("|", left, right):
                low, high = self.bit_pattern(left), self.bit_pattern(right)
                return None if low is None or high is None else low | high
            case syntax.Constant(str(value)) if value in self.flags:
                return self.flags[value]
            case syntax.Constant(value):
                found = IntervalSet.single(int(value)) if isinstance(value, int) else self.constant(value)
                return found.first if found is not None and found.size == 1 else None
            case _:
                return None


def _joined(patterns: list[int]) -> int:
    total = 0
    for pattern in patterns:
        total |= pattern
    return total


def _aligned(parts: tuple[Dimension, ...], low: int, high: int) -> list[Box]:
    """An interval of a field kept bit by bit, as aligned blocks."""
    boxes: list[Box] = []
    while low <= high:
        free = (low & -low).bit_length() - 1 if low else len(parts)
        while free and low + (1 << free) - 1 > high:
            free -= 1
        free = min(free, len(parts))
        boxes.append({part: d.ONE if low >> bit & 1 else d.ZERO for bit, part in enumerate(parts) if bit >= free})
        low += 1 << free
    return boxes


def _number(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001 - a constant of nft
    if isinstance(value, int):
        return IntervalSet.single(int(value)) if value >= 0 else None
    try:
        return IntervalSet.single(int(value, 0))
    except ValueError:
        return None


def _named(table: Mapping[str, int]) -> Callable[[str | int | bool], IntervalSet | None]:
    def read(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
        return IntervalSet.single(table[value]) if isinstance(value, str) and value in table else _number(value)

    return read


def _looked_up(find: Callable[[str], int | None]) -> Callable[[str | int | bool], IntervalSet | None]:
    def read(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
        number = find(value) if isinstance(value, str) else int(value)
        return None if number is None else IntervalSet.single(number)

    return read


def _address(family: socket.AddressFamily) -> Callable[[str | int | bool], IntervalSet | None]:
    def read(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
        if isinstance(value, int):
            return IntervalSet.single(value)
        address, _, length = value.partition("/")
        try:
            number = int.from_bytes(socket.inet_pton(family, address))
        except (OSError, ValueError):
            return None
        if not length:
            return IntervalSet.single(number)
        host_bits = (32 if family == socket.AF_INET else 128) - int(length)
        return IntervalSet.single(number >> host_bits << host_bits, number | (1 << host_bits) - 1)

    return read


def _interface(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
    return d.name_interval(value) if isinstance(value, str) else None


def _symbol(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
    """Numbers as they are, words as the number of their bytes above all numbers; longer words cannot be read."""
    number = _number(value)
    if number is not None:
        return number
    encoded = str(value).encode()
    return IntervalSet.single(1 << 128 | int.from_bytes(encoded)) if len(encoded) <= 16 else None  # noqa: PLR2004 - bytes of a dimension


def _truth(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
    """``exists`` and ``missing`` of a look-up: zero is missing."""
    if value is False or value in {0, "0"}:
        return d.ZERO
    return IntervalSet.single(1, (1 << 129) - 1) if value is True else _symbol(value)


def _family_of(table: Mapping[str | int, int]) -> Callable[[str | int | bool], IntervalSet | None]:
    def read(value: str | int | bool) -> IntervalSet | None:  # noqa: FBT001
        return IntervalSet.single(table[value]) if value in table else EMPTY

    return read


_ADDRESS4 = _address(socket.AF_INET)
_ADDRESS6 = _address(socket.AF_INET6)
_PORT = _looked_up(names.port_number)
_PROTOCOL = _looked_up(names.protocol_number)
_NFPROTO = _family_of({"ipv4": 0, "ipv6": 1, "ip": 0, "ip6": 1, 2: 0, 10: 1})
_ETHERTYPE = _family_of({"ip": 0, "ip6": 1, 0x0800: 0, 0x86DD: 1, "0x0800": 0, "0x86dd": 1})

_FIXED: dict[tuple[str, str, str], Field] = {
    ("payload", "ip", "saddr"): Field((d.SADDR4,), _ADDRESS4, _V4),
    ("payload", "ip", "daddr"): Field((d.DADDR4,), _ADDRESS4, _V4),
    ("payload", "ip6", "saddr"): Field((d.SADDR6,), _ADDRESS6, _V6),
    ("payload", "ip6", "daddr"): Field((d.DADDR6,), _ADDRESS6, _V6),
    ("payload", "ip", "protocol"): Field((d.PROTOCOL,), _PROTOCOL, _V4),
    ("payload", "ip6", "nexthdr"): Field((d.hidden("ip6 nexthdr", 8),), _PROTOCOL, _V6),
    ("payload", "tcp", "flags"): Field(
        (d.TCP_FLAG_BITS,), _named(names.TCP_FLAGS), {d.PROTOCOL: IntervalSet.single(6)}, names.TCP_FLAGS
    ),
    ("payload", "icmp", "type"): Field(
        (d.ICMP_TYPE,), _named(names.ICMP_TYPES), {**_V4, d.PROTOCOL: IntervalSet.single(1)}
    ),
    ("payload", "icmp", "code"): Field(
        (d.ICMP_CODE,), _named(names.ICMP_CODES), {**_V4, d.PROTOCOL: IntervalSet.single(1)}
    ),
    ("payload", "icmpv6", "type"): Field(
        (d.ICMPV6_TYPE,), _named(names.ICMPV6_TYPES), {**_V6, d.PROTOCOL: IntervalSet.single(58)}
    ),
    ("payload", "icmpv6", "code"): Field(
        (d.ICMPV6_CODE,), _named(names.ICMPV6_CODES), {**_V6, d.PROTOCOL: IntervalSet.single(58)}
    ),
    ("payload", "ether", "type"): Field((d.FAMILY,), _ETHERTYPE),
    ("meta", "", "nfproto"): Field((d.FAMILY,), _NFPROTO),
    ("meta", "", "protocol"): Field((d.FAMILY,), _ETHERTYPE),
    ("meta", "", "l4proto"): Field((d.PROTOCOL,), _PROTOCOL),
    ("meta", "", "iifname"): Field((d.IIF,), _interface),
    ("meta", "", "oifname"): Field((d.OIF,), _interface),
    ("meta", "", "iif"): Field((d.IIF,), _interface),
    ("meta", "", "oif"): Field((d.OIF,), _interface),
    ("meta", "", "mark"): Field(d.MARK, _number),
    ("ct", "", "state"): Field(
        (d.CT_STATE,),
        _named({state: index for index, state in enumerate(names.CT_STATES)}),
        flags=names.CT_STATE_BITS,
        one_hot=True,
    ),
    ("ct", "", "direction"): Field((d.CT_DIRECTION,), _named({"original": 0, "reply": 1}), _CT_PRESENT),
    ("ct", "", "mark"): Field(d.CT_MARK, _number, _CT_PRESENT),
    ("ct", "", "status"): Field(d.CT_STATUS, _named(names.CT_STATUS_BITS), _CT_PRESENT, names.CT_STATUS_BITS),
    **{
        ("payload", name, port): Field((of,), _PORT, {d.PROTOCOL: IntervalSet.single(names.PROTOCOLS[name])})
        for name in ("tcp", "udp", "udplite", "sctp", "dccp")
        for port, of in (("sport", d.SPORT), ("dport", d.DPORT))
    },
}


@cache
def field_of(selector: syntax.Selector) -> Field:
    """What a selector reads; one that no question can ask about gets a hidden dimension of its own."""
    known = _FIXED.get((selector.kind, selector.scope, selector.name))
    return known if known is not None else _hidden_field(selector)


def is_transport_port(selector: syntax.Selector) -> bool:
    """``th sport`` and ``th dport``: ports where there are ports, two raw bytes of the header elsewhere."""
    return selector.kind == "payload" and selector.scope == "th" and selector.name in {"sport", "dport"}


@cache
def transport_port(selector: syntax.Selector) -> tuple[Field, Field]:
    """The field of ``th dport`` for protocols with ports, and the one for all others."""
    of = d.SPORT if selector.name == "sport" else d.DPORT
    raw = d.hidden(f"first bytes of the transport header as {selector.name}", 16)
    return Field((of,), _PORT, {d.PROTOCOL: d.PORT_PROTOCOLS}), Field((raw,), _PORT, {d.PROTOCOL: _PORTLESS})


def _hidden_field(selector: syntax.Selector) -> Field:  # noqa: PLR0911 - one line for each kind
    text = selector.text
    if selector.kind == "payload" and selector.scope in _PAYLOAD_BITS:
        bits = _PAYLOAD_BITS[selector.scope].get(selector.name)
        requires: dict[Dimension, IntervalSet] = {}
        if selector.scope in {"ip", "ip6"}:
            requires[d.FAMILY] = d.IPV4 if selector.scope == "ip" else d.IPV6
        else:
            number = names.PROTOCOLS[selector.scope]
            requires[d.PROTOCOL] = IntervalSet.single(number)
            if selector.scope in {"icmp", "icmpv6"}:
                requires[d.FAMILY] = d.IPV4 if selector.scope == "icmp" else d.IPV6
        if bits is not None:
            reader = (
                _named(names.DSCP) if selector.name == "dscp" else _PROTOCOL if selector.name == "nexthdr" else _number
            )
            return Field((d.hidden(text, bits),), reader, requires)
        return Field((d.hidden(text, 129),), _symbol, {**requires, d.hidden(f"present: {text}"): d.ONE})
    if selector.kind == "fib":
        return Field((d.hidden(text, 129),), _truth)
    if selector.kind == "meta" and selector.name in _ALWAYS_THERE:
        return Field((d.hidden(text, 129),), _symbol)
    present = {d.hidden(f"present: {text}"): d.ONE}
    if selector.kind in _OPTION_REQUIRES:
        header = _OPTION_REQUIRES[selector.kind]
        if not selector.name:
            return Field((d.hidden(text, 129),), _truth, header)
        return Field((d.hidden(text, 129),), _symbol, {**header, **present})
    if selector.kind == "ct":
        return Field((d.hidden(text, 129),), _symbol, {**_CT_PRESENT, **present})
    return Field((d.hidden(text, 129),), _symbol, present)
