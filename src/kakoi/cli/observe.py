"""``kakoi observe``: read rulesets, routes, addresses and listeners from every host into files."""

from pathlib import Path

import click
from rich.console import Console

from kakoi.cli.options import inventory_option, project_root
from kakoi.cli.progress import step
from kakoi.errors import ExitStatus
from kakoi.observe.collect import observe


@click.command(name="observe", epilog="Example:\n\n  kakoi observe --out build/observed")
@inventory_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that takes one file for each host.")
def command(*, inventory: Path, out: Path) -> int:
    """Read what the machines really run / 実機の状態を読み取る.

    Changes nothing. A host that does not answer is named, and the exit status is 3.
    """
    root = project_root()
    console = Console(stderr=True)
    with step(console, "各ホストの状態を読み取り / Reading every host") as shown:
        observed = observe(root, root / inventory, out, shown.task)
    console.print(f"{len(observed)} hosts / ホスト -> {out}")
    return ExitStatus.HELD
