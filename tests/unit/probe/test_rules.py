"""Rules in force beside compiled ones: every difference is named, with the chain it stands in."""

from kakoi.probe.rules import differences, judge_rules

COMPILED = """table inet kakoi {
	chain office-localhost {
		tcp dport 22 accept
		counter drop
	}

	set office-localhost.host_host.ipv4 {
		type ipv4_addr
		elements = {
			10.0.0.1 comment "administration"
		}
	}
}
"""


def _result(in_force: str) -> dict[str, object]:
    return {"changed": in_force != COMPILED, "verified": True, "diff": {"before": in_force, "after": COMPILED}}


def test_equal_rules_hold() -> None:
    """A host whose table is the compiled one holds."""
    assert [verdict.verdict for verdict in judge_rules(["store"], {"store": _result(COMPILED)})] == ["held"]


def test_a_removed_drop_is_named_with_its_zone_pair() -> None:
    """A missing last drop shows although the base chain's policy still drops."""
    (verdict,) = judge_rules(["store"], {"store": _result(COMPILED.replace("\t\tcounter drop\n", ""))})
    assert (verdict.verdict, verdict.differences) == ("mismatch", ("chain office-localhost: missing: counter drop",))


def test_an_added_rule_and_element_are_named() -> None:
    """What somebody put in by hand is told where it stands."""
    changed = COMPILED.replace("\t\tcounter drop", "\t\ttcp dport 5432 accept\n\t\tcounter drop").replace(
        '\t\t\t10.0.0.1 comment "administration"', '\t\t\t10.0.0.1 comment "administration"\n\t\t\t10.0.0.9'
    )
    assert list(differences(changed, COMPILED)) == [
        "chain office-localhost: added: tcp dport 5432 accept",
        "set office-localhost.host_host.ipv4: added: 10.0.0.9",
    ]


def test_another_order_is_a_difference() -> None:
    """The same rules in another order decide otherwise."""
    swapped = COMPILED.replace("\t\ttcp dport 22 accept\n\t\tcounter drop", "\t\tcounter drop\n\t\ttcp dport 22 accept")
    assert list(differences(swapped, COMPILED)) == ["chain office-localhost: the same rules in another order"]


def test_a_chain_that_is_gone_is_named_once() -> None:
    """A whole chain that is missing is one difference."""
    without = COMPILED.replace(COMPILED[COMPILED.index("\tchain") : COMPILED.index("\n\n") + 2], "")
    assert list(differences(without, COMPILED)) == ["chain office-localhost: missing"]


def test_a_host_without_a_table_does_not_hold() -> None:
    """Neither a table that is not loaded nor nftables that is not installed passes."""
    empty: dict[str, object] = {"changed": True, "verified": True, "diff": {"before": "", "after": COMPILED}}
    bare = {"changed": True, "verified": False, "msg": "nftables is not installed yet"}
    verdicts = judge_rules(["empty", "bare"], {"empty": empty, "bare": bare})
    assert [verdict.verdict for verdict in verdicts] == ["mismatch", "mismatch"]


def test_a_host_that_gave_no_answer_is_unknown() -> None:
    """Not compared is never equal."""
    verdicts = judge_rules(["silent", "failed"], {"failed": {"failed": True, "msg": "no nft"}})
    assert [verdict.verdict for verdict in verdicts] == ["unknown", "unknown"]
