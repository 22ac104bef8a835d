"""The network itself: what may talk talks, what must not cannot, and every claim stands beside its control."""

from pathlib import Path

import pytest

from kakoi.compile.truth import truth_table
from kakoi.policy import Policy
from kakoi.policy.sets import internet_facing, my_number_stores
from kakoi.probe.judge import Judgement
from kakoi.probe.report import describe, findings
from kakoi.probe.run import verify

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def judgement(policy: Policy) -> Judgement:
    """One full run of the probe over the lab."""
    return verify(ROOT, policy, ROOT / "inventories" / "lab").judgement


def test_nothing_contradicts_the_policy(policy: Policy, judgement: Judgement) -> None:
    """No connection, enforcement point, attack or name answers otherwise than the policy says."""
    assert [describe(policy, finding).english for finding in findings(judgement, "mismatch")] == []


def test_nothing_stayed_unknown(policy: Policy, judgement: Judgement) -> None:
    """Every cell could be asked and every control answered: nothing is held by silence."""
    assert [describe(policy, finding).english for finding in findings(judgement, "unknown")] == []
    assert judgement.silent_hosts == {}


def test_every_cell_of_the_truth_table_is_accounted_for(policy: Policy, judgement: Judgement) -> None:
    """Each cell of the policy's truth table has its verdict, by address, in both families."""
    assert [verdict.question.cell for verdict in judgement.cells] == list(truth_table(policy))
    assert judgement.plan.no_vantage == frozenset()


def test_every_source_and_target_was_controlled(judgement: Judgement) -> None:
    """Blocked is claimed only beside connections that are open: in each family, each end that may be met was met."""
    may = [verdict.question.cell for verdict in judgement.cells if verdict.question.cell.expected == "open"]
    was = [verdict.question.cell for verdict in judgement.cells if verdict.seen == "open"]
    assert {(cell.source, cell.family) for cell in may} <= {(cell.source, cell.family) for cell in was}
    assert {(cell.destination, cell.family) for cell in may} <= {(cell.destination, cell.family) for cell in was}


def test_no_internet_facing_host_reaches_a_my_number_store(policy: Policy, judgement: Judgement) -> None:
    """Every port, TCP and UDP, IPv4 and IPv6, from every internet-facing host: nothing arrives, no frame was lost."""
    attacks = [verdict for verdict in judgement.attacks if verdict.assault.kind == "attack"]
    pairs = {(verdict.assault.attacker, verdict.assault.store, verdict.assault.family) for verdict in attacks}
    facing = set(internet_facing(policy)) - set(my_number_stores(policy))
    assert {(a, s, f) for a in facing for s in my_number_stores(policy) for f in ("ipv4", "ipv6")} <= pairs
    assert [verdict.reached for verdict in attacks if verdict.reached] == []
    assert {verdict.frames for verdict in attacks} == {2 * 65_535}
    assert {verdict.verdict for verdict in attacks} == {"held"}


def test_every_store_saw_the_frames_that_it_must_see(policy: Policy, judgement: Judgement) -> None:
    """The stores' eyes were open: frames of an allowed client, or of a neighbour, were all seen."""
    clients = [verdict for verdict in judgement.attacks if verdict.assault.kind == "client"]
    assert {verdict.assault.store for verdict in clients} == set(my_number_stores(policy))
    assert {verdict.verdict for verdict in clients} == {"held"}


def test_names_lead_where_the_policy_says(judgement: Judgement) -> None:
    """Every name of every host leads, on every managed host, to exactly the addresses that were probed."""
    assert judgement.names
    assert {verdict.verdict for verdict in judgement.names} == {"held"}
