"""``kakoi diff``: what a change of the policy, or of the network, opens and closes.

Exit status 0 when nothing gained touches something guarded, 1 when it does, 2 when the input is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import json_option
from kakoi.errors import ExitStatus, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kakoi.reach.network.change import Change, Difference, State


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policy_directory",
    type=click.Path(path_type=Path),
    default=Path("policy"),
    show_default=True,
    help="Policy of the machines, where OLD and NEW are folders that `kakoi observe` wrote.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, old: Path, new: Path, policy_directory: Path, *, as_json: bool) -> None:
    """Say which connections a change opens and closes: two policies, or two observed states.

    ポリシーまたは実機の二つの状態を比べ、増える通信と減る通信を示します。Markdown なのでそのままレビューに貼れます。

    \b
    Examples:
      kakoi diff /tmp/main/policy policy
      kakoi diff observed/monday observed/friday --json
    """  # noqa: D301 - click's own mark for a paragraph to leave as it is
    from kakoi.reach.network.change import compare  # noqa: PLC0415 - `--help` answers at once

    difference = compare(_state(old, policy_directory), _state(new, policy_directory))
    if as_json:
        click.echo(json.dumps(difference.as_json(), ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(markdown(difference)))
    ctx.exit(ExitStatus.FAILED if difference.touches_guarded else ExitStatus.HELD)


def _state(folder: Path, policy_directory: Path) -> State:
    from kakoi.policy import load_policy  # noqa: PLC0415
    from kakoi.reach.network.change import State  # noqa: PLC0415
    from kakoi.reach.network.reading import read_network  # noqa: PLC0415

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "give two policy folders, or two that `kakoi observe` wrote")
    if (folder / "enclave.yml").is_file():
        policy = load_policy(folder)
        return State(policy, read_network(policy))
    policy = load_policy(policy_directory)
    return State(policy, read_network(policy, folder))


def markdown(difference: Difference) -> Iterator[str]:
    """The difference as a comment on a pull request."""
    yield "## Connections / 通信の変化"
    yield ""
    if not difference.gained and not difference.lost:
        yield "No connection is gained or lost. / 増える通信も減る通信もありません。"
        return
    if difference.touches_guarded:
        yield "> **A gained connection reaches something guarded. / 守る対象に届く通信が増えます。**"
        yield ""
    yield from _table(f"Gained 増える ({len(difference.gained)})", difference.gained)
    yield from _table(f"Lost 減る ({len(difference.lost)})", difference.lost)


def _table(title: str, changes: Sequence[Change]) -> Iterator[str]:
    if not changes:
        return
    yield f"### {title}"
    yield ""
    yield "| from 送信元 | to 宛先 | what 内容 | family | flow 許可通信 | guarded 保護対象 |"
    yield "|---|---|---|---|---|---|"
    for change in changes:
        flows = ", ".join(f"`{flow}`" for flow in change.flows) or "**none なし**"
        guarded = ", ".join(f"`{one}`" for one in change.guarded)
        families = ", ".join(change.families)
        yield f"| `{change.source}` | `{change.destination}` | {change.what} | {families} | {flows} | {guarded} |"
    yield ""
