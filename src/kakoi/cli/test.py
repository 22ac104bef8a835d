"""``kakoi test``: every check and test, or with ``--fast`` the tests that need no lab."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kakoi.cli.options import project_root
from kakoi.errors import ExitStatus


@dataclass(frozen=True)
class Stage:
    """One command of the test run."""

    title: str
    arguments: tuple[str, ...]
    fast: bool = False
    """Part of ``--fast``: no root, no lab, under a minute."""


STAGES = (
    Stage("static checks / 静的検査", ("pre-commit", "run", "--all-files", "--color=never")),
    Stage(
        "fast tests / 高速テスト",
        ("pytest", "-q", "-m", "not lab and not benchmark", "--numprocesses=auto", "--dist=worksteal"),
        fast=True,
    ),
    Stage("tests in network namespaces and the lab / 実ネットワークのテスト", ("pytest", "-q", "-m", "lab")),
    Stage("benchmarks / 性能の比", ("pytest", "-q", "-m", "benchmark")),
    Stage("the whole enclave with molecule / 囲い全体", ("molecule", "test", "--all")),
)


@click.command(name="test", epilog="Example:\n\n  kakoi test --fast")
@click.option("--fast", is_flag=True, help="Only what needs no lab and no root (under a minute).")
@click.option("--keep-going", is_flag=True, help="Run the later stages even when one has failed.")
def command(*, fast: bool, keep_going: bool) -> int:
    """Run every test / 全テストを実行する.

    Static checks, unit and property tests; then, as root, tests in network namespaces, benchmarks, and the whole
    enclave: built, provisioned twice, probed and removed.
    """
    root = project_root()
    failed: list[str] = []
    stages = [stage for stage in STAGES if stage.fast or not fast]
    for number, stage in enumerate(stages, start=1):
        click.secho(f"\n[{number}/{len(stages)}] {stage.title}", bold=True)
        started = time.monotonic()
        held = _run(stage.arguments, root)
        elapsed_seconds = time.monotonic() - started
        click.secho(f"{'held' if held else 'FAILED'} in {elapsed_seconds:.0f} s", fg="green" if held else "red")
        if not held:
            failed.append(stage.title)
            if not keep_going:
                break
    if failed:
        click.secho(f"\nFailed / 不合格: {', '.join(failed)}", fg="red", bold=True, err=True)
        return ExitStatus.FAILED
    click.secho("\nEvery stage held / すべて合格", fg="green", bold=True)
    return ExitStatus.HELD


def _run(arguments: Sequence[str], root: Path) -> bool:
    # The environment's own tools first, also when `kakoi` was started without the launcher.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(arguments, cwd=root, check=False, env={**os.environ, "PATH": path}).returncode == 0
