"""Equal values give equal bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kakoi.canonical import canonical_json

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _values, min_size=2))
def test_the_order_of_keys_does_not_show(value: dict[str, object]) -> None:
    """Two dictionaries with the same entries in another order give the same text."""
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_japanese_stays_readable() -> None:
    """Text is written as UTF-8, not as escapes."""
    assert canonical_json({"名": "囲い"}) == '{"名":"囲い"}\n'


def test_a_number_that_is_not_finite_is_refused() -> None:
    """NaN has no JSON form, so it is an error instead of an invalid file."""
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))
