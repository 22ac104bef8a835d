"""The whole reference policy in bare namespaces, as compiled: everything holds, and each planted hole is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_namespaces import PolicyNet

from kakoi.compile.nftables import ruleset
from kakoi.errors import ExitStatus
from kakoi.policy import load_policy

pytestmark = pytest.mark.lab

POLICY = Path(__file__).parents[2] / "policy"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyNet]:
    """Every host of the policy with its compiled rules."""
    with PolicyNet(load_policy(POLICY), tmp_path_factory.mktemp("names")) as built:
        yield built


def test_the_compiled_policy_holds_in_every_view(net: PolicyNet) -> None:
    """Each cell, each enforcement point by itself, each attack and each name, with nothing unknown."""
    judgement = net.probe("quick")
    for view in ("cells", "points", "attacks", "names"):
        count = judgement.count(view)
        assert (count.mismatch, count.unknown) == (0, 0), view
        assert count.held > 0
    assert judgement.exit_status == ExitStatus.HELD


def test_three_hidden_holes_are_named_at_once(net: PolicyNet) -> None:
    """One missing rule each on a gateway and two hosts shows nowhere end to end, yet each machine is named."""
    holes = {
        "core_gateway": "forward ip saddr 10.10.0.10 ip daddr 10.40.2.10 tcp dport 636 accept",
        "groupware": "input ip saddr 10.10.0.11 udp dport 123 accept",
        "log_server": "output ip6 daddr fd6b:616b:6f69:43::10 tcp dport 5432 accept",
    }
    for host, rule in holes.items():
        net.nft(host, f"insert rule inet kakoi {rule}\n")
    judgement = net.probe("quick")
    for host in holes:
        net.nft(host, ruleset(net.policy, host))
    wrong = {
        (
            finding.test.host,
            finding.test.role,
            finding.test.question.cell.source,
            finding.test.question.cell.destination,
        )
        for finding in judgement.points
        if finding.verdict == "mismatch"
    }
    assert wrong == {
        ("core_gateway", "forward", "employee_terminal", "allowance_app"),
        ("groupware", "input", "handler_terminal", "groupware"),
        ("log_server", "output", "log_server", "allowance_store"),
    }
    assert judgement.count("cells").mismatch == 0
    assert judgement.exit_status == ExitStatus.FAILED


def test_a_closed_door_that_should_be_open_is_a_mismatch(net: PolicyNet) -> None:
    """An allowed connection that a host no longer accepts is found, for its pair and family only."""
    net.nft("allowance_store", "insert rule inet kakoi input ip saddr 10.40.2.10 tcp dport 5432 drop\n")
    judgement = net.probe("quick")
    net.nft("allowance_store", ruleset(net.policy, "allowance_store"))
    wrong = [finding for finding in judgement.cells if finding.verdict == "mismatch"]
    assert [
        (finding.question.cell.source, finding.question.cell.destination, finding.question.cell.family, finding.seen)
        for finding in wrong
    ] == [("allowance_app", "allowance_store", "ipv4", "blocked")]
    assert wrong[0].question.cell.flow == "application_to_allowance_store"


def test_a_host_that_takes_no_part_is_unknown(net: PolicyNet) -> None:
    """Without one host's agent its cells are unknown for want of a vantage point, and the others still hold."""
    judgement = net.probe("quick", [host for host in net.policy.hosts if host != "resident_registry"])
    cells = [finding for finding in judgement.cells if finding.verdict != "held"]
    assert cells
    assert all(
        "resident_registry" in {finding.question.cell.source, finding.question.cell.destination} for finding in cells
    )
    assert judgement.exit_status == ExitStatus.HELD
