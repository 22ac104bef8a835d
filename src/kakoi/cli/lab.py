"""``kakoi lab``: build, look at, enter and remove the lab."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kakoi import lab as labs
from kakoi.cli.options import json_option, policy_option
from kakoi.cli.progress import step
from kakoi.errors import ExitStatus
from kakoi.lab.lifecycle import require_host
from kakoi.lab.podman import podman_for, replace_us_with
from kakoi.lab.requirements import require_root

name_option = click.option(
    "--name",
    envvar="KAKOI_LAB",
    default=labs.DEFAULT_NAME,
    show_default=True,
    help="Which lab: several can stand beside each other. Also KAKOI_LAB.",
)

_PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_RULES = {True: "あり", False: "[dim]なし[/]", None: "[red]不明[/]"}
_STATE_STYLES = {"running": "green", "degraded": "red", "stopped": "red", "missing": "red"}


@click.group(name="lab")
def command() -> None:
    """Build, look at and remove the lab / ラボの構築と撤去.

    The policy's whole network on this machine: every host with its own kernel tables, systemd and sshd. The
    machine's own network, firewall, settings and containers stay as they are. Needs root.
    """


@command.command(name="up", epilog="Example:\n\n  kakoi lab up --policy policy")
@policy_option
@name_option
@json_option
def up(*, policy_directory: Path, name: str, as_json: bool) -> int:
    """Build the lab / ラボを構築する.

    Addresses and routes are set, gateways forward, and there are no rules yet: `playbooks/site.yml` closes it.
    Running it again starts machines that have stopped; after a crash it starts afresh.
    """
    lab = labs.Lab(name)
    console = Console(stderr=True)
    changed = labs.up(lab, policy_directory, partial(step, console))
    state = labs.read_state(lab)
    if as_json:
        click.echo(json.dumps({"changed": changed, **asdict(state)}, ensure_ascii=False, indent=2))
        return ExitStatus.HELD
    if not changed:
        console.print(f"ラボ {name} はすでに動いています / The lab {name} was up already.")
    option = "" if name == labs.DEFAULT_NAME else f"--name {name} "
    console.print(f"{len(state.hosts)} 台 / machines.  kakoi lab status {option}・ kakoi lab shell {option}HOST")
    return ExitStatus.HELD


@command.command(name="down", epilog="Example:\n\n  kakoi lab down")
@name_option
@click.option("--purge", is_flag=True, help="Also remove the images and package pools that all labs share.")
def down(*, name: str, purge: bool) -> int:
    """Remove the lab, complete or not / ラボを撤去する.

    Whatever a killed or broken run left behind goes too. Running it twice is fine.
    """
    console = Console(stderr=True)
    if not labs.down(labs.Lab(name), partial(step, console), purge=purge):
        console.print(f"ラボ {name} はありません / There was no lab {name}.")
    return ExitStatus.HELD


@command.command(name="status", epilog="Example:\n\n  kakoi lab status --json")
@name_option
@json_option
def status(*, name: str, as_json: bool) -> int:
    """Show every machine / 各ホストの状態を表示する.

    Exit status 1 when a machine does not run, 3 when the lab is not up.
    """
    machines = labs.status(labs.Lab(name))
    if as_json:
        click.echo(json.dumps([asdict(machine) for machine in machines], ensure_ascii=False, indent=2))
    else:
        Console().print(_table(machines))
    return ExitStatus.HELD if all(machine.state == "running" for machine in machines) else ExitStatus.FAILED


@command.command(
    name="shell",
    context_settings=_PASSED_ON,
    epilog="Example:\n\n  kakoi lab shell allowance_store\n\n  kakoi lab shell allowance_store -- ip route",
)
@name_option
@click.argument("host")
@click.argument("arguments", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
def shell(*, name: str, host: str, arguments: tuple[str, ...]) -> int:
    """Enter a machine as root / ホストにrootで入る."""
    return _inside(name, host, arguments, terminal=sys.stdin.isatty() and sys.stdout.isatty())


@command.command(
    name="exec", context_settings=_PASSED_ON, epilog="Example:\n\n  kakoi lab exec edge_gateway nft list ruleset"
)
@name_option
@click.argument("host")
@click.argument("arguments", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(*, name: str, host: str, arguments: tuple[str, ...]) -> int:
    """Run one command in a machine, without a terminal / ホストでコマンドを実行する.

    Standard input, output and the exit status are the command's.
    """
    return _inside(name, host, arguments, terminal=False)


@command.command(name="coldboot", epilog="Example:\n\n  kakoi lab coldboot edge_gateway")
@name_option
@click.argument("host")
def coldboot(*, name: str, host: str) -> int:
    """Boot a machine with nothing left in its kernel / カーネルの状態を消して起動し直す.

    Rules, settings and connections of its network namespace are gone when it starts: what it holds afterwards,
    it loaded itself.
    """
    labs.coldboot(labs.Lab(name), host, partial(step, Console(stderr=True)))
    return ExitStatus.HELD


def _inside(name: str, host: str, arguments: tuple[str, ...], *, terminal: bool) -> int:
    require_root()
    lab = labs.Lab(name)
    container = require_host(labs.read_state(lab), host).container
    if arguments[:1] == ("--",):  # click leaves it in once it no longer looks for options
        arguments = arguments[1:]
    arguments = arguments or ("bash", "--login")
    term = os.environ.get("TERM", "linux")
    mode = ("--interactive", "--tty", f"--env=TERM={term}") if terminal else ("--interactive",)
    replace_us_with(podman_for(lab), ("exec", *mode, container, *arguments))
    return ExitStatus.UNKNOWN


def _table(machines: Iterable[labs.Machine]) -> Table:
    """Eighty columns hold the reference policy; an outside machine is dim."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("ホスト Host", "ゾーン Zone", "アドレス Addresses"):
        table.add_column(title, no_wrap=True)
    for title in ("状態\nState", "規則\nRules", "稼働\nUp"):
        table.add_column(title)
    for machine in machines:
        first = True
        for zone, addresses in machine.addresses.items():
            state = f"[{_STATE_STYLES.get(machine.state, 'yellow')}]{machine.state}[/]"
            rules = _RULES[machine.rules]
            uptime = "" if machine.uptime_seconds is None else _duration(machine.uptime_seconds)
            about = (machine.host, state, rules, uptime) if first else ("",) * 4
            table.add_row(about[0], zone, "\n".join(addresses), *about[1:], style=None if machine.managed else "dim")
            first = False
    return table


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
