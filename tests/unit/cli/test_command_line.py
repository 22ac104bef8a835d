"""The command line as a whole: every command explains itself, and an expected failure is one message."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kakoi.cli import cli

ROOT = Path(__file__).parents[3]
KAKOI = Path(sys.executable).parent / "kakoi"
COMMANDS = cli.list_commands(None)  # type: ignore[arg-type]  # the list needs no context


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    """`--help` ends well and shows how the command is called."""
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    if command not in {"lab", "ruleset"}:  # these are families of commands, each with an example of its own
        assert f"kakoi {command}" in shown.output


def test_an_unknown_command_is_refused_as_wrong_input() -> None:
    """A slip of the finger is exit status 2 and no traceback."""
    done = subprocess.run([KAKOI, "chekc"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_missing_policy_is_one_message(tmp_path: Path) -> None:
    """A folder without a policy is exit status 2, named, without a traceback."""
    done = subprocess.run(
        [KAKOI, "compile", "--policy", tmp_path / "nowhere", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_programs_of_the_administrator_are_found_without_their_path() -> None:
    """After `su`, Debian's path lacks /usr/sbin; a command still finds nft and ip there."""
    environment = {**os.environ, "PATH": f"{KAKOI.parent}:/usr/bin:/bin"}
    program = "import os, sys, kakoi.cli as c; sys.argv = ['kakoi', '--version']; c.main(); print(os.environ['PATH'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert "/usr/sbin" in done.stdout.splitlines()[-1].split(":")
