"""The strict YAML of a policy: what it reads, what it refuses, and where everything stands."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kakoi.policy import source
from kakoi.policy.source import locate, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("True", "True"),
        ("no", "no"),
        ("on", "on"),
        ("443", 443),
        ("-1", -1),
        ("0777", "0777"),
        ("0x1f", "0x1f"),
        ("1e3", "1e3"),
        ("1.5", "1.5"),
        ("1_000", "1_000"),
        ("12:34:56", "12:34:56"),
        ("9" * 5000, "9" * 5000),
        ("2026-10-01", date(2026, 10, 1)),
        ("2026-13-01", "2026-13-01"),
        ('"443"', "443"),
        ("'true'", "true"),
        ('"2026-10-01"', "2026-10-01"),
        ("庁内ネットワーク", "庁内ネットワーク"),
        ("|\n  一行目\n  二行目\n", "一行目\n二行目\n"),
    ],
)
def test_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    """Only true, false, whole numbers and days are anything but text."""
    parsed, clean = read(f"a: {text}")
    assert clean
    assert parsed == {"a": value}
    assert type(parsed["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("a:\n  b: c\n", ("a", "b"), (2, 3), (2, 6)),
        ("{a: {b: c}}", ("a", "b"), (1, 6), (1, 9)),
        ("a: [x,\n  y]\n", ("a", 1), None, (2, 3)),
        ("a:\n- x\n- y\n", ("a", 1), None, (3, 3)),
        ('"鍵": 値\n', ("鍵",), (1, 1), (1, 6)),
        ("名前: 値\n次: 値\n", ("次",), (2, 1), (2, 4)),
        ("a: >\n  text\n  more\nb: 1\n", ("b",), (4, 1), (4, 4)),
        ("a:\r\n  b: 1\r\n", ("a", "b"), (2, 3), (2, 6)),
    ],
)
def test_positions(text: str, path: tuple[str | int, ...], key: tuple[int, int] | None, value: tuple[int, int]) -> None:
    """Lines and columns count from 1, in characters, in block and flow style and behind Japanese text."""
    located = locate(text)
    assert located.keys.get(path) == key
    assert located.values[path] == value


def test_bomb_is_refused_at_its_first_anchor() -> None:
    """The billion-laughs text is not expanded, only refused."""
    bomb = 'a: &a ["lol", "lol"]\n' + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    located = locate(bomb)
    assert read(bomb) == (None, False)
    assert located.faults[0].place == (1, 4)
    assert "anchor &a" in located.faults[0].message.en


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text with more values than any policy has is given up, not built."""
    monkeypatch.setattr(source, "MAX_VALUES", 10)
    located = locate("a: [" + "1, " * 50 + "1]")
    assert not located.complete
    assert "more than 10 values" in located.faults[0].message.en


def test_deep_nesting_is_no_deep_recursion() -> None:
    """A hundred thousand brackets end in one fault."""
    located = locate("a: " + "[" * 100_000)
    assert "nested more than" in located.faults[0].message.en


_VALUES = st.recursive(
    st.integers(-999, 999) | st.booleans() | st.text("abc あ:#-[]{}\"'\\,&*", min_size=1, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcあ", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


def _flow_style(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return f"[{', '.join(map(_flow_style, value))}]"
        case dict():
            return f"{{{', '.join(f'{_flow_style(key)}: {_flow_style(entry)}' for key, entry in value.items())}}}"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


@given(_VALUES)
def test_reads_back_what_was_written(value: object) -> None:
    """Any plain tree survives being written and read."""
    assert read(_flow_style({"top": value})) == ({"top": value}, True)


@given(st.text("ab:- \n\t[]{}&*!|>'\"%@#?,1あ\u2028", max_size=60))
def test_both_readings_agree(text: str) -> None:
    """Whatever the text, it is clean without places exactly when it has no fault with places, and means the same."""
    value, clean = read(text)
    located = locate(text)
    assert clean == (not located.faults)
    if clean:
        assert located.value == value
