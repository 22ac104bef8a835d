"""Observations are kept as they were found, and a changed one is refused."""

import json
from pathlib import Path

import pytest

from kakoi.canonical import canonical_json, sha256_of
from kakoi.errors import InputError
from kakoi.observe import read_observed


def _document(host: str = "allowance_store", stdout: str = "{}") -> dict[str, object]:
    observation = {
        "name": "ruleset",
        "command": ["nft", "-j", "list", "ruleset"],
        "started": "2026-11-23T00:00:00.000+00:00",
        "finished": "2026-11-23T00:00:00.100+00:00",
        "exit_status": 0,
        "stdout": stdout,
        "stderr": "",
        "stdout_sha256": sha256_of(stdout.encode()),
    }
    return {"host": host, "observations": [observation]}


def test_a_written_observation_is_read_back_whole(tmp_path: Path) -> None:
    """What the module wrote comes back with its command, output and exit status."""
    (tmp_path / "allowance_store.json").write_text(canonical_json(_document(stdout="表")), encoding="utf-8")
    found = read_observed(tmp_path)["allowance_store"].named("ruleset")
    assert found is not None
    assert (found.command[0], found.stdout, found.exit_status) == ("nft", "表", 0)


def test_changed_output_is_refused(tmp_path: Path) -> None:
    """An output that no longer has its recorded SHA-256 is an error, never silently read."""
    document = json.loads(canonical_json(_document()))
    document["observations"][0]["stdout"] = "{ }"
    (tmp_path / "allowance_store.json").write_text(canonical_json(document), encoding="utf-8")
    with pytest.raises(InputError, match="SHA-256 differs"):
        read_observed(tmp_path)


def test_a_file_under_another_hosts_name_is_refused(tmp_path: Path) -> None:
    """Swapping two hosts' files is noticed."""
    (tmp_path / "access_proxy.json").write_text(canonical_json(_document()), encoding="utf-8")
    with pytest.raises(InputError, match="is of the host allowance_store"):
        read_observed(tmp_path)


def test_an_empty_folder_is_an_error_and_not_an_empty_network(tmp_path: Path) -> None:
    """Nothing observed is never read as nothing wrong."""
    with pytest.raises(InputError, match="no observations"):
        read_observed(tmp_path)
