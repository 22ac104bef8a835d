"""The coordinates of a packet: what a region restricts, what a rule tests, what an answer prints.

A dimension is an unsigned integer of so many bits. Addresses are their own numbers; interface names are their 16 bytes,
so that a wildcard ``eth*`` is one interval; marks are one dimension for each bit, so that masks stay exact.
Dimensions that a question can ask about come first; those only a machine's inside knows (limits, clocks, sockets,
routing look-ups) come after and are answered with *may* and *must*.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import override

from kakoi.reach.intervals import IntervalSet
from kakoi.reach.names import CT_STATES, PROTOCOL_NAMES, TCP_FLAGS

HIDDEN_RANK = 100
"""Dimensions of this rank and above cannot be asked about."""
_NAME_BYTES = 16


@dataclass(frozen=True, eq=False, slots=True)
class Dimension:
    """One coordinate; the same name is always the same object."""

    name: str
    rank: int
    bits: int
    maximum: int
    notation: str
    """How values are written: number, ipv4, ipv6, name, family, protocol, state, direction, flags, bit, hidden or chance."""

    @property
    def order(self) -> tuple[int, str]:
        """Where the dimension stands in a diagram."""
        return (self.rank, self.name)

    @property
    def hidden(self) -> bool:
        """Whether no packet's header tells the value."""
        return self.rank >= HIDDEN_RANK

    @override
    def __repr__(self) -> str:
        return f"<{self.name}>"


type Box = Mapping[Dimension, IntervalSet]
"""A product of interval sets; a dimension that is absent is not restricted."""

_REGISTRY: dict[str, Dimension] = {}


def _known(name: str, rank: int, bits: int, notation: str = "number", maximum: int | None = None) -> Dimension:
    dimension = Dimension(name, rank, bits, (1 << bits) - 1 if maximum is None else maximum, notation)
    _REGISTRY[name] = dimension
    return dimension


FAMILY = _known("family", 0, 1, "family")
CT_STATE = _known("ct state", 1, 3, "state", len(CT_STATES) - 1)
CT_DIRECTION = _known("ct direction", 2, 1, "direction")
IIF = _known("iif", 3, 8 * _NAME_BYTES, "name")
OIF = _known("oif", 4, 8 * _NAME_BYTES, "name")
PROTOCOL = _known("proto", 5, 8, "protocol")
DPORT = _known("dport", 6, 16)
DADDR4 = _known("ip daddr", 7, 32, "ipv4")
DADDR6 = _known("ip6 daddr", 8, 128, "ipv6")
SADDR4 = _known("ip saddr", 9, 32, "ipv4")
SADDR6 = _known("ip6 saddr", 10, 128, "ipv6")
SPORT = _known("sport", 11, 16)
ICMP_TYPE = _known("icmp type", 12, 8)
ICMP_CODE = _known("icmp code", 13, 8)
ICMPV6_TYPE = _known("icmpv6 type", 14, 8)
ICMPV6_CODE = _known("icmpv6 code", 15, 8)
TCP_FLAG_BITS = _known("tcp flags", 16, 8, "flags")
MARK = tuple(_known(f"meta mark {bit:02}", 17, 1, "bit") for bit in range(32))
CT_MARK = tuple(_known(f"ct mark {bit:02}", 18, 1, "bit") for bit in range(32))
CT_STATUS = tuple(_known(f"ct status {bit:02}", HIDDEN_RANK - 1, 1, "bit") for bit in range(16))

ADDRESSES = {4: (SADDR4, DADDR4), 6: (SADDR6, DADDR6)}
HEADER = (SADDR4, DADDR4, SADDR6, DADDR6, SPORT, DPORT)
"""What address translation rewrites."""
PORT_PROTOCOLS = IntervalSet.of((number, number) for number in (6, 17, 33, 132, 136))
"""TCP, UDP, DCCP, SCTP, UDP-Lite: ports are the first two words of their header."""
ONE = IntervalSet.single(1)
ZERO = IntervalSet.single(0)
IPV4 = ZERO
IPV6 = ONE


def dimension(name: str) -> Dimension | None:
    """A dimension by its name, if there is one so far."""
    return _REGISTRY.get(name)


def hidden(name: str, bits: int = 1) -> Dimension:
    """The dimension of something that no question can ask about: the same name, the same dimension."""
    found = _REGISTRY.get(name)
    return found if found is not None else _known(name, HIDDEN_RANK, bits, "hidden")


def chance(name: str, bits: int = 1) -> Dimension:
    """A hidden dimension of something that may come out differently each time a packet meets it: a limit, a random number."""
    found = _REGISTRY.get(name)
    return found if found is not None else _known(name, HIDDEN_RANK, bits, "chance")


def masked_bits(base: Dimension, mask: int, value: int) -> Dimension:
    """Whether ``base & mask == value``: derived from the base where that is one value, hidden elsewhere."""
    found = hidden(f"{base.name} & {mask:#x} == {value:#x}")
    DERIVED[found] = (base, mask, value)
    return found


DERIVED: dict[Dimension, tuple[Dimension, int, int]] = {}
"""The base, mask and value of every dimension that follows from another one."""


@cache
def everything(of: Dimension) -> IntervalSet:
    """All values of a dimension."""
    return IntervalSet.single(0, of.maximum)


def name_number(name: str) -> int:
    """An interface name as the number of its zero-padded bytes."""
    return int.from_bytes(name.encode()[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"))


def name_interval(pattern: str) -> IntervalSet:
    """The interface names that a name or a pattern ``prefix*`` stands for."""
    if not pattern.endswith("*"):
        return IntervalSet.single(name_number(pattern))
    prefix = pattern[:-1].encode()[:_NAME_BYTES]
    return IntervalSet.single(
        int.from_bytes(prefix.ljust(_NAME_BYTES, b"\0")), int.from_bytes(prefix.ljust(_NAME_BYTES, b"\xff"))
    )


def number_name(number: int) -> str:
    """The interface name of a number; bytes that no name has are shown as escapes."""
    return number.to_bytes(_NAME_BYTES).rstrip(b"\0").decode(errors="backslashreplace")


def write_value(of: Dimension, value: int) -> str:  # noqa: PLR0911 - one line for each notation
    """One value in the notation of its dimension."""
    match of.notation:
        case "ipv4":
            return str(IPv4Address(value))
        case "ipv6":
            return str(IPv6Address(value))
        case "name":
            return number_name(value)
        case "family":
            return ("ip", "ip6")[value]
        case "protocol":
            return PROTOCOL_NAMES.get(value, str(value))
        case "state":
            return CT_STATES[value]
        case "direction":
            return ("original", "reply")[value]
        case "flags":
            return "|".join(name for name, bit in TCP_FLAGS.items() if value & bit) or "none"
        case _:
            return str(value)


def write_set(of: Dimension, values: IntervalSet) -> list[str]:
    """A set in the notation of its dimension: ``10.0.0.0-10.0.0.255``, ``5432-5432``, ``tcp``, ``eth0``, ``eth*``, ``!eth0``."""
    match of.notation:
        case "protocol":
            return [_protocols(low, high) for low, high in values]
        case "name":
            return _names(values)
        case "family" | "state" | "direction" | "bit" | "flags":
            return [write_value(of, value) for low, high in values for value in range(low, high + 1)]
        case _:
            return [f"{write_value(of, low)}-{write_value(of, high)}" for low, high in values]


def _protocols(low: int, high: int) -> str:
    return PROTOCOL_NAMES.get(low, str(low)) if low == high else f"{low}-{high}"


def _names(values: IntervalSet) -> list[str]:
    """Names; of all names but some, those with ``!``. The number 0 is no interface and is not shown."""
    if IIF.maximum not in values:
        return [_pattern(low, high) for low, high in values]
    return [f"!{_pattern(max(low, 1), high)}" for low, high in values.complement(IIF.maximum) if high] or ["*"]


def _pattern(low: int, high: int) -> str:
    if low == high:
        return number_name(low)
    start = low.to_bytes(_NAME_BYTES).rstrip(b"\0")
    if name_interval(start.decode(errors="replace") + "*") == IntervalSet.single(low, high):
        return start.decode(errors="replace") + "*"
    return f"{number_name(low)}..{number_name(high)}"
