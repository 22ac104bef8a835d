"""Interval sets behave like sets of integers."""

from hypothesis import given
from hypothesis import strategies as st

from kakoi.reach.intervals import IntervalSet, masked

_BOUND = 40
_INTERVALS = st.lists(
    st.tuples(st.integers(0, _BOUND), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=6
)


def _members(values: IntervalSet) -> set[int]:
    return {number for low, high in values for number in range(low, high + 1)}


def _plain(intervals: list[tuple[int, int]]) -> set[int]:
    return {number for low, high in intervals for number in range(low, high + 1)}


@given(_INTERVALS, _INTERVALS)
def test_operations_agree_with_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    """Union, intersection, complement and covering are those of the sets of members."""
    one, other = IntervalSet.of(first), IntervalSet.of(second)
    a, b = _plain(first), _plain(second)
    assert _members(one.union(other)) == a | b
    assert _members(one.intersection(other)) == a & b
    assert _members(one.complement(60)) == set(range(61)) - a
    assert one.covers(other) == (a >= b)
    assert one.size == len(a)


@given(_INTERVALS, st.integers(0, 60))
def test_membership_is_exact(intervals: list[tuple[int, int]], number: int) -> None:
    """A number is a member exactly when an interval holds it."""
    assert (number in IntervalSet.of(intervals)) == (number in _plain(intervals))


@given(_INTERVALS)
def test_equal_sets_are_equal_objects_by_value(intervals: list[tuple[int, int]]) -> None:
    """Any order of any overlapping intervals gives the same normal form."""
    assert IntervalSet.of(intervals) == IntervalSet.of(list(reversed(intervals)))
    assert hash(IntervalSet.of(intervals)) == hash(IntervalSet.of(sorted(intervals)))


@given(st.integers(0, 255), st.integers(0, 255))
def test_masked_values_are_exactly_those_that_match(mask: int, value: int) -> None:
    """``x & mask == value`` as intervals holds just the numbers for which it is true."""
    found = masked(mask, value, 8)
    assert found is not None
    assert _members(found) == {number for number in range(256) if number & mask == value}


def test_a_scattered_mask_is_refused() -> None:
    """A mask that takes more intervals than allowed gives none rather than some."""
    assert masked(0x81, 0x01, 32) is None
