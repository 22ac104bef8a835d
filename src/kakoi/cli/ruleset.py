"""``kakoi ruleset``: what any nftables ruleset decides, lets through, and decides differently from another."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import click

from kakoi.cli.options import json_option
from kakoi.errors import ExitStatus, InputError
from kakoi.reach.decide import Decision, decide
from kakoi.reach.describe import describe, describe_translation, sentence
from kakoi.reach.difference import Change, difference
from kakoi.reach.engine import CompiledRuleset, Hook
from kakoi.reach.listing import load_ruleset
from kakoi.reach.names import CT_STATES
from kakoi.reach.packet import parse_packet
from kakoi.reach.program import Origin
from kakoi.reach.space import AcceptedBox, Network, accepted_space
from kakoi.reach.syntax import Rule, UnknownConstruct

_VERDICTS = {"accept": "通す", "drop": "捨てる", "reject": "拒否する", "unknown": "不明"}
_KINDS = {"opened": "開く", "closed": "閉じる", "retargeted": "行先が変わる"}
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


def _network(_: click.Context, __: click.Parameter, value: str | None) -> Network | None:
    if value is None:
        return None
    try:
        return ip_network(value)
    except ValueError as error:
        raise InputError(f"{value!r}: not a network: {error}", "write it like 10.0.0.0/24 or 2001:db8::/64") from error


@command.command("reach")
@click.argument("file", type=_file)
@hook_option
@click.option("--from", "source", callback=_network, metavar="CIDR", help="Only packets from this network.")
@click.option(
    "--to",
    "destination",
    callback=_network,
    metavar="CIDR",
    help="Only packets that end up in this network, by NAT too.",
)
@click.option(
    "--ct", "state", type=click.Choice(("any", *CT_STATES)), default="new", show_default=True, help="Connection state."
)
@json_option
def reach_command(
    file: Path, hook: Hook, source: Network | None, destination: Network | None, state: str, *, as_json: bool
) -> None:
    """Map what gets through, as disjoint boxes / 通過する通信の範囲.

    A field that a box does not name may have any value. A box is certain when all of it gets through whatever is not
    known about the machine (limits, clocks, look-ups).

    \b
    Example:
      kakoi ruleset reach /etc/nftables.conf --hook forward --from 192.0.2.0/24 --to 198.51.100.7/32
    """  # noqa: D301 - \b is click's own mark
    compiled = CompiledRuleset(load_ruleset(file))
    boxes = list(accepted_space(compiled, hook, source, destination, state))
    if as_json:
        document = {
            "boxes": [_box(box) for box in boxes],
            "unknown_constructs": [asdict(one) for one in compiled.unknown],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    if not boxes:
        click.echo("Nothing gets through. / 何も通らない。")
    for box in boxes:
        mark = "certain / 必ず通る " if box.certain else "possible / 通りうる "
        click.echo(f"{mark}: {sentence(box.box)}")
        for translation in box.translations:
            if translation:
                click.echo(f"    -> {json.dumps(describe_translation(translation))}")
    _echo_unknown(compiled.unknown)


@command.command("diff")
@click.argument("before", type=_file)
@click.argument("after", type=_file)
@json_option
def diff_command(before: Path, after: Path, *, as_json: bool) -> ExitStatus:
    """Compare two rulesets: connections opened and closed / 開く通信・閉じる通信.

    Every hook, both families, every connection state, exactly.
    Exit status: 0 they let the same through, 1 they differ, 2 input wrong, 3 they may differ in what cannot be known.

    \b
    Example:
      kakoi ruleset diff running.json candidate.nft
    """  # noqa: D301 - \b is click's own mark
    first, second = CompiledRuleset(load_ruleset(before)), CompiledRuleset(load_ruleset(after))
    changes = list(difference(first, second))
    if as_json:
        document = {
            "equal": not changes,
            **{kind: [_change(change) for change in changes if change.kind == kind] for kind in _KINDS},
            "unknown_constructs": [asdict(one) for one in dict.fromkeys((*first.unknown, *second.unknown))],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        _echo_changes(changes)
    if not changes:
        return ExitStatus.HELD
    return ExitStatus.FAILED if any(change.certain for change in changes) else ExitStatus.UNKNOWN


def _echo_changes(changes: Sequence[Change]) -> None:
    if not changes:
        click.echo("Both let exactly the same through. / 通過する通信は完全に同じ。")
        return
    counts = ", ".join(
        f"{sum(change.kind == kind for change in changes)} {kind} / {label}" for kind, label in _KINDS.items()
    )
    click.echo(counts)
    for change in changes:
        certain = "" if change.certain else " (possible / 可能性)"
        click.echo(f"{change.kind} / {_KINDS[change.kind]}{certain} [{change.hook}]: {sentence(change.box)}")
        click.echo(f"    e.g. / 例: {sentence(change.witness)}")
        click.echo(f"    before / 前: {change.before.verdict}: {_place(change.before.origin)}")
        click.echo(f"    after  / 後: {change.after.verdict}: {_place(change.after.origin)}")


def _box(box: AcceptedBox) -> Mapping[str, Any]:
    described: dict[str, Any] = {**describe(box.box), "certain": box.certain}
    translations = [describe_translation(one) for one in box.translations if one]
    return {**described, "translated": translations} if translations else described


def _change(change: Change) -> Mapping[str, Any]:
    return {
        "hook": change.hook,
        "certain": change.certain,
        "box": describe(change.box),
        "witness": describe(change.witness),
        "before": _decision(change.before),
        "after": _decision(change.after),
    }


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
