"""``kakoi verify``: ask the network itself, and say what it answered."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import inventory_option, json_option, policy_option, project_root

if TYPE_CHECKING:
    from rich.console import Console

    from kakoi.policy import Policy
    from kakoi.probe.judge import Judgement
    from kakoi.probe.plan import Plan
    from kakoi.probe.report import Tally

SENTENCES_SHOWN = 40


@click.command(name="verify", epilog="Example:\n\n  kakoi verify --inventory inventories/lab --json")
@policy_option
@inventory_option
@json_option
@click.option(
    "--full/--quick",
    default=True,
    show_default=True,
    help="Attack all 65,535 ports of every My Number store, or only those of the policy's services.",
)
def command(policy_directory: Path, *, inventory: Path, as_json: bool, full: bool) -> int:
    """Ask the network itself / 実機で疎通と遮断を確かめる.

    Every connection of the policy's truth table, every enforcement point by itself, and every port of every My Number
    store from every internet-facing host. Leaves nothing on the hosts. 0: all held, 1: a mismatch, 3: something
    could not be found out. Hosts without a login are listed apart.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` answers at once

    from kakoi.cli.progress import step  # noqa: PLC0415
    from kakoi.policy import load_policy  # noqa: PLC0415
    from kakoi.probe import report  # noqa: PLC0415
    from kakoi.probe.run import verify  # noqa: PLC0415

    root, policy = project_root(), load_policy(policy_directory)
    console = Console(stderr=True)

    def say(plan: Plan) -> None:
        console.print(_announcement(plan))

    with step(console, "Asking the network / 実機に確認") as shown:
        run = verify(
            root,
            policy,
            inventory if inventory.is_absolute() else root / inventory,
            "full" if full else "quick",
            say=say,
            progress=shown.task,
        )
    if as_json:
        click.echo(json.dumps(report.as_json(run.judgement), ensure_ascii=False, indent=1))
    else:
        show(Console(highlight=False), policy, run.judgement)
        console.print(f"[dim]{os.path.relpath(run.folder)}[/]")
    return run.judgement.exit_status


def _announcement(plan: Plan) -> str:
    frames = sum(
        2 * sum(last - first + 1 for first, last in assault.ports)
        for assault in plan.assaults
        if assault.kind != "client"
    )
    return (
        f"{len(plan.hosts)} hosts / ホスト, {len(plan.questions):,} connections / 通信, "
        f"{len(plan.points):,} tests of single enforcement points / 防御点ごとの試験, {frames:,} frames at stores / 保管先への試行"
    )


def show(console: Console, policy: Policy, judgement: Judgement) -> None:
    """Print the zone matrix, totals and every finding."""
    from kakoi.probe import report  # noqa: PLC0415

    console.print(_matrix(policy, judgement))
    console.print("[green]✓[/] 一致 / held   [red]✗[/] 不一致 / mismatch   [yellow]?[/] 未確認 / unknown\n")
    for view, (japanese, english) in report.VIEWS.items():
        count = judgement.count(view)
        apart = (
            f"  [dim](うち拠点なし / of these no vantage point: {count.no_vantage:,})[/]" if count.no_vantage else ""
        )
        console.print(
            f"{_tally(report.Tally(count.held, count.mismatch, count.unknown))}  {japanese} / {english}{apart}"
        )
    for mark, sentences in (
        ("[red]✗[/]", report.summary_of_mismatches(policy, judgement)),
        ("[yellow]?[/]", report.summary_of_unknown(policy, judgement)),
    ):
        shown, left_off = report.first(sentences, SENTENCES_SHOWN)
        for sentence in shown:
            console.print(f"{mark} {_plain(sentence.japanese)}\n  {_plain(sentence.english)}", soft_wrap=True)
        if left_off:
            console.print(f"{mark} … 残り {left_off:,} 件は judgement.json に / {left_off:,} more in judgement.json")
    for host, trouble in judgement.silent_hosts.items():
        console.print(f"[yellow]?[/] {host}: 応答なし / no answer: {_plain(trouble)}", soft_wrap=True)
    if judgement.plan.no_vantage:
        hosts = ", ".join(sorted(judgement.plan.no_vantage))
        console.print(f"[dim]拠点なし / no vantage point: {hosts}[/]")


def _matrix(policy: Policy, judgement: Judgement) -> object:
    from rich.table import Table  # noqa: PLC0415 - `--help` answers at once

    from kakoi.probe import report  # noqa: PLC0415

    tallies, names = report.zone_tallies(policy, judgement), report.places(policy)
    table = Table(
        show_lines=True, padding=(0, 0), pad_edge=False, title="行から列へ / from row to column", title_style="dim"
    )
    table.add_column("")
    for name in names:
        table.add_column(name.replace("_", "\n"), justify="right")
    for row in names:
        cells = (_tally(tallies[row, column], "\n") if (row, column) in tallies else "[dim]·[/]" for column in names)
        table.add_row(f"[bold]{row.replace('_', '\n')}[/]", *cells)
    return table


def _tally(tally: Tally, between: str = "  ") -> str:
    parts = [f"[green]✓{tally.held:,}[/]"] if tally.held else []
    parts += [f"[bold red]✗{tally.mismatch:,}[/]"] if tally.mismatch else []
    parts += [f"[yellow]?{tally.unknown:,}[/]"] if tally.unknown else []
    return between.join(parts)


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - `--help` answers at once

    return escape(text)
