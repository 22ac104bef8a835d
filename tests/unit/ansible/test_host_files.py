"""``host_files``: a list of files exactly so, in one call."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kakoi.ansible.modules.host_files import main

type RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def entry(tmp_path: Path, mine: dict[str, str]) -> dict[str, object]:
    """A file that is not there yet."""
    return {"dest": str(tmp_path / "etc" / "hosts"), "content": "127.0.0.1 localhost\n", **mine}


def test_writes_text_and_mode(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """A missing file appears with its text and mode, and its missing folder with it."""
    result = run_module(main, files=[{**entry, "mode": "0640"}])
    written = tmp_path / "etc" / "hosts"
    assert result["changed_files"] == [str(written)]
    assert written.read_text() == "127.0.0.1 localhost\n"
    assert stat.S_IMODE(written.stat().st_mode) == 0o640


def test_second_run_changes_nothing(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """A file that is already so is not written again."""
    run_module(main, files=[entry])
    before = (tmp_path / "etc" / "hosts").stat().st_ino
    assert run_module(main, files=[entry])["changed"] is False
    assert (tmp_path / "etc" / "hosts").stat().st_ino == before


def test_mode_alone_is_a_change(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """A file whose text is right but whose mode is not gets its mode."""
    run_module(main, files=[entry])
    (tmp_path / "etc" / "hosts").chmod(0o666)
    assert run_module(main, files=[entry])["changed"] is True
    assert stat.S_IMODE((tmp_path / "etc" / "hosts").stat().st_mode) == 0o644


def test_check_mode_touches_nothing(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """Check mode says what would change and leaves the disk as it is, folders included."""
    result = run_module(main, check=True, files=[entry])
    assert result["changed_files"] == [entry["dest"]]
    assert list(tmp_path.iterdir()) == []


def test_diff_shows_both_texts(run_module: RunModule, entry: dict[str, object]) -> None:
    """The diff carries the text before and after."""
    run_module(main, files=[{**entry, "content": "old\n"}])
    (difference,) = run_module(main, files=[entry])["diff"]
    assert (difference["before"], difference["after"]) == ("old\n", "127.0.0.1 localhost\n")


def test_link_replaces_a_file(run_module: RunModule, tmp_path: Path) -> None:
    """A link takes the place of a file in one step: this is how a unit is masked."""
    unit = tmp_path / "nftables.service"
    unit.write_text("[Unit]\n")
    link = {"dest": str(unit), "state": "link", "target": "/dev/null"}
    assert run_module(main, files=[link])["changed"] is True
    assert str(unit.readlink()) == "/dev/null"
    assert run_module(main, files=[link])["changed"] is False


def test_file_replaces_a_link_not_its_target(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """A file that takes a link's place leaves what the link pointed to alone."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").symlink_to(elsewhere)
    run_module(main, files=[entry])
    assert not (tmp_path / "etc" / "hosts").is_symlink()
    assert elsewhere.read_text() == "mine\n"


def test_absent_removes_and_then_rests(run_module: RunModule, tmp_path: Path) -> None:
    """A file that shall be absent is removed once."""
    (tmp_path / "sources.list").write_text("deb http://elsewhere ./\n")
    absent = {"dest": str(tmp_path / "sources.list"), "state": "absent"}
    assert run_module(main, files=[absent])["changed"] is True
    assert run_module(main, files=[absent])["changed"] is False


def test_directory_gets_its_mode(run_module: RunModule, tmp_path: Path, mine: dict[str, str]) -> None:
    """A folder is made with exactly its mode."""
    folder = {"dest": str(tmp_path / "kakoi"), "state": "directory", "mode": "0750", **mine}
    assert run_module(main, files=[folder])["changed"] is True
    assert stat.S_IMODE((tmp_path / "kakoi").stat().st_mode) == 0o750
    assert run_module(main, files=[folder])["changed"] is False


def test_invalid_text_leaves_every_file_alone(
    run_module: RunModule, entry: dict[str, object], tmp_path: Path, mine: dict[str, str]
) -> None:
    """When one new text is refused by its program, no file of the list is written, and the program's words are shown."""
    refused = {
        "dest": str(tmp_path / "b"),
        "content": "x",
        "validate": ["/bin/sh", "-c", "echo bad line >&2; exit 1"],
        **mine,
    }
    result = run_module(main, files=[entry, refused])
    assert result["failed"] is True
    assert "bad line" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_validates_in_check_mode_too(run_module: RunModule, entry: dict[str, object]) -> None:
    """Check mode refuses an invalid text as well: a broken rule set must not pass it green."""
    result = run_module(main, check=True, files=[{**entry, "validate": ["/bin/grep", "-q", "nothing like it", "%s"]}])
    assert result["failed"] is True


def test_validation_sees_the_new_text(run_module: RunModule, entry: dict[str, object]) -> None:
    """The program is given the new text, under the file's own name."""
    result = run_module(
        main, files=[{**entry, "validate": ["/bin/sh", "-c", "grep -q localhost %s && test ${0##*/} = hosts", "%s"]}]
    )
    assert result["changed"] is True


def test_names_what_no_program_could_judge(run_module: RunModule, entry: dict[str, object]) -> None:
    """A program that is not installed yet cannot judge, and the result says so."""
    result = run_module(main, files=[{**entry, "validate": ["/nonexistent/nft", "%s"]}])
    assert result["unvalidated"] == [entry["dest"]]


def test_refuses_to_replace_a_folder(run_module: RunModule, entry: dict[str, object], tmp_path: Path) -> None:
    """A folder where a file is wanted is never removed."""
    (tmp_path / "etc" / "hosts").mkdir(parents=True)
    result = run_module(main, files=[entry])
    assert "is a directory" in result["msg"]
    assert (tmp_path / "etc" / "hosts").is_dir()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"dest": "etc/hosts"}, "absolute"),
        ({"content": None}, "no text"),
        ({"mode": "rw-r--r--"}, "octal"),
        ({"owner": "nobody-of-that-name"}, "nobody-of-that-name"),
        ({"group": "no-such-group"}, "no-such-group"),
        ({"state": "link"}, "without a target"),
    ],
)
def test_refuses_a_wrong_entry(
    run_module: RunModule, entry: dict[str, object], wrong: dict[str, object], named: str
) -> None:
    """A wrong entry is refused in words that name the mistake."""
    assert named in run_module(main, files=[{**entry, **wrong}])["msg"]


def test_a_failed_write_leaves_no_temporary_file(
    run_module: RunModule, entry: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk fails half way, the old file stands and nothing else is left beside it."""
    run_module(main, files=[{**entry, "content": "old\n"}])

    def broken(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    assert "disk full" in run_module(main, files=[entry])["msg"]
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["hosts"]
    assert (tmp_path / "etc" / "hosts").read_text() == "old\n"
