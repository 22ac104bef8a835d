"""`kakoi compile` and `kakoi matrix` as people and machines call them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kakoi.cli import cli

_REFERENCE = str(Path(__file__).parents[3] / "policy")


def _run(*arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(cli, arguments, env={"COLUMNS": str(columns)}, standalone_mode=False)


def test_compile_writes_the_files_and_says_so_in_both_languages(tmp_path: Path) -> None:
    """A summary line in English and in Japanese, exit status 0."""
    done = _run("compile", "--policy", _REFERENCE, "--out", str(tmp_path / "out"))
    assert done.return_value == 0
    assert "22 hosts (17 managed)" in done.output
    assert "許可通信" in done.output
    assert (tmp_path / "out" / "allowance_store" / "kakoi.nft").is_file()


def test_compile_tells_machines_in_json(tmp_path: Path) -> None:
    """Counts and the policy's digest."""
    done = json.loads(_run("compile", "--policy", _REFERENCE, "--out", str(tmp_path / "out"), "--json").output)
    assert done["managed_hosts"] == 17
    assert done["policy_sha256"] == json.loads((tmp_path / "out" / "manifest.json").read_text())["policy_sha256"]


def test_the_matrix_names_services_where_there_is_room() -> None:
    """At 120 columns the cells hold names."""
    lines = _run("matrix", "--policy", _REFERENCE, columns=120).output.splitlines()
    assert any("postgresql" in line for line in lines if line.startswith("│enclave_app"))


def test_the_matrix_becomes_a_list_where_it_does_not_fit() -> None:
    """Eleven zones do not fit into eighty columns: each pair of zones is a line, and none is cut off."""
    output = _run("matrix", "--policy", _REFERENCE, columns=80).output
    assert not any(line[:1] in "┏┃┡│├└" for line in output.splitlines() if line)
    assert "postgresql" in output
    assert "…" not in output


@pytest.mark.parametrize("columns", [100, 120])
def test_the_matrix_keeps_within_the_terminal(columns: int) -> None:
    """No line of the table is wider than the terminal, and nothing is cut off."""
    output = _run("matrix", "--policy", _REFERENCE, columns=columns).output
    table = [line for line in output.splitlines() if line[:1] in "┏┃┡│├└"]
    assert table
    assert max(map(len, table)) <= columns
    assert "…" not in output


def test_the_matrix_marks_the_untrusted_zone() -> None:
    """The sign beside internet is explained."""
    output = _run("matrix", "--policy", _REFERENCE).output
    assert "│internet ※" in output
    assert "※ 信頼できないゾーン / untrusted" in output


def test_a_terminal_too_narrow_for_any_table_gets_a_list() -> None:
    """At 50 columns every pair is a line."""
    assert "internet → dmz: http https smtp" in _run("matrix", "--policy", _REFERENCE, columns=50).output


def test_the_host_matrix_is_shown_when_asked_for() -> None:
    """One line for each host, with the number of services to each other one."""
    output = _run("matrix", "--policy", _REFERENCE, "--hosts", columns=80).output
    (row,) = (line for line in output.splitlines() if line.startswith("16 allowance_app"))
    assert row.split()[2:].count("1") == 4


def test_the_matrix_for_machines_holds_both_matrices() -> None:
    """Only pairs that may talk are listed, with services and flows."""
    content = json.loads(_run("matrix", "--policy", _REFERENCE, "--json").output)
    zones = {(entry["from"], entry["to"]): entry for entry in content["zone_matrix"]}
    assert zones["enclave_app", "enclave_data"]["services"] == ["postgresql"]
    assert ("internet", "enclave_data") not in zones
    assert {
        "from": "admin_station",
        "to": "directory",
        "services": ["ssh", "ping"],
        "flows": ["administration"],
    } in content["host_matrix"]
