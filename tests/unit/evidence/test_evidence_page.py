"""The page says what was found, and never more."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kakoi.evidence.folder import RunFacts
from kakoi.evidence.page import japanese_time, page, squares
from kakoi.policy import Policy
from kakoi.probe.judge import Judgement

HELD, FAILED, UNKNOWN = "尋ねたすべてが守られている", "守られていないものがある", "確かめられなかったものがある"


@pytest.mark.parametrize(
    ("run", "banner"), [("held", HELD), ("leaking", FAILED), ("silent", UNKNOWN)], ids=["held", "leaking", "silent"]
)
def test_the_banner_follows_the_verdict(
    policy: Policy, facts: RunFacts, run: str, banner: str, request: pytest.FixtureRequest
) -> None:
    """Held, failed and unknown each have their own banner, and only one of them is shown."""
    text = page(policy, facts, request.getfixturevalue(run), {})
    assert [said for said in (HELD, FAILED, UNKNOWN) if said in text] == [banner]


def test_a_mismatch_is_named_with_its_pair(policy: Policy, facts: RunFacts, leaking: Judgement) -> None:
    """The pair that leaked stands on the page with what was expected and what was seen."""
    cell = next(entry.question.cell for entry in leaking.cells if entry.verdict == "mismatch")
    text = page(policy, facts, leaking, {})
    assert f"{cell.source} -&gt; {cell.destination}" in text
    assert "expected blocked, seen open" in text


def test_a_host_that_was_not_read_back_is_marked(policy: Policy, facts: RunFacts, held: Judgement) -> None:
    """A managed host without observations is 未確認 on the page, and then not everything was found out."""
    text = page(policy, replace(facts, hosts_observed=facts.hosts_expected[1:]), held, {})
    assert (UNKNOWN in text, HELD in text) == (True, False)
    assert f"hosts not read back: {facts.hosts_expected[0]}" in text


def test_the_page_needs_no_other_file_to_be_shown(policy: Policy, facts: RunFacts, held: Judgement) -> None:
    """No script, no style sheet, no picture from elsewhere: it opens from a USB stick."""
    text = page(policy, facts, held, {})
    assert not any(mark in text for mark in ("<script", "<link", "src=", "@import", "url("))


def test_a_quick_run_does_not_claim_every_port(policy: Policy, facts: RunFacts, held: Judgement) -> None:
    """A run over known ports says so, and only a full one speaks of all 65,535."""
    full = replace(held, plan=replace(held.plan, scope="full"))
    assert ["1–65535" in page(policy, facts, run, {}) for run in (held, full)] == [False, True]


def test_every_connection_is_counted_in_the_matrix(policy: Policy, held: Judgement) -> None:
    """No cell is missing from the squares, and none is counted twice."""
    assert sum(square.tally.held for square in squares(policy, held).values()) == len(held.cells)


def test_times_are_japanese() -> None:
    """23 November 2026, 01:02 UTC is the morning of 令和8年 in Japan."""
    assert japanese_time(datetime(2026, 11, 23, 1, 2, tzinfo=UTC)) == "令和8年11月23日 10時02分"
