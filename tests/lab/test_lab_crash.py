"""A `lab up` that is killed or interrupted at any moment leaves something that `down` and `up` cope with."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kakoi.lab import Lab, down, status, up
from kakoi.lab.system import locked, processes
from lab.small_lab import KAKOI, SMALL_POLICY, fresh_name, kakoi, quietly, remains, removed_afterwards, snapshot

pytestmark = pytest.mark.lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab that is not up."""
    with removed_afterwards(fresh_name("c")) as lab:
        yield lab


def _wires_are_half_built(lab: Lab) -> bool:
    return Path(f"/run/netns/{lab.fabric}").exists()


def _a_machine_is_being_started(lab: Lab) -> bool:
    return any("run" in words and f"--label={lab.label}" in words for _, words in processes())


def _a_machine_is_there(lab: Lab) -> bool:
    return any(f"{lab.name}-gateway" in words and Path(words[0]).name == "conmon" for _, words in processes() if words)


def _start(lab: Lab) -> subprocess.Popen[bytes]:
    command = [str(KAKOI), "lab", "up", "--name", lab.name, "--policy", str(SMALL_POLICY)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _wait_for(moment: Callable[[Lab], bool], lab: Lab, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240  # a first run builds images
    while not moment(lab):
        assert process.poll() is None, "it ended before the moment came"
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("moment", [_wires_are_half_built, _a_machine_is_being_started, _a_machine_is_there])
@pytest.mark.parametrize("whole_group", [False, True], ids=["itself", "with-its-programs"])
def test_down_cleans_up_after_a_kill(lab: Lab, moment: Callable[[Lab], bool], *, whole_group: bool) -> None:
    """SIGKILL at any moment, alone or with everything it started: one `down` removes all of it."""
    process = _start(lab)
    _wait_for(moment, lab, process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    assert kakoi("lab", "down", "--name", lab.name).returncode == 0
    assert remains(lab) == []


def test_down_removes_a_namespace_that_was_never_finished(lab: Lab) -> None:
    """Killed inside `ip netns add`, a plain file stands where the namespace would be; `down` removes it."""
    unfinished = Path(f"/run/netns/{lab.fabric}")
    unfinished.parent.mkdir(exist_ok=True)
    unfinished.touch()
    assert down(lab, quietly)
    assert remains(lab) == []


def test_up_starts_afresh_after_a_kill(lab: Lab) -> None:
    """What the killed run left is no obstacle: every machine runs in the end."""
    process = _start(lab)
    _wait_for(_a_machine_is_there, lab, process)
    process.kill()
    process.wait()
    assert up(lab, SMALL_POLICY, quietly)
    assert {machine.state for machine in status(lab)} == {"running"}


def test_control_c_ends_with_a_message_and_down_cleans_up(lab: Lab) -> None:
    """Interrupted: exit status 130, no traceback, and nothing of it goes on by itself."""
    before = snapshot()
    command = [str(KAKOI), "lab", "up", "--name", lab.name, "--policy", str(SMALL_POLICY)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    _wait_for(_a_machine_is_being_started, lab, process)  # type: ignore[arg-type]  # text or bytes
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    down(lab, quietly)
    assert (remains(lab), snapshot()) == ([], before)


def test_two_do_not_build_the_same_lab_at_once(lab: Lab) -> None:
    """The second is told who is busy, with exit status 3, and touches nothing."""
    with locked(lab.lock, 0, "busy"):
        ended = kakoi("lab", "up", "--name", lab.name, "--policy", str(SMALL_POLICY))
    assert ended.returncode == 3
    assert f"another kakoi is building or removing the lab {lab.name}" in ended.stderr


def test_a_lab_that_is_not_up_says_how_to_build_it(lab: Lab) -> None:
    """Status of nothing is "could not find out", never "all well"."""
    ended = kakoi("lab", "status", "--name", lab.name)
    assert ended.returncode == 3
    assert f"kakoi lab up --name {lab.name}" in ended.stderr


def test_a_wrong_name_is_refused(lab: Lab) -> None:
    """A name that could reach outside the lab's own folder is an error of the input."""
    assert kakoi("lab", "down", "--name", f"../{lab.name}").returncode == 2
