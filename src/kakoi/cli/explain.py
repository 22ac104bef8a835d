"""``kakoi explain``: why a connection works, or what stops it.

Exit status 0 when it was explained, 3 when something on its way is not understood, 2 when the input is wrong.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import json_option, policy_option
from kakoi.errors import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from kakoi.policy.model import Policy
    from kakoi.reach.network.explain import Explanation
    from kakoi.reach.network.witness import Passed

_ANSWERS = {
    "open": ("✓", "bold green", "open / 通る"),
    "blocked": ("✗", "bold red", "blocked / 遮断される"),
    "no_route": ("✗", "bold red", "no route leads there / 経路がない"),
    "unknown": ("?", "bold yellow", "cannot be decided / 判定できない"),
    "no_reply": ("✗", "bold red", "gets there, but the answer does not come back / 応答が戻らない"),
}


@click.command()
@click.argument("source")
@click.argument("destination")
@click.argument("service", metavar="PROTO/PORT")
@policy_option
@click.option(
    "--observed",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder that `kakoi observe` wrote: explain what these machines really do.",
)
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - one for each argument and option
    ctx: click.Context,
    source: str,
    destination: str,
    service: str,
    policy_directory: Path,
    observed: Path | None,
    *,
    as_json: bool,
) -> None:
    """Explain one connection: its way and the rule at each hook, or the rule that stops it first.

    一つの通信について、通る経路と各所のルール、または最初に止めるルールを説明します。

    \b
    Examples:
      kakoi explain allowance_app allowance_store tcp/5432
      kakoi explain internet allowance_store tcp/22 --observed build/observed
    """  # noqa: D301 - click's own mark for a paragraph to leave as it is
    from kakoi.policy import load_policy  # noqa: PLC0415 - `--help` answers at once
    from kakoi.reach.network.explain import explain, parse_service  # noqa: PLC0415
    from kakoi.reach.network.reading import read_network  # noqa: PLC0415

    asked = parse_service(service)
    policy = load_policy(policy_directory)
    found = explain(policy, read_network(policy, observed), source, destination, asked)
    places = {flow: flow_place(policy_directory, flow) for one in found for flow in _flows(one)}
    if as_json:
        shown = {"source": source, "destination": destination, "service": service}
        answers = [one.as_json() for one in found]
        sentences = {flow: {"place": place, "purpose": _purpose(policy, flow)} for flow, place in places.items()}
        click.echo(json.dumps({**shown, "families": answers, "flows": sentences}, ensure_ascii=False, indent=2))
    else:
        _show(found, policy, places, f"{source} → {destination} {service}")
    known = bool(found) and all(one.answer != "unknown" for one in found)
    ctx.exit(ExitStatus.HELD if known else ExitStatus.UNKNOWN)


def flow_place(directory: Path, flow: str) -> str:
    """``flows.yml:12`` of a flow; the file alone where it cannot be found."""
    file = directory / "flows.yml"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pattern = re.compile(rf"""^\s+["']?{re.escape(flow)}["']?\s*:""")
    return next((f"{file}:{number}" for number, line in enumerate(lines, start=1) if pattern.match(line)), str(file))


def _flows(one: Explanation) -> Iterable[str]:
    yield from one.flows
    for passed in one.witness.path if one.witness else ():
        if passed.rule is not None and passed.rule.flow:
            yield passed.rule.flow


def _purpose(policy: Policy, flow: str) -> str:
    return policy.flows[flow].purpose if flow in policy.flows else ""


def _show(found: Iterable[Explanation], policy: Policy, places: dict[str, str], title: str) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(title, style="bold", markup=False)
    explained = list(found)
    if not explained:
        console.print("  no address family in common / 共通のアドレスファミリがない", style="yellow")
    for one in explained:
        mark, style, words = _ANSWERS[one.answer]
        console.print(f"[{style}]{mark}[/] {one.family}  [{style}]{words}[/]")
        for flow in one.flows:
            console.print(
                f"    {flow}  {_purpose(policy, flow)}  ({places.get(flow, '')})", style="green", markup=False
            )
        if one.answer == "blocked":
            _show_walls(console, one)
        elif one.witness is not None:
            for passed in one.witness.path:
                _show_passed(console, passed)


def _show_walls(console: Console, one: Explanation) -> None:
    for number, wall in enumerate(one.walls):
        label = "stopped first by / 最初に止めるのは" if number == 0 else "would also stop it / 続いて止めるのは"
        console.print(f"    {label}", style="dim")
        _show_passed(console, wall)


def _show_passed(console: Console, passed: Passed) -> None:
    ports = " → ".join(name for name in (passed.iif, passed.oif) if name)
    console.print(f"    {passed.machine}  {passed.hook}  {ports}  {passed.verdict}", markup=False)
    rule = passed.rule
    if rule is None:
        console.print("      (no rules known / ルールなし)", style="dim", markup=False)
        return
    handle = f" handle {rule.handle}" if rule.handle else ""
    place = (
        f"{passed.machine}/kakoi.nft:{rule.line}" if rule.line else f"{rule.family} {rule.table} {rule.chain}{handle}"
    )
    flow = f"  ← {rule.flow}" if rule.flow else ""
    console.print(f"      {rule.element or rule.text}  ({place}){flow}", style="cyan", markup=False)
