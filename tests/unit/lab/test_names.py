"""Names: what belongs to a lab is known by its name alone, and never mistaken for another lab's."""

import pytest

from kakoi.errors import InputError
from kakoi.lab.names import Lab


@pytest.mark.parametrize("name", ["", "Kakoi", "a-b", "1lab", "x" * 13, "a/b", "a b", "a_b", "kakoi\n"])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    """A hyphen, a slash, a capital or a thirteenth letter cannot be part of a lab's name."""
    with pytest.raises(InputError, match="cannot name a lab"):
        Lab(name)


def test_a_lab_owns_what_bears_its_name() -> None:
    """Namespaces and containers of a lab's hosts are its own."""
    assert Lab("kakoi").owns("kakoi-allowance_store")


@pytest.mark.parametrize(
    "name", ["kakoi", "kakoib-store", "other-kakoi-store", "kakoi-b-store", "kakoi-", "kakoi-Store"]
)
def test_a_lab_owns_nothing_else(name: str) -> None:
    """A name that merely begins like the lab's, or holds it, is left alone."""
    assert not Lab("kakoi").owns(name)


def test_two_labs_share_no_name() -> None:
    """Whatever two labs call their parts, the names differ."""
    first, second = Lab("kakoi"), Lab("b")
    assert {first.state, first.lock, first.fabric, first.namespace("h"), first.label}.isdisjoint(
        {second.state, second.lock, second.fabric, second.namespace("h"), second.label}
    )
