"""Boxes as people and programs read them: ``saddr``, ``dport``, ``mark``... in nft's notation."""

from collections.abc import Sequence

from kakoi.reach import dimensions as d
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.names import CT_STATUS_BITS

_KEYS = {
    d.FAMILY: "family",
    d.IIF: "iif",
    d.OIF: "oif",
    d.SADDR4: "saddr",
    d.SADDR6: "saddr",
    d.DADDR4: "daddr",
    d.DADDR6: "daddr",
    d.PROTOCOL: "proto",
    d.SPORT: "sport",
    d.DPORT: "dport",
    d.ICMP_TYPE: "type",
    d.ICMPV6_TYPE: "type",
    d.ICMP_CODE: "code",
    d.ICMPV6_CODE: "code",
    d.TCP_FLAG_BITS: "flags",
    d.CT_STATE: "ct",
    d.CT_DIRECTION: "direction",
}
_ORDER = tuple(dict.fromkeys([*_KEYS.values(), "mark", "ct mark", "ct status"]))


def describe(box: Box) -> dict[str, list[str] | str]:
    """Each restricted field with its values: ``family`` as one word, ranges as ``low-high``, all others as lists."""
    fields: dict[str, list[str]] = {}
    for of, values in box.items():
        if of in _KEYS and values != d.everything(of):
            fields.setdefault(_KEYS[of], []).extend(d.write_set(of, values))
    for key, bits in (("mark", d.MARK), ("ct mark", d.CT_MARK)):
        if any(bit in box for bit in bits):
            fields[key] = [_masked(box, bits)]
    status = [_status(bit, box[of]) for bit, of in enumerate(d.CT_STATUS) if of in box]
    if status:
        fields["ct status"] = status
    ordered: dict[str, list[str] | str] = {key: fields[key] for key in _ORDER if key in fields}
    if len(fields.get("family", ())) == 1:
        ordered["family"] = fields["family"][0]
    return ordered


def describe_translation(translation: Sequence[tuple[Dimension, IntervalSet]]) -> dict[str, list[str]]:
    """The header fields that translation sets, with the values they may have."""
    return {_KEYS[of]: d.write_set(of, values) for of, values in translation}


def sentence(box: Box) -> str:
    """A box as words: ``family=ip saddr=10.0.0.0-10.0.0.255 dport=22``."""
    words = []
    for key, values in describe(box).items():
        shown = [values] if isinstance(values, str) else [_short(value) for value in values]
        words.append(f"{key}={','.join(shown)}")
    return " ".join(words) or "any packet / すべて"


def _short(value: str) -> str:
    low, dash, high = value.partition("-")
    return low if dash and low == high else value


def _masked(box: Box, bits: Sequence[Dimension]) -> str:
    mask = sum(1 << index for index, bit in enumerate(bits) if bit in box)
    value = sum(1 << index for index, bit in enumerate(bits) if box.get(bit) == d.ONE)
    return f"{value:#x}" if mask == (1 << len(bits)) - 1 else f"{value:#x}/{mask:#x}"


def _status(bit: int, values: IntervalSet) -> str:
    name = next((name for name, number in CT_STATUS_BITS.items() if number == 1 << bit), f"bit {bit}")
    return name if values == d.ONE else f"!{name}"
