"""The accepted space as boxes, and what two rulesets decide differently."""

from ipaddress import ip_network

import pytest

from kakoi.errors import InputError
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.describe import describe
from kakoi.reach.diagram import BudgetExceededError
from kakoi.reach.difference import difference
from kakoi.reach.space import AcceptedBox, accepted_space
from nft_listing import chain, compiled, forward, named_set, table

_LIMIT = {"limit": {"rate": 1, "burst": 5, "per": "second"}}


def _boxes(ruleset: CompiledRuleset, source: str = "", destination: str = "") -> list[AcceptedBox]:
    networks = [ip_network(text) if text else None for text in (source, destination)]
    return list(accepted_space(ruleset, "forward", *networks))


def test_boxes_say_exactly_what_a_rule_lets_through() -> None:
    """One accepting rule gives one certain box with its ranges."""
    (box,) = _boxes(forward(["ip saddr 10.0.0.0/24", "tcp dport 5432", "accept"]))
    assert box.certain
    assert describe(box.box) == {
        "family": "ip",
        "saddr": ["10.0.0.0-10.0.0.255"],
        "proto": ["tcp"],
        "dport": ["5432-5432"],
        "ct": ["new"],
    }


def test_an_unsure_box_is_not_certain() -> None:
    """What only a limit lets through may get through, and is marked so."""
    (box,) = _boxes(forward(["tcp dport 22", _LIMIT, "accept"]))
    assert not box.certain


def test_nothing_gets_through_a_closed_chain() -> None:
    """A chain that drops everything new has no accepted box at all."""
    assert _boxes(forward(["ct state established,related", "accept"])) == []


def test_a_destination_reached_only_by_nat_is_reached() -> None:
    """Asking for a store finds the packets that destination NAT leads there, whatever address they were sent to."""
    to = {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": 5432}}
    nat = chain("n", ["ip daddr 192.0.2.9", "tcp dport 443", to], hook="prerouting", priority=-100, kind="nat")
    ruleset = forward(["ip daddr 10.0.0.5", "tcp dport 5432", "accept"], also=[nat])
    boxes = [describe(box.box) for box in _boxes(ruleset, destination="10.0.0.5/32")]
    assert sorted((box["daddr"], box["dport"]) for box in boxes) == [
        (["10.0.0.5-10.0.0.5"], ["5432-5432"]),
        (["192.0.2.9-192.0.2.9"], ["443-443"]),
    ]


def test_ipv6_is_part_of_the_space() -> None:
    """A table that filters IPv4 alone leaves a box of IPv6."""
    assert [describe(box.box)["family"] for box in _boxes(forward(policy="drop", family="ip"))] == ["ip6"]


def test_two_families_in_one_question_are_refused() -> None:
    """A packet from IPv4 to IPv6 does not exist: asking for it is a mistake, not an empty answer."""
    with pytest.raises(InputError, match="two address families"):
        _boxes(forward(), "10.0.0.0/8", "2001:db8::/32")


def test_too_many_pieces_are_unknown_and_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that is not enough ends in an error that says so, not in a part of the answer."""
    monkeypatch.setenv("KAKOI_REACH_PIECES", "10")
    rules = [[f"ip saddr 10.0.{number}.0/24", f"tcp dport {number}", "accept"] for number in range(1, 30)]
    with pytest.raises(BudgetExceededError, match="unknown"):
        _boxes(forward(*rules))


def test_the_same_said_differently_is_equal() -> None:
    """Linear rules, a set and a concatenation that say the same are equal; the order of disjoint rules does not matter."""
    linear = forward(["ip saddr 10.0.0.1", "tcp dport 22", "accept"], ["ip saddr 10.0.0.2", "tcp dport 22", "accept"])
    by_set = forward(["tcp dport 22", "ip saddr @s", "accept"], also=[named_set("s", "10.0.0.1-10.0.0.2")])
    assert list(difference(linear, by_set)) == []


@pytest.mark.parametrize("hook", ["input", "forward", "output"])
def test_a_difference_in_any_hook_is_found(hook: str) -> None:
    """A rule that is wider in one hook only is a difference in that hook, with a packet that shows it."""
    narrow, wide = (
        compiled(table(chain("c", rule, hook=hook, policy="drop"))) for rule in (["tcp dport 22", "accept"], ["accept"])
    )
    changes = list(difference(narrow, wide))
    assert {(change.hook, change.kind, change.certain) for change in changes} == {(hook, "opened", True)}
    assert all((change.before.verdict, change.after.verdict) == ("drop", "accept") for change in changes)


def test_a_difference_in_one_family_is_found() -> None:
    """Losing the IPv6 half of a filter opens IPv6 and nothing else."""
    changes = list(difference(forward(policy="drop"), forward(policy="drop", family="ip")))
    assert {describe(change.box)["family"] for change in changes} == {"ip6"}


def test_a_closed_connection_is_told() -> None:
    """Removing an accepting rule closes what it let through."""
    changes = list(difference(forward(["tcp dport 22", "accept"]), forward()))
    assert {change.kind for change in changes} == {"closed"}


def test_losing_replies_is_a_difference() -> None:
    """Established connections count too."""
    changes = list(difference(forward(["ct state established", "accept"]), forward()))
    assert [describe(change.box)["ct"] for change in changes] == [["established"]]


def test_the_same_limit_in_the_same_rule_is_equal_and_another_is_not_certain() -> None:
    """Nobody knows when a limit matches: two different ones may differ, the same one does not."""
    other = {"limit": {"rate": 9, "burst": 5, "per": "second"}}
    assert list(difference(forward([_LIMIT, "accept"]), forward([_LIMIT, "accept"]))) == []
    changes = list(difference(forward([_LIMIT, "accept"]), forward([other, "accept"])))
    assert changes
    assert not any(change.certain for change in changes)


def test_another_target_of_nat_is_a_difference() -> None:
    """Letting the same packet through to another host is not the same."""

    def nat(address: str) -> CompiledRuleset:
        to = {"dnat": {"family": "ip", "addr": address}}
        return forward(["accept"], also=[chain("n", ["tcp dport 443", to], hook="prerouting", kind="nat")])

    assert {change.kind for change in difference(nat("10.0.0.5"), nat("10.0.0.6"))} == {"retargeted"}


def test_iptables_extensions_are_never_called_equal() -> None:
    """Two listings with the same hidden arguments may still differ: said so, not passed."""
    rule = [{"xt": {"type": "match", "name": "set"}}, "accept"]
    changes = list(difference(forward(rule), forward(rule)))
    assert changes
    assert not any(change.certain for change in changes)
