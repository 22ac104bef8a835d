"""prove, explain and diff on the command line."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from kakoi.cli.diff import command as diff
from kakoi.cli.explain import command as explain
from kakoi.cli.prove import command as prove

from .conftest import ROOT

POLICY = ROOT / "policy"
BACKDOOR = """
  backdoor:
    from: employee_terminal
    to: allowance_store
    services: [ssh]
    purpose: 試験
    approver: 試験
    approved: 2026-10-01
    review_by: 2027-09-30
"""


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """The policy with one flow too many."""
    shutil.copytree(POLICY, tmp_path / "policy")
    with (tmp_path / "policy" / "flows.yml").open("a", encoding="utf-8") as flows:
        flows.write(BACKDOOR)
    return tmp_path / "policy"


def test_prove_shows_the_packet_of_a_broken_guarantee(opened: Path) -> None:
    """A backdoor ends in exit status 1, and the witness names the flow, the packet and each file's line."""
    result = CliRunner().invoke(prove, ["--policy", str(opened), "--json"])
    found = {one["id"]: one for one in json.loads(result.output)["guarantees"]}
    broken = found["stores_only_via_access_proxy"]
    step = broken["witness"]["steps"][-1]
    assert result.exit_code == 1
    assert broken["holds"] is False
    assert step["packet"]["dport"] == 22
    assert {passed["rule"]["flow"] for passed in step["path"]} == {"backdoor"}
    assert all(passed["rule"]["line"] for passed in step["path"])
    assert found["enclave_has_no_internet_path"]["holds"] is True


def test_prove_without_guarantees_is_an_error(tmp_path: Path) -> None:
    """Nothing to prove is never a pass."""
    shutil.copytree(POLICY, tmp_path / "policy")
    (tmp_path / "policy" / "guarantees.yml").write_text("guarantees: {}\n", encoding="utf-8")
    result = CliRunner().invoke(prove, ["--policy", str(tmp_path / "policy")])
    assert result.exception is not None
    assert result.exit_code != 0


def test_prove_refuses_an_observation_of_a_stranger(tmp_path: Path) -> None:
    """A folder of other machines is the user's mistake, never silently left out."""
    empty = {"host": "stranger", "observations": []}
    (tmp_path / "stranger.json").write_text(json.dumps(empty), encoding="utf-8")
    result = CliRunner().invoke(prove, ["--policy", str(POLICY), "--observed", str(tmp_path)])
    assert "stranger" in str(result.exception)


def test_prove_takes_what_was_observed_and_says_what_was_only_compiled(tmp_path: Path) -> None:
    """One store read back without any rules: it counts as open, and the others as compiled."""
    outputs = {
        "addresses": '[{"ifname":"enclave_data","flags":[],"addr_info":[{"local":"10.40.3.10","prefixlen":24,"scope":"global"}]}]',
        "routes_ipv4": '[{"dst":"default","gateway":"10.40.3.1","dev":"enclave_data","flags":[]}]',
        "routes_ipv6": "[]",
        "policy_rules_ipv4": "[]",
        "policy_rules_ipv6": "",
        "forwarding": "net.ipv4.conf.all.forwarding = 0\nnet.ipv6.conf.all.forwarding = 0\n",
        "ruleset": '{"nftables": []}',
    }
    observations = [
        {"name": name, "command": ["x"], "started": "", "finished": "", "exit_status": 0, "stdout": text, "stderr": "",
         "stdout_sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in outputs.items()
    ]  # fmt: skip
    file = tmp_path / "allowance_store.json"
    file.write_text(json.dumps({"host": "allowance_store", "observations": observations}), encoding="utf-8")
    result = CliRunner().invoke(prove, ["--policy", str(POLICY), "--observed", str(tmp_path), "--json"])
    report = json.loads(result.output)
    found = {one["id"]: one["holds"] for one in report["guarantees"]}
    assert result.exit_code == 1
    assert found["stores_open_to_exactly_the_flows"] is False
    assert found["enclave_stores_unreachable_from_internet_facing_hosts"] is True
    assert (report["hosts"]["allowance_store"], report["hosts"]["year_end_store"]) == ("observed", "compiled")
    assert any(note.startswith("compiled, not observed") for note in report["notes"])


def test_explain_names_every_wall_and_the_first_one(opened: Path) -> None:
    """A blocked connection is stopped by the sender first; the gateways and the receiver would stop it, too."""
    result = CliRunner().invoke(explain, ["public_web", "allowance_store", "tcp/22", "--policy", str(opened), "--json"])
    families = json.loads(result.output)["families"]
    assert result.exit_code == 0
    assert [one["answer"] for one in families] == ["blocked", "blocked"]
    walls = [wall["host"] for wall in families[0]["blocked_by"]]
    assert (walls[0], walls[-1]) == ("public_web", "allowance_store")
    assert {"edge_gateway", "core_gateway", "enclave_gateway"} < set(walls)


def test_explain_leads_back_to_the_sentence(opened: Path) -> None:
    """An open connection names its flow with file and line."""
    result = CliRunner().invoke(
        explain, ["employee_terminal", "allowance_store", "tcp/22", "--policy", str(opened), "--json"]
    )
    report = json.loads(result.output)
    line = next(
        number
        for number, text in enumerate((opened / "flows.yml").read_text(encoding="utf-8").splitlines(), start=1)
        if text.strip() == "backdoor:"
    )
    assert [one["answer"] for one in report["families"]] == ["open", "open"]
    assert report["flows"]["backdoor"]["place"].endswith(f"flows.yml:{line}")


def test_diff_of_a_policy_with_itself_is_nothing() -> None:
    """Equal policies differ in nothing."""
    result = CliRunner().invoke(diff, [str(POLICY), str(POLICY), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output) == {"gained": [], "lost": [], "gained_touches_guarded": False}


def test_diff_fails_when_a_gained_connection_reaches_a_guarded_asset(opened: Path) -> None:
    """Opening a store is exit status 1; closing it again is 0."""
    there = CliRunner().invoke(diff, [str(POLICY), str(opened), "--json"])
    back = CliRunner().invoke(diff, [str(opened), str(POLICY), "--json"])
    (gained,) = json.loads(there.output)["gained"]
    assert (there.exit_code, back.exit_code) == (1, 0)
    assert (gained["from"], gained["to"], gained["what"]) == ("employee_terminal", "allowance_store", "tcp/22")
    assert gained["flows"] == ["backdoor"]
    assert "my_number_stores" in gained["guarded_by"]
    assert json.loads(back.output)["lost"] == [gained]
