"""Rules that somebody changed by hand turn the verification red, and it names where."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import connect
from kakoi.errors import ExitStatus
from kakoi.policy import Policy
from kakoi.probe.judge import Judgement
from kakoi.probe.run import verify

ROOT = Path(__file__).resolve().parents[2]
NFT = "/usr/sbin/nft"
LOST_DROPS = {"employee_terminal": "dmz-localhost", "core_gateway": "office-mynumber_use"}
OPENED = {"allowance_store": "input", "enclave_gateway": "forward"}


@pytest.fixture(scope="module")
def broken(policy: Policy) -> Iterator[Judgement]:
    """A drop removed on a host and on a gateway, a port opened on another of each; mended afterwards."""
    try:
        for host, chain in LOST_DROPS.items():
            listed = connect(host).check_output(f"{NFT} -a list chain inet kakoi {chain}")
            (drop,) = (line for line in listed.splitlines() if "counter packets" in line and " drop " in line)
            connect(host).check_output(f"{NFT} delete rule inet kakoi {chain} handle {drop.split()[-1]}")
        for host, chain in OPENED.items():
            connect(host).check_output(f"{NFT} insert rule inet kakoi {chain} tcp dport 5432 accept")
        yield verify(ROOT, policy, ROOT / "inventories" / "lab", "quick").judgement
    finally:
        for host in (*LOST_DROPS, *OPENED):
            connect(host).check_output(f"{NFT} -f /etc/kakoi/kakoi.nft")


def test_the_verification_fails(broken: Judgement) -> None:
    """Exit status 1: something does not hold."""
    assert broken.exit_status is ExitStatus.FAILED


def test_exactly_the_changed_hosts_are_named(broken: Judgement) -> None:
    """The comparison of rules names the four hosts, and no other."""
    named = {entry.host for entry in broken.rules if entry.verdict == "mismatch"}
    assert named == {*LOST_DROPS, *OPENED}


def test_a_removed_drop_is_named_with_its_pair_of_zones(broken: Judgement) -> None:
    """The chain that lost its drop is named, although the policy below it still drops."""
    differences = {entry.host: entry.differences for entry in broken.rules}
    for host, chain in LOST_DROPS.items():
        assert differences[host] == (f"chain {chain}: missing: counter drop",)


def test_an_opened_port_is_named_with_its_pair_and_its_host(broken: Judgement) -> None:
    """Each of the two walls that fell is named alone, with connections that it now lets through."""
    let_through = {
        (entry.test.host, entry.test.question.cell.destination, entry.test.question.cell.port)
        for entry in broken.points
        if entry.verdict == "mismatch"
    }
    assert {host for host, _, _ in let_through} == set(OPENED)
    assert ("allowance_store", "allowance_store", 5432) in let_through
    assert ("enclave_gateway", "allowance_store", 5432) in let_through
