"""``kakoi matrix``: who may talk to whom, zone by zone and host by host."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import json_option, policy_option
from kakoi.errors import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from kakoi.compile.matrix import Matrix
    from kakoi.policy.model import Policy

_NOTHING = "[dim]·[/]"
_OUTSIDE = "※"
_LETTERS = string.ascii_lowercase + string.ascii_uppercase


@click.command()
@policy_option
@click.option("--hosts", is_flag=True, help="Show the host matrix, too.")
@json_option
def command(policy_directory: Path, *, hosts: bool, as_json: bool) -> int:
    """Show who may talk to whom / 許可通信の表を表示する.

    Rows open connections, columns receive them. JSON always holds both matrices and only the pairs that may talk.

    \b
    Example:
      kakoi matrix --policy policy --hosts
    """  # noqa: D301 - click's own mark for a paragraph to leave as it is
    from rich.console import Console  # noqa: PLC0415 - `--help` answers at once

    from kakoi.compile.matrix import host_matrix, zone_matrix  # noqa: PLC0415
    from kakoi.policy import load_policy  # noqa: PLC0415

    policy = load_policy(policy_directory)
    if as_json:
        click.echo(_json(policy, zone_matrix(policy), host_matrix(policy)))
        return ExitStatus.HELD
    console = Console(highlight=False)
    _print_zones(console, policy, zone_matrix(policy))
    if hosts:
        console.print()
        _print_hosts(console, policy, host_matrix(policy))
    return ExitStatus.HELD


def _json(policy: Policy, zones: Matrix, hosts: Matrix) -> str:
    def entries(matrix: Matrix) -> list[dict[str, object]]:
        return [
            {"from": source, "to": target, "services": allowed.services, "flows": allowed.flows}
            for (source, target), allowed in matrix.items()
        ]

    content = {
        "zones": [{"id": zone.id, "name": zone.name, "trust": zone.trust} for zone in policy.zones.values()],
        "zone_matrix": entries(zones),
        "hosts": [
            {"id": host.id, "name": host.name, "kind": host.kind, "zones": list(host.interfaces)}
            for host in policy.hosts.values()
        ],
        "host_matrix": entries(hosts),
    }
    return json.dumps(content, ensure_ascii=False, indent=1)


# ------------------------------------------------------------------------------------------ zones


def _print_zones(console: Console, policy: Policy, matrix: Matrix) -> None:
    """The zone matrix: services by name, by letter in a narrower terminal, or as a list where no table fits."""
    used = [service for service in policy.services if any(service in allowed.services for allowed in matrix.values())]
    letters = dict(zip(used, _LETTERS, strict=False))
    console.print("[bold]許可通信 / Allowed connections[/]   行から列へ / from row to column")
    by_name = _zone_table(policy, matrix, {service: service for service in used}, label_lines=False)
    if _fits(console, by_name):
        console.print(by_name)
    elif len(letters) == len(used) and _fits(
        console, by_letter := _zone_table(policy, matrix, letters, label_lines=True)
    ):
        console.print(by_letter)
        console.print("  ".join(f"[bold cyan]{letter}[/]\u00a0{service}" for service, letter in letters.items()))
    else:
        _print_pairs(console, matrix)
    console.print(f"[red]{_OUTSIDE}[/] 信頼できないゾーン / untrusted    {_NOTHING} 通信なし / nothing")
    for zone in policy.zones.values():
        console.print(f"  [bold]{zone.id}[/] {_plain(zone.name)}", soft_wrap=True)


def _zone_table(policy: Policy, matrix: Matrix, labels: Mapping[str, str], *, label_lines: bool) -> Table:
    from rich.table import Table  # noqa: PLC0415 - `--help` answers at once

    table = Table(show_lines=True, padding=(0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in policy.zones.values():
        untrusted = column.trust == "untrusted"
        head = column.id.replace("_", "\n") + (f"\n{_OUTSIDE}" if untrusted else "")
        style = "red" if untrusted else ""
        table.add_column(head, style=style, header_style=style or "bold", justify="center", no_wrap=True)
    for row in policy.zones.values():
        label = f"[bold]{row.id.replace('_', '_\n') if label_lines else row.id}[/]"
        cells = (
            "\n".join(labels[service] for service in matrix[row.id, column].services)
            if (row.id, column) in matrix
            else _NOTHING
            for column in policy.zones
        )
        table.add_row(label + (f" [red]{_OUTSIDE}[/]" if row.trust == "untrusted" and not label_lines else ""), *cells)
    return table


def _fits(console: Console, table: Table) -> bool:
    from rich.measure import Measurement  # noqa: PLC0415 - `--help` answers at once

    unbounded = console.options.update(max_width=10_000)
    return Measurement.get(console, unbounded, table).maximum <= console.width


def _print_pairs(console: Console, matrix: Matrix) -> None:
    for (source, target), allowed in matrix.items():
        console.print(f"{source} → {target}: {' '.join(allowed.services)}", soft_wrap=True)


# ------------------------------------------------------------------------------------------ hosts


def _print_hosts(console: Console, policy: Policy, matrix: Matrix) -> None:
    """A grid with the number of services in each cell where it fits, a list of pairs where it does not."""
    hosts = list(policy.hosts)
    digits = len(str(len(hosts)))
    label = max(map(len, hosts)) + digits + 1
    console.print("[bold]ホスト別の許可通信 / Allowed connections by host[/]")
    if label + 2 * len(hosts) > console.width:
        _print_pairs(console, matrix)
        return
    console.print("行から列へ、数字はサービス数 / from row to column, the number of services")
    for line in range(digits):
        heads = " ".join(str(place).rjust(digits)[line] for place in range(1, len(hosts) + 1))
        console.print(f"{'':{label}} [bold]{heads}[/]")
    for place, source in enumerate(hosts, start=1):
        cells = " ".join(_count(matrix, source, target) for target in hosts)
        console.print(f"[bold]{place:>{digits}}[/] {source:<{label - digits - 1}} {cells}")


def _count(matrix: Matrix, source: str, target: str) -> str:
    if source == target:
        return "[dim]╲[/]"
    if (source, target) not in matrix:
        return _NOTHING
    count = len(matrix[source, target].services)
    return f"[bold cyan]{count if count <= 9 else '+'}[/]"  # noqa: PLR2004 - one digit fits a cell


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - `--help` answers at once

    return escape(" ".join(text.split()))
