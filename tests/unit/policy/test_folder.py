"""Files that are missing, foreign, huge or not text: a clear answer each, and never a traceback."""

import os
import shutil
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kakoi.errors import ExitStatus
from kakoi.policy import PolicyError, load_policy
from kakoi.policy.check import check_policy
from kakoi.policy.folder import SECTIONS_OF_FILE
from kakoi.policy.problem import Bilingual, Problem

SOUND = Path(__file__).parents[2] / "golden" / "errors" / "policy"
TODAY = date(2026, 11, 23)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A copy of the sound policy."""
    shutil.copytree(SOUND, tmp_path / "policy")
    return tmp_path / "policy"


def _only_error(directory: Path) -> str:
    (problem,) = check_policy(directory, TODAY).errors
    return f"{Path(problem.file).name}:{problem.line}:{problem.column} {problem.message.en} -> {problem.remedy.en}"


def _zones_hold(policy: Path, content: bytes) -> str:
    (policy / "zones.yml").write_bytes(content)
    return _only_error(policy)


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is said to be missing."""
    assert "does not exist" in _only_error(tmp_path / "nowhere")


def test_file_in_place_of_the_folder(policy: Path) -> None:
    """A file named as the policy is not read as one."""
    assert "not a policy folder" in _only_error(policy / "zones.yml")


@pytest.mark.parametrize("name", SECTIONS_OF_FILE)
def test_missing_file(policy: Path, name: str) -> None:
    """Each of the seven files is needed: a lost guarantees.yml must not pass in silence."""
    (policy / name).unlink()
    assert f"the file {name} is missing" in _only_error(policy)


def test_misspelt_file(policy: Path) -> None:
    """A file that is nearly named right is suggested, and its contents are not used."""
    (policy / "flows.yml").rename(policy / "flow.yml")
    report = check_policy(policy, TODAY)
    assert report.errors[0].remedy.en == "Rename flow.yml to flows.yml."
    assert "not a file of the policy" in report.warnings[0].message.en


def test_foreign_file_is_a_warning(policy: Path) -> None:
    """An unknown file is named and not used; the reserved ones are left alone."""
    (policy / "zone.yaml").write_text("x")
    (policy / "exceptions.yml").write_text("x")
    (policy / "controls").mkdir()
    report = check_policy(policy, TODAY)
    assert report.valid
    assert [warning.remedy.en for warning in report.warnings] == ["Did you mean zones.yml? Rename it."]


def test_link_to_nowhere(policy: Path) -> None:
    """A dangling link is called one."""
    (policy / "zones.yml").unlink()
    (policy / "zones.yml").symlink_to("gone.yml")
    assert "a link to a file that does not exist" in _only_error(policy)


def test_folder_in_place_of_a_file(policy: Path) -> None:
    """A folder named like a file is called one."""
    (policy / "zones.yml").unlink()
    (policy / "zones.yml").mkdir()
    assert "is a folder, not a file" in _only_error(policy)


def test_pipe_in_place_of_a_file(policy: Path) -> None:
    """A pipe is refused instead of waited for."""
    (policy / "zones.yml").unlink()
    os.mkfifo(policy / "zones.yml")
    assert "not an ordinary file" in _only_error(policy)


def test_unreadable_file(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read says so."""
    open_file = Path.open

    def refuse(path: Path, *arguments: str) -> object:
        if path.name == "zones.yml":
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    assert "it cannot be read: Permission denied" in _only_error(policy)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zones.yml:1:1 the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"- a\n- b\n", "the file holds a list, not a mapping"),
        (b"text", "the file holds text, not a mapping"),
        (b"\xef\xbb\xbfzones: {}\n", "byte order mark"),
        ("zones: {}".encode("utf-16"), "UTF-16"),
        (
            "zones:\n  lgwan: {name: 庁内}\n".encode("cp932"),
            "zones.yml:2:17 byte 0x92 is not UTF-8; the file looks like Shift_JIS",
        ),
        (b"zones: {}\n\xff\xfe\xff", "zones.yml:2:1 byte 0xff is not UTF-8"),
        (b"zones:\n  a: \x00\n", "zones.yml:2:6 the invisible character U+0000"),
        (b"zones: [", "zones.yml:1:9 a value is missing here"),
    ],
)
def test_contents_that_are_no_policy(policy: Path, content: bytes, says: str) -> None:
    """Each is refused with its place, and nothing is said of what depends on it."""
    assert says in _zones_hold(policy, content)


def test_fifty_megabytes_are_refused_unread(policy: Path) -> None:
    """A 50 MB file is refused by its size, within a second of processor time."""
    with (policy / "zones.yml").open("wb") as stream:
        stream.truncate(50_000_000)
    before = time.process_time()
    assert "the limit is 20 MiB" in _only_error(policy)
    assert time.process_time() - before < 1


def test_load_policy_raises_everything_at_once(policy: Path) -> None:
    """The exception of load_policy carries every problem and ends in exit status 2."""
    (policy / "zones.yml").write_text("zones: [")
    (policy / "services.yml").write_text("services: {ssh: {tcp: [22]}}")
    with pytest.raises(PolicyError) as caught:
        load_policy(policy, TODAY)
    assert caught.value.exit_status == ExitStatus.INPUT_WRONG
    assert {Path(problem.file).name for problem in caught.value.problems} >= {"zones.yml", "services.yml"}
    assert "services.yml:1:12" in str(caught.value)


_FILES = {name: (SOUND / name).read_text(encoding="utf-8") for name in SECTIONS_OF_FILE}
_SNIPPETS = st.sampled_from(
    [
        "",
        "\n",
        " ",
        "\t",
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!int ",
        "~",
        "null",
        "true",
        "42",
        "2026-10-01",
        '"',
        "'",
        "|",
        "<<: ",
        "? ",
        "#",
        "\x00",
        "\u2028",
        "庁",
        "internet",
        "internet_facing",
        "managed_hosts",
        "10.0.0.0/8",
        "::/0",
        "lgwan",
        "kind: survives\n",
    ]
)


@st.composite
def _mutated(draw: st.DrawFn) -> dict[str, str]:
    changed: dict[str, str] = {}
    for name in draw(st.lists(st.sampled_from(list(SECTIONS_OF_FILE)), min_size=1, max_size=3, unique=True)):
        text = _FILES[name]
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(text)))
            length = draw(st.sampled_from([0, 1, 5, 20, 80]))
            text = text[:start] + draw(_SNIPPETS) + text[start + length :]
        changed[name] = text
    return changed


@given(_mutated())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_but_a_policy_error(tmp_path: Path, changed: dict[str, str]) -> None:
    """Whatever is done to the text, the answer is a policy or a PolicyError whose every place exists."""
    for name, text in (_FILES | changed).items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    try:
        load_policy(tmp_path, TODAY)
        problems: tuple[Problem, ...] = ()
    except PolicyError as error:
        problems = error.problems or (_NONE,)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(problem.message and problem.remedy for problem in problems)


_NONE = Problem("", 0, 0, "", Bilingual("", ""), Bilingual("", ""))
"""Stands for the problems of an error that names none, which no assertion lets pass."""
