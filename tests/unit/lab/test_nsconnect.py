"""nsconnect stands alone: wrong use and a missing namespace end in one line, never in a traceback."""

import subprocess

import pytest

from kakoi.lab.ssh import NSCONNECT


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/env", "python3", "-IS", NSCONNECT, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("lab-host",), ("lab-host", "10.0.0.1", "22", "more")])
def test_wrong_arguments_show_the_usage(arguments: tuple[str, ...]) -> None:
    """Exactly namespace, host and port are taken."""
    ended = _run(*arguments)
    assert (ended.returncode, ended.stderr) == (2, "usage: nsconnect.py NAMESPACE HOST PORT\n")


def test_a_namespace_that_is_not_there_is_named() -> None:
    """The message names the namespace and asks the right question."""
    ended = _run("kakoitest-nowhere", "10.0.0.1", "22")
    assert ended.returncode == 255
    assert ended.stderr == (
        "nsconnect: cannot enter namespace kakoitest-nowhere: No such file or directory; is the lab up, are you root?\n"
    )


def test_it_can_be_run_by_itself() -> None:
    """ssh starts it as a program."""
    assert NSCONNECT.stat().st_mode & 0o111 == 0o111
