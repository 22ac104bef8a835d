"""``kakoi ruleset``: what any nftables ruleset decides, lets through, and decides differently from another."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from kakoi.cli.options import json_option
from kakoi.errors import ExitStatus, InputError
from kakoi.reach.decide import Decision, decide
from kakoi.reach.engine import CompiledRuleset, Hook
from kakoi.reach.listing import load_ruleset
from kakoi.reach.packet import parse_packet
from kakoi.reach.program import Origin
from kakoi.reach.syntax import Rule, UnknownConstruct

_VERDICTS = {"accept": "通す", "drop": "捨てる", "reject": "拒否する", "unknown": "不明"}
_MOST_NOTES = 20

_file = click.Path(path_type=Path)
hook_option = click.option(
    "--hook",
    required=True,
    type=click.Choice(get_args(Hook.__value__)),
    help="input: to this host; forward: through it; output: from it.",
)


@click.group()
def command() -> None:
    """Decide, map and compare any nftables ruleset / ルールセットの判定・通信範囲・差分.

    FILE is nft text, or the output of `nft -j list ruleset`.
    """


@command.command("decide")
@click.argument("file", type=_file)
@hook_option
@click.option("--packet", "specs", multiple=True, metavar="SPEC", help="A packet: key=value words. May be repeated.")
@click.option("--packets", "packets_file", type=_file, help="A file with one SPEC a line.")
@json_option
def decide_command(
    file: Path, hook: Hook, specs: tuple[str, ...], packets_file: Path | None, *, as_json: bool
) -> ExitStatus:
    """Say what becomes of packets, and which rule decides / パケットの判定と根拠のルール.

    \b
    SPEC words: family iif oif saddr daddr proto sport dport type code ct direction mark flags.
    What is left out may have any value.
    Exit status: 0 decided, 2 input wrong, 3 at least one verdict is unknown.

    \b
    Example:
      kakoi ruleset decide /etc/nftables.conf --hook forward \\
        --packet "iif=eth0 oif=eth1 saddr=192.0.2.1 daddr=198.51.100.7 proto=tcp dport=5432 ct=new"
    """  # noqa: D301 - \b is click's own mark
    lines = [*specs, *(_lines(packets_file) if packets_file else [])]
    if not lines:
        raise InputError("no packet to decide", "give --packet SPEC or --packets FILE")
    packets = [parse_packet(line) for line in lines]
    compiled = CompiledRuleset(load_ruleset(file))
    decisions = [decide(compiled, hook, packet) for packet in packets]
    if as_json:
        click.echo(json.dumps([_decision(decision) for decision in decisions], ensure_ascii=False, indent=1))
    else:
        for line, decision in zip(lines, decisions, strict=True):
            click.echo(f"{decision.verdict} / {_VERDICTS[decision.verdict]}: {line}")
            click.echo(f"    {_place(decision.origin)}")
        _echo_unknown(compiled.unknown)
    unknown = any(decision.verdict == "unknown" for decision in decisions)
    return ExitStatus.UNKNOWN if unknown else ExitStatus.HELD


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "give a file with one packet a line") from error
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _decision(decision: Decision) -> Mapping[str, Any]:
    return {
        "may": decision.may,
        "must": decision.must,
        "verdict": decision.verdict,
        "rule": _origin(decision.origin),
    }


def _origin(origin: Origin) -> Mapping[str, Any] | None:
    if origin is None:
        return None
    return {
        "family": origin.family,
        "table": origin.table,
        "chain": origin.chain,
        "handle": origin.handle if isinstance(origin, Rule) else None,
        "text": origin.text,
    }


def _place(origin: Origin) -> str:
    if origin is None:
        return "no rule and no policy decides / 該当するルールもポリシーもない"
    handle = f" # handle {origin.handle}" if isinstance(origin, Rule) else ""
    return f"{origin.family} {origin.table} / {origin.chain}: {origin.text}{handle}"


def _echo_unknown(unknown: Sequence[UnknownConstruct]) -> None:
    if not unknown:
        return
    click.echo(f"\n{len(unknown)} construct(s) not fully understood / 解釈しきれない構文 {len(unknown)} 件:")
    for construct in unknown[:_MOST_NOTES]:
        handle = f" # handle {construct.handle}" if construct.handle else ""
        place = " / ".join(part for part in (f"{construct.family} {construct.table}", construct.chain) if part)
        click.echo(f"  {place}{handle}: {construct.text}: {construct.effect}")
    if len(unknown) > _MOST_NOTES:
        click.echo(f"  ... and {len(unknown) - _MOST_NOTES} more, all in --json / 残りは --json に")
