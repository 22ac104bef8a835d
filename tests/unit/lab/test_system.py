"""Running programs: failures speak, locks hold, nothing goes on after a failure."""

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kakoi.errors import KakoiError
from kakoi.lab.system import (
    CommandError,
    in_parallel,
    locked,
    missing_programs,
    remove_tree,
    run,
    run_anyhow,
    write_private,
)


def test_a_failed_program_is_named_with_its_words() -> None:
    """The message holds the command line, the exit status, what the program said, and the remedy."""
    with pytest.raises(CommandError, match=r"`sh -c 'echo broken >&2; exit 4'` failed \(4\):\n    broken") as caught:
        run("sh", "-c", "echo broken >&2; exit 4", remedy="mend it")
    assert caught.value.remedy == "mend it"


def test_a_program_that_does_not_exist_is_a_failure_not_a_traceback() -> None:
    """A missing program gives status 127 and says so."""
    assert run_anyhow("kakoi-no-such-program") == (127, "", "there is no program kakoi-no-such-program")


def test_missing_programs_are_found() -> None:
    """Only what is not on the path is missing."""
    assert missing_programs(("sh", "kakoi-no-such-program")) == ("kakoi-no-such-program",)


def test_work_in_parallel_keeps_its_keys_in_order() -> None:
    """Results come back under their keys, in the order of the work."""
    work: dict[str, Callable[[], int]] = {"b": lambda: 2, "a": lambda: 1}
    assert list(in_parallel(work, 2).items()) == [("b", 2), ("a", 1)]


def test_a_failure_ends_the_programs_that_still_run() -> None:
    """When one piece fails, a program of another piece does not run on to its end."""

    def fail() -> str:
        raise CommandError("broken")

    started = time.monotonic()
    with pytest.raises(CommandError, match="broken"):
        in_parallel({"slow": lambda: run("sleep", "30"), "bad": lambda: (run("sleep", "0.2"), fail())[1]}, 2)
    assert time.monotonic() - started < 20


def test_a_lock_keeps_the_second_out(tmp_path: Path) -> None:
    """While one holds the lock, another is told who is busy."""
    with (
        locked(tmp_path / "lock", 0, "busy"),
        pytest.raises(KakoiError, match="another is building"),
        locked(tmp_path / "lock", 0, "another is building"),
    ):
        pass


def test_a_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    """The lock ends with its block, also when the block fails."""
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", 0, "busy"):
        _ = 1 // 0
    with locked(tmp_path / "lock", 0, "busy"):
        assert (tmp_path / "lock").exists()


def test_waiting_for_a_lock_whose_file_is_removed_gives_a_lock_that_others_see(tmp_path: Path) -> None:
    """The next holder never holds a file that is gone: a third one would not be kept out."""
    path, entered = tmp_path / "lock", threading.Event()

    def wait_and_check() -> None:
        with locked(path, 10, "busy"):
            if path.exists():
                entered.set()

    with locked(path, 0, "busy"):
        waiter = threading.Thread(target=wait_and_check)
        waiter.start()
        path.unlink()
    waiter.join()
    assert entered.is_set()


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    """The mode is exactly what was asked for, whatever the umask."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "key", "secret", 0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_removing_a_tree_that_is_not_there_is_fine(tmp_path: Path) -> None:
    """Cleaning up twice is no error."""
    (tmp_path / "tree" / "leaf").mkdir(parents=True)
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
