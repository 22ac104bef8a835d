"""Preflight: everything that is missing is told at once, each with what mends it."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from kakoi.errors import ExitStatus, KakoiError
from kakoi.lab import requirements, up
from kakoi.lab.names import Lab
from kakoi.lab.podman import Podman
from kakoi.lab.requirements import Missing, missing_kernel_features, missing_packages, missing_room, require

PODMAN = Podman(Path("/nonexistent"))
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _images_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Podman, "has_image", lambda *_: True)


def test_every_problem_is_listed_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two problems give one message with both, and the exit status for "could not find out"."""
    problems = (Missing("no bridges", "get a kernel"), Missing("no memory", "buy some"))
    monkeypatch.setattr(requirements, "missing", lambda *_: problems)
    with pytest.raises(
        KakoiError, match=r"(?s)1\. no bridges\n.*-> get a kernel\n.*2\. no memory\n.*-> buy some"
    ) as caught:
        require(Lab("b"), PODMAN, (), 22)
    assert caught.value.exit_status == ExitStatus.UNKNOWN


def test_without_root_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing a lab asks for is root, in words."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(KakoiError, match="need root"):
        up(Lab("b"), ROOT / "policy", nullcontext)  # type: ignore[arg-type]  # no step is opened


def test_too_few_inotify_instances_name_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the command that raises the limit; the lab itself never runs it."""
    monkeypatch.setattr(requirements, "used_inotify_instances", lambda: 10_000_000)
    found = list(missing_room(PODMAN, (), 22))
    assert [problem.remedy.split("=")[0] for problem in found] == ["sysctl fs.inotify.max_user_instances"]


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has what is needed and what is free."""
    monkeypatch.setattr(requirements, "_free_memory_mib", lambda: 100)
    assert "22 machines need 1056 MiB of memory, 100 MiB are free" in {
        found.what for found in missing_room(PODMAN, (), 22)
    }


def test_too_little_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot hold the machines' layers is told before anything is built."""
    monkeypatch.setattr(requirements, "DISK_MIB_PER_MACHINE", 10**9)
    assert any("of disk are needed below /var" in found.what for found in missing_room(PODMAN, (), 22))


def test_missing_programs_become_one_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages are named once each, ready to paste."""
    monkeypatch.setattr(
        requirements, "missing_programs", lambda wanted: tuple(set(wanted) & {"unshare", "nsenter", "gpg"})
    )
    assert [found.remedy for found in missing_packages()] == ["apt-get install --no-install-recommends gpg util-linux"]


def test_a_kernel_without_a_feature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked by trying, and its own words are passed on."""
    monkeypatch.setattr(requirements, "run_anyhow", lambda *_: (1, "", "Operation not supported\n"))
    found = [problem.what for problem in missing_kernel_features()]
    assert "the kernel does not offer bridges (CONFIG_BRIDGE): Operation not supported" in found


def test_the_launcher_installs_every_package_that_preflight_asks_for() -> None:
    """requirements-system.txt is complete: a lab never starts by asking for more."""
    lines = (ROOT / "requirements-system.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.partition("#")[0].strip() for line in lines}
    assert {*requirements._PACKAGE_OF.values(), "runc", "debian-archive-keyring"} <= listed
