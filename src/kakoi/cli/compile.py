"""``kakoi compile``: write every host's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import json_option, policy_option
from kakoi.errors import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kakoi.compile.artifacts import Artifact
    from kakoi.policy.model import Policy

_WORTH_A_BAR = 1000


@click.command()
@policy_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to replace with the files.")
@json_option
def command(policy_directory: Path, out: Path, *, as_json: bool) -> int:
    """Write every host's files / 各ホストのファイルを生成する.

    The folder is replaced as a whole, or left as it was if anything goes wrong.

    \b
    Example:
      kakoi compile --policy policy --out build/compiled
    """  # noqa: D301 - click's own mark for a paragraph to leave as it is
    from kakoi.compile.artifacts import policy_digest, write_artifacts  # noqa: PLC0415 - `--help` answers at once
    from kakoi.policy import load_policy  # noqa: PLC0415
    from kakoi.policy.sets import managed_hosts  # noqa: PLC0415

    policy = load_policy(policy_directory)
    files = write_artifacts(_with_progress(policy), out)
    hosts, managed, flows = len(policy.hosts), len(managed_hosts(policy)), len(policy.flows)
    if as_json:
        summary = {"out": str(out), "hosts": hosts, "managed_hosts": managed, "flows": flows, "files": files}
        click.echo(json.dumps(summary | {"policy_sha256": policy_digest(policy)}, ensure_ascii=False, indent=1))
    else:
        click.echo(f"{flows} flows, {hosts} hosts ({managed} managed): {files} files in {out}")
        click.echo(f"許可通信 {flows}、ホスト {hosts}（管理対象 {managed}）: {out} に {files} ファイル")
    return ExitStatus.HELD


def _with_progress(policy: Policy) -> Iterator[Artifact]:
    """The files of a policy, with a bar on the terminal where they are many."""
    from kakoi.compile.artifacts import compile_policy, count_artifacts  # noqa: PLC0415 - `--help` answers at once

    total = count_artifacts(policy)
    if total < _WORTH_A_BAR:
        yield from compile_policy(policy)
        return
    from rich.console import Console  # noqa: PLC0415 - most runs need no bar
    from rich.progress import track  # noqa: PLC0415

    console = Console(stderr=True)
    yield from track(
        compile_policy(policy), "生成中 / compiling", total=total, console=console, disable=not console.is_terminal
    )
