"""Matches and set look-ups as regions: unions of boxes, possibly negated, plus what they imply.

A condition that cannot be computed becomes a hidden yes-or-no dimension of its own: true or false, both are reckoned with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kakoi.reach import dimensions as d
from kakoi.reach import syntax
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.fields import Field, field_of, is_transport_port, transport_port
from kakoi.reach.intervals import EMPTY, IntervalSet
from kakoi.reach.names import CT_STATE_BITS, CT_STATES

_COMPARISONS: Mapping[str, Callable[[int, int], tuple[int, int]]] = {
    "<": lambda value, _: (0, value - 1),
    "<=": lambda value, _: (0, value),
    ">": lambda value, maximum: (value + 1, maximum),
    ">=": lambda value, maximum: (value, maximum),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """``requires`` and (any of ``boxes``, or none of them when ``negated``)."""

    boxes: tuple[Box, ...]
    negated: bool = False
    requires: Box = field(default_factory=dict)


class Unclear(Exception):  # noqa: N818 - a signal inside this package, not an error
    """The condition cannot be computed; ``requires`` still holds of it."""

    def __init__(self, requires: Box) -> None:
        super().__init__()
        self.requires = requires


def merge(first: Box, second: Box) -> Box | None:
    """The intersection of two boxes; ``None`` when it is empty."""
    if not second:
        return first
    merged = dict(first)
    for of, values in second.items():
        known = merged.get(of)
        if known is not None and known is not values:
            values = known.intersection(values)  # noqa: PLW2901
            if not values:
                return None
        merged[of] = values
    return merged


class ConditionReader:
    """Reads the conditions of one table, whose named sets it knows."""

    def __init__(self, sets: Mapping[str, syntax.SetDefinition], table: str) -> None:
        self._sets = sets
        self._table = table
        self._members: dict[tuple[str, tuple[Field, ...]], tuple[Box, ...]] = {}

    def match(self, match: syntax.Match) -> Condition:
        """The region of a match.

        Raises:
            Unclear: it cannot be computed.
        """
        left, right, operator = match.left, match.right, match.operator
        if isinstance(left, syntax.Binary) and left.operator == "&":
            return self._masked(left, operator, right)
        variants = self.fields(left)
        conditions = [self._compare(fields, operator, right) for fields in variants]
        if len(conditions) == 1:
            return conditions[0]
        return _union(conditions)

    def fields(self, key: syntax.Expression) -> list[tuple[Field, ...]]:
        """The fields a key is made of; more than one reading where a selector depends on the protocol.

        Raises:
            Unclear: a part of the key is no plain selector.
        """
        parts = key.parts if isinstance(key, syntax.Concatenation) else (key,)
        readings: list[tuple[Field, ...]] = [()]
        for part in parts:
            if not isinstance(part, syntax.Selector):
                raise Unclear(_requirements(readings[0]))
            options = transport_port(part) if is_transport_port(part) else (field_of(part),)
            readings = [(*reading, option) for reading in readings for option in options]
        return readings

    def _compare(self, fields: tuple[Field, ...], operator: str, right: syntax.Expression) -> Condition:
        requires = _requirements(fields)
        if isinstance(right, (syntax.SetLiteral, syntax.SetReference)):
            if operator not in {"==", "!=", "in"}:
                raise Unclear(requires)
            return Condition(self.members(fields, right), operator == "!=", requires)
        if len(fields) > 1:
            return Condition(self._element(fields, right, requires), operator == "!=", requires)
        single = fields[0]
        if (operator in {"in", "!"}) and single.flags:
            pattern = single.bit_pattern(right)
            if pattern is None:
                raise Unclear(requires)
            return Condition(single.masked(pattern, 0), operator == "in", requires)
        values = _values(single, right)
        if values is None or (operator in _COMPARISONS and (not values or _is_word(right, values))):
            raise Unclear(requires)
        if operator in _COMPARISONS:
            low, high = _COMPARISONS[operator](values.first if operator in {"<", ">="} else values.last, single.maximum)
            return Condition(single.boxes(IntervalSet.single(low, high) if low <= high else EMPTY), requires=requires)
        if operator not in {"==", "!=", "in"}:
            raise Unclear(requires)
        return Condition(single.boxes(values), operator == "!=", requires)

    def _masked(self, left: syntax.Binary, operator: str, right: syntax.Expression) -> Condition:
        if not isinstance(left.left, syntax.Selector) or is_transport_port(left.left):
            raise Unclear({})
        single = field_of(left.left)
        mask = single.bit_pattern(left.right)
        if mask is None or operator not in {"==", "!="}:
            raise Unclear(single.requires)
        boxes: list[Box] = []
        for wanted in right.elements if isinstance(right, syntax.SetLiteral) else (right,):
            value = single.bit_pattern(wanted)
            if value is None:
                raise Unclear(single.requires)
            boxes.extend(single.masked(mask, value))
        return Condition(tuple(boxes), operator == "!=", single.requires)

    def members(self, fields: tuple[Field, ...], of: syntax.Expression) -> tuple[Box, ...]:
        """The region of the members of a set.

        Raises:
            Unclear: traffic changes the set, or an element cannot be read.
        """
        requires = _requirements(fields)
        if not isinstance(of, syntax.SetReference):
            return self._members_of(fields, of, requires, "")
        definition = self._sets.get(of.name)
        if definition is None or definition.dynamic:
            raise Unclear(requires)
        key = (of.name, fields)
        if key not in self._members:
            self._members[key] = self._members_of(fields, definition.contents, requires, of.name)
        return self._members[key]

    def _members_of(
        self, fields: tuple[Field, ...], contents: syntax.Expression, requires: Box, name: str
    ) -> tuple[Box, ...]:
        if not isinstance(contents, syntax.SetLiteral):
            raise Unclear(requires)
        if len(fields) == 1 and len(fields[0].parts) == 1:
            values = [(element, _values(fields[0], element)) for element in contents.elements]
            if all(found is not None for _, found in values):
                certain = IntervalSet.of(
                    pair for element, found in values if not _expires(element) for pair in found or EMPTY
                )
                boxes = fields[0].boxes(certain)
                passing = IntervalSet.of(
                    pair for element, found in values if _expires(element) for pair in found or EMPTY
                )
                return boxes + tuple({**box, self._still_in(name): d.ONE} for box in fields[0].boxes(passing))
        return tuple(box for element in contents.elements for box in self._timed(fields, element, requires, name))

    def _timed(self, fields: tuple[Field, ...], element: syntax.Expression, requires: Box, name: str) -> Iterator[Box]:
        for box in self._element(fields, element, requires):
            yield {**box, self._still_in(name): d.ONE} if _expires(element) else box

    def _still_in(self, name: str) -> Dimension:
        return d.hidden(f"members of {self._table} @{name} with a timeout are still in it")

    def _element(self, fields: tuple[Field, ...], element: syntax.Expression, requires: Box) -> tuple[Box, ...]:
        if isinstance(element, syntax.Element):
            element = element.value
        if isinstance(element, syntax.Wildcard):
            return ({},)
        parts = element.parts if isinstance(element, syntax.Concatenation) else (element,)
        if len(parts) != len(fields):
            raise Unclear(requires)
        boxes: list[Box] = [{}]
        for one, part in zip(fields, parts, strict=True):
            values = _values(one, part)
            if values is None:
                raise Unclear(requires)
            boxes = [both for box in boxes for extra in one.boxes(values) if (both := merge(box, extra)) is not None]
        return tuple(boxes)

    def map_elements(
        self, key: syntax.Expression, data: syntax.Expression
    ) -> Iterator[tuple[tuple[Box, ...], syntax.Expression | syntax.Verdict]]:
        """The elements of a map: the region of each key with its data, the catch-all element last, unrestricted.

        Raises:
            Unclear: traffic changes the map, or a key cannot be read.
        """
        readings = self.fields(key)
        requires = _requirements(readings[0]) if len(readings) == 1 else {}
        name, contents = "", data
        if isinstance(data, syntax.SetReference):
            definition = self._sets.get(data.name)
            if definition is None or definition.dynamic:
                raise Unclear(requires)
            name, contents = data.name, definition.contents
        if not isinstance(contents, syntax.SetLiteral) or len(contents.data) != len(contents.elements):
            raise Unclear(requires)
        pairs = sorted(
            zip(contents.elements, contents.data, strict=True),
            key=lambda pair: isinstance(_bare(pair[0]), syntax.Wildcard),
        )
        for element, value in pairs:
            boxes = [
                both
                for fields in readings
                for box in self._timed(fields, element, requires, name)
                if (both := merge(_requirements(fields), box)) is not None
            ]
            yield tuple(boxes), value

    def has_catch_all(self, data: syntax.Expression) -> bool:
        """Whether a map has an element for every other key."""
        contents = data
        if isinstance(data, syntax.SetReference) and data.name in self._sets:
            contents = self._sets[data.name].contents
        elements = contents.elements if isinstance(contents, syntax.SetLiteral) else ()
        return any(isinstance(_bare(element), syntax.Wildcard) for element in elements)

    def verdicts(self, data: syntax.Expression) -> list[syntax.Verdict]:
        """Every verdict that a map is seen to hold now."""
        contents = data
        if isinstance(data, syntax.SetReference) and data.name in self._sets:
            contents = self._sets[data.name].contents
        if not isinstance(contents, syntax.SetLiteral):
            return []
        return [value for value in contents.data if isinstance(value, syntax.Verdict)]

    def values(self, of: Field, expression: syntax.Expression) -> IntervalSet | None:
        """The values that a right-hand side stands for."""
        return _values(of, expression)


def _bare(element: syntax.Expression) -> syntax.Expression:
    return element.value if isinstance(element, syntax.Element) else element


def _expires(element: syntax.Expression) -> bool:
    return isinstance(element, syntax.Element) and element.expires


def _requirements(fields: Iterable[Field]) -> Box:
    joined: Box = {}
    for one in fields:
        merged = merge(joined, one.requires)
        joined = {d.FAMILY: EMPTY} if merged is None else merged
    return joined


def _union(conditions: list[Condition]) -> Condition:
    """One condition out of the readings of a key that depends on the protocol; the readings split all packets."""
    boxes = tuple(
        both
        for condition in conditions
        for box in condition.boxes
        if (both := merge(condition.requires, box)) is not None
    )
    if not conditions[0].negated:
        return Condition(boxes)
    common = set.intersection(*(set(condition.requires) for condition in conditions))
    requires = {of: IntervalSet.of(pair for one in conditions for pair in one.requires[of]) for of in common}
    return Condition(boxes, negated=True, requires=requires)


def _values(of: Field, expression: syntax.Expression) -> IntervalSet | None:  # noqa: PLR0911 - one line for each kind
    match expression:
        case syntax.Constant(value):
            return of.constant(value)
        case syntax.Element(value, _):
            return _values(of, value)
        case syntax.Wildcard():
            return IntervalSet.single(0, of.maximum)
        case syntax.Prefix(address, length):
            base = _values(of, address)
            if base is None or base.size != 1 or length > of.bits:
                return None
            free = (1 << of.bits - length) - 1
            return IntervalSet.single(base.first & ~free, base.first | free)
        case syntax.Range(low, high):
            first, last = _values(of, low), _values(of, high)
            if not first or not last or first.first > last.last or _is_word(low, first):
                return None
            return IntervalSet.single(first.first, last.last)
        case syntax.FlagList() | syntax.Binary("|") if of.flags:
            return _exactly(of, of.bit_pattern(expression))
        case _:
            return None


def _exactly(of: Field, pattern: int | None) -> IntervalSet | None:
    """The values whose bits are exactly the pattern."""
    if pattern is None:
        return None
    if not of.one_hot:
        return IntervalSet.single(pattern)
    indexes = [index for index, state in enumerate(CT_STATES) if CT_STATE_BITS[state] == pattern]
    return IntervalSet.of((index, index) for index in indexes)


def _is_word(expression: syntax.Expression, values: IntervalSet) -> bool:
    """A range between words (hours, dates) has no order that the numbers of the words keep."""
    return isinstance(expression, syntax.Constant) and isinstance(expression.value, str) and values.first >> 128 == 1
