"""``kakoi observe``: read rulesets, routes, addresses and listeners from every host into files."""

from pathlib import Path

import click
from rich.console import Console

from kakoi.cli.options import inventory_option, project_root
from kakoi.cli.progress import step
from kakoi.errors import ExitStatus
from kakoi.observe import read_observed
from kakoi.playbook import run_playbook


@click.command(name="observe", epilog="Example:\n\n  kakoi observe --out build/observed")
@inventory_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that takes one file for each host.")
def command(*, inventory: Path, out: Path) -> int:
    """Read what the machines really run / 実機の状態を読み取る.

    Changes nothing. A host that does not answer is named, and the exit status is 3.
    """
    root = project_root()
    console = Console(stderr=True)
    with step(console, "Reading every host / 各ホストの状態を読み取り") as shown:
        result = run_playbook(
            root,
            "observe",
            inventory if inventory.is_absolute() else root / inventory,
            extra_variables={"kakoi_observed_directory": str(out.resolve())},
            progress=shown.task,
        )
        result.require()
    observed = read_observed(out)
    console.print(f"{len(observed)} hosts / ホスト -> {out}")
    return ExitStatus.HELD
