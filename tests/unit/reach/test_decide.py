"""One packet put to a ruleset: verdict, bounds and the rule that decides."""

import pytest

from kakoi.reach.syntax import Rule
from nft_listing import PACKET, ask, chain, compiled, forward, named_map, named_set, packet, table, value


def test_the_first_matching_rule_decides() -> None:
    """Of two rules that match, the first one gives the verdict."""
    decision = ask(forward(["tcp dport 22", "drop"], ["ip saddr 192.0.2.0/24", "accept"]))
    assert decision.verdict == "drop"
    assert isinstance(decision.origin, Rule)
    assert decision.origin.text == "tcp dport 22 drop"


def test_policy_decides_where_no_rule_does() -> None:
    """A packet that no rule matches gets the policy of the base chain, named as the reason."""
    decision = ask(forward(["tcp dport 23", "accept"], policy="drop"))
    assert (decision.may, decision.must, decision.verdict) == (False, False, "drop")
    assert decision.origin is not None
    assert decision.origin.text == "policy drop"


@pytest.mark.parametrize(
    ("condition", "spec", "matches"),
    [
        ("ip saddr 192.0.2.0/24", PACKET, True),
        ("ip saddr != 192.0.2.0/24", PACKET, False),
        ("ip saddr 192.0.2.2-192.0.2.9", PACKET, False),
        ("ip daddr { 198.51.100.7, 203.0.113.0/24 }", PACKET, True),
        ("ip saddr != 192.0.2.1", packet(saddr="2001:db8::1", daddr="2001:db8::2"), False),
        ("ip6 saddr 2001:db8::/32", packet(saddr="2001:db8::1", daddr="2001:db8::2"), True),
        ("tcp dport 1-100", PACKET, True),
        ("tcp dport >= 23", PACKET, False),
        ("udp dport 22", PACKET, False),
        ("udp dport != 22", PACKET, False),
        ("th dport 22", packet(proto="udp"), True),
        ("ct state established,related", PACKET, False),
        ("ct state established,related", packet(ct="related"), True),
        ("ct state != new", PACKET, False),
        ("ct state ! new", packet(ct="invalid"), True),
        ("meta iifname eth*", PACKET, True),
        ("meta oifname != eth1", PACKET, False),
        ("meta l4proto { tcp, udp }", PACKET, True),
        ("meta nfproto ipv6", PACKET, False),
        ("meta mark 5", packet(mark="5"), True),
        ("meta mark != 5", packet(mark="7"), True),
        ("icmp type echo-request", packet(proto="icmp", sport="", dport="", type="8", code="0"), True),
        ("ct direction reply", packet(ct="established", direction="reply"), True),
        ("ct mark 0", PACKET, True),
        ("ct mark 0", packet(ct="invalid"), False),
    ],
)
def test_each_kind_of_match(condition: str, spec: str, matches: bool) -> None:  # noqa: FBT001 - a table
    """Every selector and operator matches exactly what the kernel's would."""
    decision = ask(forward([condition, "accept"]), spec)
    assert decision.verdict == ("accept" if matches else "drop")


def test_accept_ends_only_its_own_chain() -> None:
    """A later chain of the same hook can still drop what an earlier one accepted."""
    early = table(chain("a", ["accept"], hook="forward", priority=-10), name="early")
    late = table(chain("b", ["tcp dport 22", "drop"], hook="forward", priority=10), name="late")
    assert ask(compiled(late, early)).verdict == "drop"


def test_drop_ends_everything() -> None:
    """No later chain gets a packet back that an earlier one dropped."""
    early = table(chain("a", ["drop"], hook="forward", priority=-10), name="early")
    late = table(chain("b", ["accept"], hook="forward", priority=10), name="late")
    assert ask(compiled(early, late)).verdict == "drop"


def test_a_table_of_one_family_leaves_the_other_alone() -> None:
    """A drop policy in a table of family ip does not stop IPv6: the classic hole."""
    ruleset = forward(policy="drop", family="ip")
    assert ask(ruleset).verdict == "drop"
    assert ask(ruleset, packet(saddr="2001:db8::1", daddr="2001:db8::2")).verdict == "accept"


def test_return_goes_back_to_the_caller_and_goto_does_not_come_back() -> None:
    """After jump the caller goes on; after goto its policy decides."""
    called = chain("c", ["tcp dport 22", "return"], ["drop"])
    assert ask(forward(["jump c"], ["accept"], also=[called])).verdict == "accept"
    assert ask(forward(["goto c"], ["accept"], also=[called], policy="drop")).verdict == "drop"


def test_a_jump_in_a_verdict_map_comes_back_past_the_catch_all() -> None:
    """When a chain called by an element returns, the next rule follows, not the element ``*``."""
    elements = {"set": [["198.51.100.7", {"jump": {"target": "c"}}], ["*", {"drop": None}]]}
    lookup = {"vmap": {"key": {"payload": {"protocol": "ip", "field": "daddr"}}, "data": elements}}
    ruleset = forward([lookup], ["accept"], also=[chain("c", ["return"])])
    assert ask(ruleset).verdict == "accept"
    assert ask(ruleset, packet(daddr="198.51.100.8")).verdict == "drop"


def test_a_named_verdict_map_decides_by_key() -> None:
    """A verdict map lets its key's verdict decide and passes over packets without one."""
    lookup = {"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": "@m"}}
    ruleset = forward([lookup], also=[named_map("m", **{"22": "accept", "23": "drop"})])
    assert [ask(ruleset, packet(dport=port)).verdict for port in ("22", "23", "24")] == ["accept", "drop", "drop"]


def test_concatenations_match_all_parts_together() -> None:
    """A concatenated set holds pairs: half of one pair and half of another do not match."""
    pairs = named_set("s", "192.0.2.1 . 22", "192.0.2.2 . 80-90")
    lookup = {"match": {"op": "==", "left": {"concat": [{"payload": {"protocol": "ip", "field": "saddr"}}, {"payload": {"protocol": "tcp", "field": "dport"}}]}, "right": "@s"}}  # fmt: skip
    ruleset = forward([lookup, "accept"], also=[pairs])
    assert ask(ruleset).verdict == "accept"
    assert ask(ruleset, packet(dport="80")).verdict == "drop"
    assert ask(ruleset, packet(saddr="192.0.2.2", dport="85")).verdict == "accept"


def test_a_mark_set_by_a_rule_is_read_by_later_ones() -> None:
    """Marks are followed through the chains, with and, or and xor."""
    set_mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 2]}}}
    ruleset = forward(["tcp dport 22", set_mark], ["meta mark 2", "accept"])
    assert ask(ruleset).verdict == "accept"
    assert ask(ruleset, packet(dport="23")).verdict == "drop"


def test_destination_nat_is_seen_by_the_forward_chain() -> None:
    """The forward chain sees the translated address; a ruleset that opens the store only by NAT does open it."""
    to = {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": 5432}}
    nat = chain("n", ["tcp dport 22", to], hook="prerouting", priority=-100, kind="nat")
    ruleset = forward(["ip daddr 10.0.0.5", "tcp dport 5432", "accept"], also=[nat])
    assert ask(ruleset).verdict == "accept"
    assert ask(ruleset, packet(ct="invalid")).verdict == "drop"


def test_notrack_makes_a_packet_untracked() -> None:
    """After notrack in raw priority, later chains read ct state untracked."""
    raw = chain("r", ["tcp dport 22", "notrack"], hook="prerouting", priority=-300)
    ruleset = forward(["ct state untracked", "accept"], also=[raw])
    assert ask(ruleset).verdict == "accept"
    assert ask(ruleset, packet(dport="23")).verdict == "drop"


def test_before_connection_tracking_every_packet_is_invalid() -> None:
    """A chain before priority -200 cannot see the state yet."""
    raw = chain("r", ["ct state new", "drop"], hook="prerouting", priority=-300)
    assert ask(forward(["accept"], also=[raw])).verdict == "accept"


def test_a_limit_may_and_need_not_match() -> None:
    """A rate limit makes the verdict unknown and is named."""
    limit = {"limit": {"rate": 1, "burst": 5, "per": "second"}}
    decision = ask(ruleset := forward([limit, "accept"]))
    assert (decision.may, decision.must, decision.verdict) == (True, False, "unknown")
    assert [construct.text for construct in ruleset.unknown] == ["limit rate 1/second"]


def test_what_is_unknown_does_not_hide_what_is_known() -> None:
    """A condition and its negation cover everything, though nobody knows which of them holds."""
    uid = {"meta": {"key": "length"}}
    accept = [{"match": {"op": operator, "left": uid, "right": 60}} for operator in ("==", "!=")]
    assert ask(forward([accept[0], "accept"], [accept[1], "accept"])).must


def test_an_absent_header_matches_neither_way() -> None:
    """A comparison with an option that may be absent can fail both ways: the packet may get past both rules."""
    option = {"tcp option": {"name": "maxseg", "field": "size"}}
    drop = [{"match": {"op": operator, "left": option, "right": 500}} for operator in ("==", "!=")]
    assert ask(forward([drop[0], "drop"], [drop[1], "drop"], policy="accept")).may


def test_unknown_statement_widens_may_and_narrows_must() -> None:
    """A statement nobody has heard of may do anything, and is listed with its place."""
    ruleset = forward([{"teleport": {"to": "moon"}}], policy="drop")
    decision = ask(ruleset)
    assert (decision.may, decision.must) == (True, False)
    assert [(one.table, one.chain) for one in ruleset.unknown] == [("t", "f")]


def test_members_that_traffic_changes_are_unknown() -> None:
    """A set that a rule updates may hold any address."""
    update = {"set": {"op": "add", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@s"}}
    ruleset = forward(["tcp dport 1", update], ["ip saddr @s", "drop"], ["accept"], also=[named_set("s")])
    assert ask(ruleset).verdict == "unknown"


def test_members_with_a_timeout_may_have_expired() -> None:
    """Of a set with timeouts, listed members may be gone; all others are surely not in it."""
    expiring = {"elem": {"val": value("192.0.2.1"), "timeout": 60, "expires": 5}}
    ruleset = forward(["ip saddr @s", "drop"], ["accept"], also=[named_set("s", expiring, flags=["timeout"])])
    assert ask(ruleset).verdict == "unknown"
    assert ask(ruleset, packet(saddr="192.0.2.2")).verdict == "accept"


def test_a_dormant_table_does_nothing_and_an_unclear_one_may() -> None:
    """A dormant table filters nothing; nft 1.0.6 prints garbage as its flags, which is unknown, never awake."""
    rules = chain("f", ["drop"], hook="forward")
    assert ask(compiled(table(rules, flags=["dormant"]))).verdict == "accept"
    assert ask(compiled(table(rules, flags="ip"))).verdict == "unknown"


def test_iptables_extensions_are_unknown() -> None:
    """The argument of an xt match is hidden: the rule may match or not; an xt DNAT may lead anywhere."""
    assert ask(forward([{"xt": {"type": "match", "name": "conntrack"}}, "accept"])).verdict == "unknown"
    nat = chain("n", [{"xt": {"type": "target", "name": "DNAT"}}], hook="prerouting", kind="nat")
    assert ask(forward(["ip daddr 10.0.0.5", "accept"], also=[nat])).verdict == "unknown"


def test_a_packet_left_open_is_decided_for_all_its_values() -> None:
    """A field that the packet does not name may have any value."""
    ruleset = forward(["tcp dport 22", "accept"])
    assert ask(ruleset, packet(dport="")).verdict == "unknown"
    assert ask(ruleset, "proto=udp").verdict == "drop"


def test_chances_come_out_anew_at_every_visit() -> None:
    """A limit in a chain that is called twice may hold at the first visit and fail at the second."""
    limit = {"limit": {"rate": 1, "burst": 1, "per": "second"}}
    called = chain("c", [limit, "return"], ["meta mark 1", "accept"])
    set_mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}
    assert ask(forward(["jump c"], [set_mark], ["jump c"], also=[called])).may


def test_the_hook_asked_for_gives_the_reason() -> None:
    """A packet accepted by a forward rule names that rule, though chains before and after let it through too."""
    others = [chain(hook, hook=hook, policy="accept", kind="filter") for hook in ("prerouting", "postrouting")]
    others = [
        [*other, {"rule": {"chain": other[0]["chain"]["name"], "handle": 0, "expr": [{"accept": None}]}}]
        for other in others
    ]
    decision = ask(forward(["tcp dport 22", "accept"], also=others))
    assert decision.origin is not None
    assert decision.origin.text == "tcp dport 22 accept"
