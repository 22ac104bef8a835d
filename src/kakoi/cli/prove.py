"""``kakoi prove``: judge every guarantee of the policy over the whole network, and show how one breaks.

Exit status 0 when all hold, 1 when one is broken, 2 when the input is wrong, 3 when one could not be decided.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kakoi.cli.options import json_option, policy_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from kakoi.reach.network.answer import Attack, Verdict
    from kakoi.reach.network.proof import Proof

_MARK = {"yes": ("✓", "bold green"), "no": ("✗", "bold red"), "unknown": ("?", "bold yellow")}
_WORD = {"yes": "holds 成立", "no": "broken 破れ", "unknown": "unknown 不明"}


@click.command()
@policy_option
@click.option(
    "--observed",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder that `kakoi observe` wrote: prove what these machines really run.",
)
@click.option(
    "--addresses-bound",
    "bound",
    multiple=True,
    metavar="ZONE",
    help="Assume that switches keep hosts of this zone from using each other's addresses. Repeatable; `all` for every zone.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    policy_directory: Path,
    observed: Path | None,
    bound: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Prove every guarantee over the whole network, or show the packet that breaks it.

    すべての保証をネットワーク全体について判定し、破れるものはパケットと経路を示します。

    An attacker has full power over what he took and may forge source addresses. Hosts in --observed count as they were
    read back; the others as compiled.

    \b
    Examples:
      kakoi prove
      kakoi prove --observed build/observed
      kakoi prove --json | jq '.guarantees[] | select(.holds != true)'
    """  # noqa: D301 - click's own mark for a paragraph to leave as it is
    from kakoi.policy import load_policy  # noqa: PLC0415 - `--help` answers at once
    from kakoi.reach.network.proof import prove  # noqa: PLC0415

    policy = load_policy(policy_directory)
    zones = tuple(policy.zones) if "all" in bound else bound
    proof, _ = prove(policy, observed, zones)
    if as_json:
        click.echo(json.dumps(proof.as_json(), ensure_ascii=False, indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415

        console = Console(highlight=False, soft_wrap=True, emoji=False)
        show_proof(console, proof, details=True)
    ctx.exit(proof.status)


def show_proof(console: Console, proof: Proof, *, details: bool) -> None:
    """Print every verdict; with details, the breach of each broken one step by step."""
    for verdict in proof.verdicts:
        _show_verdict(console, verdict, details=details)
    held = sum(1 for verdict in proof.verdicts if verdict.holds == "yes")
    mark, style = _MARK["yes" if held == len(proof.verdicts) else "no"]
    console.print()
    console.print(
        f"[{style}]{mark}[/] [bold]{held} of {len(proof.verdicts)} guarantees hold / 保証 {held} / {len(proof.verdicts)} 件が成立[/]"
    )
    _show_basis(console, proof)


def show_guarantees(console: Console, proof: Proof) -> None:
    """Print one line for each guarantee."""
    for verdict in proof.verdicts:
        mark, style = _MARK[verdict.holds]
        console.print(f"[{style}]{mark}[/] {verdict.id}  [dim]{verdict.kind}[/]  {_margin(verdict)}", soft_wrap=True)


def _show_verdict(console: Console, verdict: Verdict, *, details: bool) -> None:
    mark, style = _MARK[verdict.holds]
    console.print(
        f"[{style}]{mark}[/] [bold]{verdict.id}[/]  [{style}]{_WORD[verdict.holds]}[/]  [dim]{verdict.kind}[/]"
    )
    console.print(f"    {verdict.why}", style="dim")
    console.print(f"    {verdict.reason.en}", markup=False)
    console.print(f"    {verdict.reason.ja}", markup=False)
    if verdict.holds == "yes" and verdict.margin is not None:
        console.print(f"    {_margin(verdict)}", style="green", markup=False)
    if details:
        for number, attack in enumerate(verdict.attacks, start=1):
            _show_attack(console, number, attack)
        for one in verdict.missing[:5]:
            console.print(
                f"      missing 不通  {one['flow']}: {one['from']} → {one['to']} ({one['direction']})  {_packet(one['packet'])}",
                markup=False,
            )


def _margin(verdict: Verdict) -> str:
    margin = verdict.margin
    if margin is None:
        return ""
    if not margin.exact:
        most = margin.failures - 1
        return f"margin 余裕  no {most} failing points break it / どの {most} か所が効かなくなっても破れない"
    return (
        f"margin 余裕  breaks when {margin.failures} fail / {margin.failures} か所で破れる: {', '.join(margin.points)}"
    )


def _show_attack(console: Console, number: int, attack: Attack) -> None:
    witness = attack.witness.as_json()
    forged = "  [yellow]forged source 送信元詐称[/]" if attack.forged else ""
    console.print(f"      [bold]{number}. {attack.by} → {attack.witness.target}[/]{forged}")
    console.print(f"         {_packet(witness['packet'])}", style="cyan", markup=False)
    if "arrives_as" in witness:
        console.print(f"         → {_packet(witness['arrives_as'])}", style="cyan", markup=False)
    for passed in attack.witness.path:
        ports = " → ".join(name for name in (passed.iif, passed.oif) if name)
        console.print(f"         {passed.machine}  {passed.hook}  {ports}", style="dim", markup=False)
        if passed.opened:
            console.print("           (failed: accepts everything / 故障: すべて通す)", style="yellow", markup=False)
        elif passed.rule is None:
            console.print("           (no rules known / ルールなし)", style="dim", markup=False)
        else:
            rule = passed.rule
            place = (
                f"{passed.machine}/kakoi.nft:{rule.line}"
                if rule.line
                else f"{rule.family} {rule.table} {rule.chain} handle {rule.handle}"
            )
            flow = f"  ← {rule.flow}" if rule.flow else ""
            console.print(f"           {rule.element or rule.text}  ({place}){flow}", markup=False)


def _packet(packet: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in packet.items())


def _show_basis(console: Console, proof: Proof) -> None:
    names = {
        "observed": "observed 実機から読取",
        "compiled": "compiled only 生成のみ",
        "rendered": "rendered, not observed 管理外",
    }
    for basis, label in names.items():
        hosts = [host for host, found in proof.basis.items() if found == basis]
        if hosts:
            console.print(f"  {label}  {len(hosts)}: {_shortened(hosts)}", style="dim", markup=False)
    if proof.bound:
        console.print(
            f"  assumed 前提  nobody uses another's address on / 他ホストのアドレスを騙れない: {', '.join(proof.bound)}",
            style="yellow",
            markup=False,
        )
    for note in proof.notes:
        if not note.startswith(("rendered", "compiled")):
            console.print(f"  ! {note}", style="yellow", markup=False)


def _shortened(names: Iterable[str], shown: int = 8) -> str:
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" … +{len(listed) - shown}" if len(listed) > shown else "")
