"""``kakoi check``: judge the policy and show everything that is wrong with it, at its place.

A valid policy's guarantees are then proved over the network that it compiles to. Exit status 0 when the policy is valid
(there may be warnings) and every guarantee holds, 1 when a guarantee is broken, 2 when the policy is not valid, 3 when
a guarantee could not be decided.
"""

import contextlib
import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kakoi.cli.options import json_option, policy_option
from kakoi.errors import ExitStatus, KakoiError
from kakoi.policy.check import Report, check_policy
from kakoi.policy.folder import MAX_BYTES
from kakoi.policy.model import Policy
from kakoi.policy.problem import Problem
from kakoi.policy.sets import internet_facing, managed_hosts, my_number_stores
from kakoi.policy.source import lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from kakoi.reach.network.proof import Proof

MAX_SHOWN: Final = 200
"""Problems shown on the terminal; ``--json`` prints all."""


class _Day(click.ParamType[date]):
    """A day, YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is not a day; write it as YYYY-MM-DD / 日付は YYYY-MM-DD で書いてください", param, ctx
            )


@click.command()
@policy_option
@json_option
@click.option("--today", type=_Day(), default=None, help="Judge review dates as of this day. [default: today]")
@click.option("--prove/--no-prove", "proving", default=True, show_default=True, help="Prove the guarantees, too.")
@click.pass_context
def command(ctx: click.Context, policy_directory: Path, *, as_json: bool, today: date | None, proving: bool) -> None:
    """Validate the policy: every error at once, with its place and what to write instead. Then prove its guarantees.

    ポリシーを検証し、すべての誤りを場所と直し方とともに示します。続けて、すべての保証を判定します。

    \b
    Examples:
      kakoi check
      kakoi check --policy policy --today 2027-10-01
      kakoi check --json | jq '.errors[].message'
    """  # noqa: D301 - click knows a paragraph that keeps its lines by the character \b
    report = check_policy(policy_directory, today)
    proof, trouble = _prove(report.policy) if proving and report.policy is not None else (None, None)
    if as_json:
        click.echo(json.dumps({**report.as_json(), **_proved(proof, trouble)}, ensure_ascii=False, indent=2))
    else:
        _show(report, policy_directory)
        _show_proof(proof, trouble)
    if not report.valid:
        ctx.exit(ExitStatus.INPUT_WRONG)
    ctx.exit(trouble.exit_status if trouble is not None else proof.status if proof is not None else ExitStatus.HELD)


def _prove(policy: Policy) -> "tuple[Proof | None, KakoiError | None]":
    """The guarantees judged, or why they could not be."""
    from kakoi.reach.network.proof import prove  # noqa: PLC0415 - a policy with mistakes is answered at once

    if not policy.guarantees:
        return None, None
    try:
        return prove(policy, margins=False)[0], None
    except KakoiError as error:
        return None, error


def _proved(proof: "Proof | None", trouble: KakoiError | None) -> dict[str, object]:
    if trouble is not None:
        return {"guarantees": [], "guarantees_not_proved": str(trouble)}
    return {"guarantees": proof.as_json()["guarantees"]} if proof is not None else {}


def _show_proof(proof: "Proof | None", trouble: KakoiError | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - see above

    from kakoi.cli.prove import show_proof  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    if trouble is not None:
        console.print()
        console.print(
            _styled(("? ", "bold yellow"), (f"guarantees not proved / 保証は判定できませんでした: {trouble}", ""))
        )
    if proof is not None:
        console.print()
        show_proof(console, proof, details=False)
        if proof.status is not ExitStatus.HELD:
            console.print(
                _styled(("  → ", "green"), ("kakoi prove shows the packet / 経路とパケットは kakoi prove で表示", ""))
            )


def _show(report: Report, directory: Path) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich takes longer to load than a policy takes to judge

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    _show_problems(console, report.errors, "bold red")
    _show_problems(console, report.warnings, "yellow")
    if report.waiting:
        count = len(report.waiting)
        console.print(
            _styled(
                (f"{count} rules about the policy as a whole wait until these are mended.\n", "dim"),
                (f"ポリシー全体についての {count} 個の規則は、上の誤りを直した後に判定します。\n", "dim"),
            )
        )
    if report.policy is None:
        console.print(_styled(("✗ ", "bold red"), (_counted(report, directory), "bold")))
    else:
        console.print(_styled(("✓ ", "bold green"), (_counted(report, directory), "bold")))
        _show_summary(console, report.policy)


def _counted(report: Report, directory: Path) -> str:
    errors, warnings = len(report.errors), len(report.warnings)
    if report.valid and not warnings:
        return f"{directory} is valid / 誤りはありません"
    state = "valid" if report.valid else "not valid"
    return (
        f"{directory} is {state}: {errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
        f" / 誤り {errors} 件、警告 {warnings} 件"
    )


def _show_problems(console: "Console", problems: Iterable[Problem], style: str) -> None:
    problems = list(problems)
    texts: dict[str, list[str]] = {}
    for problem in problems[:MAX_SHOWN]:
        place = f"{problem.file}:{problem.line}:{problem.column}"
        label = ("error 誤り", style) if "red" in style else ("warning 警告", style)
        console.print(_styled((place, "bold"), ("  ", ""), label))
        console.print(_styled(("  ", ""), (problem.message.en, "")))
        console.print(_styled(("  ", ""), (problem.message.ja, "")))
        source = _source_line(texts, problem)
        if source:
            _show_source(console, source, problem, style)
        console.print(_styled(("  → ", "green"), (problem.remedy.en, "")))
        console.print(_styled(("    ", ""), (problem.remedy.ja, "")))
        console.print()
    if len(problems) > MAX_SHOWN:
        more = len(problems) - MAX_SHOWN
        console.print(f"… and {more} more: see --json / ほか {more} 件は --json で表示")
        console.print()


def _source_line(texts: dict[str, list[str]], problem: Problem) -> str:
    """The line that a problem points at; empty when the file cannot be shown."""
    if problem.file not in texts:
        texts[problem.file] = []
        with contextlib.suppress(OSError, ValueError):
            if Path(problem.file).is_file() and Path(problem.file).stat().st_size <= MAX_BYTES:
                texts[problem.file] = lines(Path(problem.file).read_text(encoding="utf-8"))
    file_lines = texts[problem.file]
    return file_lines[problem.line - 1] if problem.line <= len(file_lines) else ""


def _show_source(console: "Console", source: str, problem: Problem, style: str) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - see above

    shown = "".join(character if character.isprintable() else " " for character in source)
    start = max(0, problem.column - 1 - 60)
    end = start + 110
    before, number = shown[start : problem.column - 1], str(problem.line)
    console.print(_styled((f"  {number} │ ", "dim"), (shown[start:end], "cyan")))
    console.print(_styled((f"  {' ' * len(number)} │ ", "dim"), (" " * cell_len(before) + "^", style)))


def _show_summary(console: "Console", policy: Policy) -> None:
    body = policy.enclave.body
    fictional = " (fictional / 架空の団体)" if body.fictional else ""
    rows = (
        ("Body 団体", f"{body.name} / {body.name_en}{fictional}"),
        ("Zones ゾーン", str(len(policy.zones))),
        (
            "Hosts ホスト",
            f"{len(policy.hosts)} (managed 管理対象 {len(managed_hosts(policy))}, gateways ゲートウェイ {len(policy.gateways())})",
        ),
        ("Flows 許可通信", str(len(policy.flows))),
        ("Guarantees 保証", str(len(policy.guarantees))),
        ("Internet-facing インターネットに面する", _named(internet_facing(policy))),
        ("My Number stores 特定個人情報の保管先", _named(my_number_stores(policy))),
    )
    from rich.cells import cell_len  # noqa: PLC0415 - see above

    width = max(cell_len(label) for label, _ in rows)
    for label, value in rows:
        console.print(_styled((f"  {label}{' ' * (width - cell_len(label))}  ", "dim"), (value, "")))


def _named(hosts: tuple[str, ...], shown: int = 8) -> str:
    if not hosts:
        return "0"
    more = f" … +{len(hosts) - shown}" if len(hosts) > shown else ""
    return f"{len(hosts)}: {', '.join(hosts[:shown])}{more}"


def _styled(*parts: tuple[str, str]) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - see above

    return Text.assemble(*parts)
