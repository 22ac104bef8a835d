"""The page says what was found, and never more."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kakoi.evidence.folder import Findings, RunFacts
from kakoi.evidence.page import japanese_time, page, squares
from kakoi.policy import Policy
from kakoi.probe.judge import Judgement
from kakoi.reach.network.proof import Proof

HELD, FAILED, UNKNOWN = "尋ねたすべてが守られている", "守られていないものがある", "確かめられなかったものがある"


@pytest.mark.parametrize(
    ("asked", "proved", "banner"),
    [
        ("held", "proof", HELD),
        ("leaking", "proof", FAILED),
        ("held", "broken", FAILED),
        ("silent", "proof", UNKNOWN),
        ("silent", "broken", FAILED),
    ],
)
def test_the_banner_follows_the_worst_finding(
    policy: Policy, facts: RunFacts, asked: str, proved: str, banner: str, request: pytest.FixtureRequest
) -> None:
    """Held, failed and unknown each have their own banner, and only one of them is shown."""
    found = Findings(request.getfixturevalue(asked), request.getfixturevalue(proved), {})
    text = page(policy, facts, found)
    assert [said for said in (HELD, FAILED, UNKNOWN) if said in text] == [banner]


def test_a_mismatch_is_named_with_its_pair(policy: Policy, facts: RunFacts, leaking: Judgement, proof: Proof) -> None:
    """The pair that leaked stands on the page with what was expected and what was seen."""
    cell = next(entry.question.cell for entry in leaking.cells if entry.verdict == "mismatch")
    text = page(policy, facts, Findings(leaking, proof, {}))
    assert f"{cell.source} -&gt; {cell.destination}" in text
    assert "expected blocked, seen open" in text


def test_a_host_that_was_not_read_back_is_marked(
    policy: Policy, facts: RunFacts, held: Judgement, proof: Proof
) -> None:
    """A managed host without observations is 未確認 on the page, and then not everything was found out."""
    text = page(policy, replace(facts, hosts_observed=facts.hosts_expected[1:]), Findings(held, proof, {}))
    assert (UNKNOWN in text, HELD in text) == (True, False)
    assert f"hosts not read back: {facts.hosts_expected[0]}" in text


def test_every_guarantee_stands_on_the_page(policy: Policy, facts: RunFacts, held: Judgement, proof: Proof) -> None:
    """Each guarantee of the policy is there with its reason."""
    text = page(policy, facts, Findings(held, proof, {}))
    assert [verdict.id for verdict in proof.verdicts if verdict.id not in text] == []


def test_the_page_needs_no_other_file_to_be_shown(
    policy: Policy, facts: RunFacts, held: Judgement, proof: Proof
) -> None:
    """No script, no style sheet, no picture from elsewhere: it opens from a USB stick."""
    text = page(policy, facts, Findings(held, proof, {}))
    assert not any(mark in text for mark in ("<script", "<link", "src=", "@import", "url("))


def test_a_quick_run_does_not_claim_every_port(policy: Policy, facts: RunFacts, held: Judgement, proof: Proof) -> None:
    """A run over known ports says so, and only a full one speaks of all 65,535."""
    full = replace(held, plan=replace(held.plan, scope="full"))
    assert ["1–65535" in page(policy, facts, Findings(run, proof, {})) for run in (held, full)] == [False, True]


def test_every_connection_is_counted_in_the_matrix(policy: Policy, held: Judgement) -> None:
    """No cell is missing from the squares, and none is counted twice."""
    assert sum(square.tally.held for square in squares(policy, held).values()) == len(held.cells)


def test_times_are_japanese() -> None:
    """23 November 2026, 01:02 UTC is the morning of 令和8年 in Japan."""
    assert japanese_time(datetime(2026, 11, 23, 1, 2, tzinfo=UTC)) == "令和8年11月23日 10時02分"
