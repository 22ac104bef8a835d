"""Sets of integers as sorted, disjoint, non-adjacent closed intervals: the arithmetic under every region."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import final, override


@final
class IntervalSet:
    """Frozen set of non-negative integers, kept as parallel tuples of interval starts and ends (both inclusive)."""

    __slots__ = ("_hash", "ends", "starts")

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __init__(self, starts: tuple[int, ...], ends: tuple[int, ...]) -> None:
        """Take intervals that are already normal; ``of`` accepts any others."""
        self.starts = starts
        self.ends = ends
        self._hash = 0

    @classmethod
    def of(cls, intervals: Iterable[tuple[int, int]]) -> "IntervalSet":
        """Union of closed intervals in any order, overlapping or not."""
        starts: list[int] = []
        ends: list[int] = []
        for low, high in sorted(intervals):
            if ends and low <= ends[-1] + 1:
                ends[-1] = max(ends[-1], high)
            else:
                starts.append(low)
                ends.append(high)
        return cls(tuple(starts), tuple(ends))

    @classmethod
    def single(cls, low: int, high: int | None = None) -> "IntervalSet":
        """One value, or one closed interval."""
        return cls((low,), (low if high is None else high,))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.starts, self.ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self.starts)

    def __contains__(self, value: int) -> bool:
        position = bisect_right(self.starts, value) - 1
        return position >= 0 and value <= self.ends[position]

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self.starts == other.starts and self.ends == other.ends

    @override
    def __hash__(self) -> int:
        if not self._hash:
            self._hash = hash((self.starts, self.ends))
        return self._hash

    @override
    def __repr__(self) -> str:
        return f"IntervalSet({', '.join(f'{low}-{high}' if low != high else str(low) for low, high in self)})"

    @property
    def size(self) -> int:
        """How many integers are in the set."""
        return sum(high - low + 1 for low, high in self)

    @property
    def first(self) -> int:
        """The smallest member of a set that is not empty."""
        return self.starts[0]

    @property
    def last(self) -> int:
        """The largest member of a set that is not empty."""
        return self.ends[-1]

    def clip(self, low: int, high: int) -> "IntervalSet":
        """The part between two bounds, in the time of a binary search plus the size of the answer."""
        left = bisect_left(self.ends, low)
        right = bisect_right(self.starts, high)
        if left >= right:
            return EMPTY
        if left == 0 and right == len(self.starts) and low <= self.starts[0] and self.ends[-1] <= high:
            return self
        starts = self.starts[left:right]
        ends = self.ends[left:right]
        if starts[0] < low:
            starts = (low, *starts[1:])
        if ends[-1] > high:
            ends = (*ends[:-1], high)
        return IntervalSet(starts, ends)

    def intersection(self, other: "IntervalSet") -> "IntervalSet":
        """Members of both; one of the two itself where it lies inside of the other."""
        if len(self.starts) == 1 and len(other.starts) == 1:
            low, high = other.starts[0], other.ends[0]
            start, end = self.starts[0], self.ends[0]
            if low <= start and end <= high:
                return self
            if start <= low and high <= end:
                return other
            return IntervalSet((max(start, low),), (min(end, high),)) if start <= high and low <= end else EMPTY
        if len(other.starts) == 1:
            return self.clip(other.starts[0], other.ends[0])
        if len(self.starts) == 1:
            return other.clip(self.starts[0], self.ends[0])
        few, many = (self, other) if len(self.starts) < len(other.starts) else (other, self)
        starts: list[int] = []
        ends: list[int] = []
        for low, high in few:
            part = many.clip(low, high)
            starts.extend(part.starts)
            ends.extend(part.ends)
        return IntervalSet(tuple(starts), tuple(ends))

    def union(self, other: "IntervalSet") -> "IntervalSet":
        """Members of either."""
        return IntervalSet.of([*self, *other])

    def complement(self, maximum: int) -> "IntervalSet":
        """Everything from 0 to ``maximum`` that is not a member."""
        starts: list[int] = []
        ends: list[int] = []
        following = 0
        for low, high in self:
            if following < low:
                starts.append(following)
                ends.append(low - 1)
            following = high + 1
        if following <= maximum:
            starts.append(following)
            ends.append(maximum)
        return IntervalSet(tuple(starts), tuple(ends))

    def covers(self, other: "IntervalSet") -> bool:
        """Whether every member of ``other`` is a member."""
        for low, high in other:
            position = bisect_right(self.starts, low) - 1
            if position < 0 or high > self.ends[position]:
                return False
        return True


EMPTY = IntervalSet((), ())
"""The set without members."""


def masked(mask: int, value: int, bits: int, most: int = 4096) -> IntervalSet | None:
    """All ``x`` of ``bits`` bits with ``x & mask == value``, or ``None`` when it takes more than ``most`` intervals."""
    everything = (1 << bits) - 1
    if value & ~mask:
        return EMPTY
    free = everything & ~mask
    run = 0
    while free >> run & 1:
        run += 1
    scattered = [bit for bit in range(run, bits) if free >> bit & 1]
    if 1 << len(scattered) > most:
        return None
    width = (1 << run) - 1
    lows = [value]
    for bit in scattered:
        lows += [low | 1 << bit for low in lows]
    return IntervalSet.of((low, low + width) for low in lows)
