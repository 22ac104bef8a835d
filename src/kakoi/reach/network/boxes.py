"""Arithmetic on unions of boxes: what is left of one after others are taken away, and one packet out of a box."""

from collections.abc import Iterable, Mapping, Sequence

from kakoi.reach import dimensions as d
from kakoi.reach.conditions import merge
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet

_TCP, _SYN = 6, 2
_LIKELY_PROTOCOLS = (6, 17, 1, 58)
_LIKELY_PORTS = (22, 443, 80, 5432, 53)
_ECHO = {d.ICMP_TYPE: 8, d.ICMPV6_TYPE: 128}
_ICMP = {1: (d.ICMP_TYPE, d.ICMP_CODE), 58: (d.ICMPV6_TYPE, d.ICMPV6_CODE)}


def subtract(box: Box, taken: Box) -> list[Box]:
    """What is left of a box without another, as disjoint boxes."""
    if merge(box, taken) is None:
        return [box]
    rest: list[Box] = []
    inner = dict(box)
    for of, values in taken.items():
        known = inner.get(of, d.everything(of))
        outside = known.intersection(values.complement(of.maximum))
        if outside:
            rest.append({**inner, of: outside})
        inner[of] = known.intersection(values)
    return rest


def remainder(boxes: Iterable[Box], taken: Sequence[Box]) -> list[Box]:
    """What is left of a union of boxes without another union."""
    left = list(boxes)
    for one in taken:
        left = [piece for box in left for piece in subtract(box, one)]
    return left


def one_packet(box: Box, preferred: Mapping[Dimension, IntervalSet] | None = None) -> dict[Dimension, int]:
    """One packet out of a box: an ordinary one where the box leaves a choice.

    Args:
        box: the packets; its family is known.
        preferred: values to take where the box allows them, such as the sender's own addresses.
    """
    preferred = preferred or {}
    family = box[d.FAMILY].first
    packet = {d.FAMILY: family}
    version = 6 if family else 4
    for of in d.ADDRESSES[version]:
        packet[of] = _chosen(box.get(of, d.everything(of)), preferred.get(of), ())
    protocols = box.get(d.PROTOCOL, d.everything(d.PROTOCOL))
    likely = [one for one in _LIKELY_PROTOCOLS if one != (1 if family else 58)]
    packet[d.PROTOCOL] = protocol = _chosen(protocols, preferred.get(d.PROTOCOL), likely)
    if protocol in d.PORT_PROTOCOLS:
        packet[d.SPORT] = _chosen(box.get(d.SPORT, d.everything(d.SPORT)), preferred.get(d.SPORT), (40000,))
        packet[d.DPORT] = _chosen(box.get(d.DPORT, d.everything(d.DPORT)), preferred.get(d.DPORT), _LIKELY_PORTS)
    if protocol == _TCP and d.TCP_FLAG_BITS in box:
        packet[d.TCP_FLAG_BITS] = _chosen(box[d.TCP_FLAG_BITS], preferred.get(d.TCP_FLAG_BITS), (_SYN,))
    for of in _ICMP.get(protocol, ()):
        packet[of] = _chosen(box.get(of, d.everything(of)), preferred.get(of), (_ECHO.get(of, 0),))
    return packet


def _chosen(values: IntervalSet, preferred: IntervalSet | None, likely: Sequence[int]) -> int:
    if preferred is not None:
        both = values.intersection(preferred)
        if both:
            return both.first
    return next((value for value in likely if value in values), values.first or min(1, values.last))


def point(packet: Mapping[Dimension, int]) -> dict[Dimension, IntervalSet]:
    """The box that holds one packet."""
    return {of: IntervalSet.single(value) for of, value in packet.items()}
