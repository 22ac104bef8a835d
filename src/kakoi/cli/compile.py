"""``kakoi compile``: write every host's files."""

from pathlib import Path

import click

from kakoi.cli.options import json_option, policy_option
from kakoi.errors import ExitStatus


@click.command()
@policy_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to replace with the files.")
@json_option
def command(policy_directory: Path, out: Path, *, as_json: bool) -> int:
    """Write every host's files / 各ホストのファイルを生成する.

    \b
    Example:
      kakoi compile --policy policy --out build/compiled
    """
    from kakoi.compile.artifacts import compile_policy, write_artifacts  # noqa: PLC0415 - `--help` answers at once
    from kakoi.policy import load_policy  # noqa: PLC0415

    count = write_artifacts(compile_policy(load_policy(policy_directory)), out)
    if not as_json:
        click.echo(f"{count} files in {out}")
    return ExitStatus.HELD
