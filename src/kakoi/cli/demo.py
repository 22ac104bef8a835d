"""``kakoi demo``: the whole job on this machine, from the written policy to the evidence."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kakoi.cli.options import policy_option, project_root

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from kakoi.probe.run import ProbeRun


@click.command(name="demo", epilog="Example:\n\n  kakoi demo")
@policy_option
@click.option(
    "--full/--quick", default=True, show_default=True, help="Attack every port of every store, or only known ones."
)
def command(*, policy_directory: Path, full: bool) -> int:
    """Lab, provisioning, proof and evidence in one go / 一括実演.

    Builds the policy's network on this machine, asks it once before anything is provisioned (so that you see the
    probe find it open), provisions it, asks again, reads every host back, and writes the evidence. The lab stays up.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` answers at once

    from kakoi import lab as labs  # noqa: PLC0415
    from kakoi.cli.progress import step  # noqa: PLC0415
    from kakoi.cli.prove import show_guarantees  # noqa: PLC0415
    from kakoi.cli.verify import show  # noqa: PLC0415
    from kakoi.compile.artifacts import compile_policy, policy_digest, write_artifacts  # noqa: PLC0415
    from kakoi.evidence.folder import Findings, RunFacts, Sources, write_evidence  # noqa: PLC0415
    from kakoi.evidence.page import page  # noqa: PLC0415
    from kakoi.observe.collect import observe  # noqa: PLC0415
    from kakoi.playbook import run_playbook  # noqa: PLC0415
    from kakoi.policy import load_policy  # noqa: PLC0415
    from kakoi.policy.sets import managed_hosts  # noqa: PLC0415
    from kakoi.probe.run import verify  # noqa: PLC0415
    from kakoi.reach.network.proof import prove  # noqa: PLC0415

    root, started = project_root(), datetime.now(UTC)
    policy_directory = policy_directory.resolve()
    inventory, compiled = root / "inventories" / "lab", root / "build" / "compiled"
    console = Console(highlight=False)
    doing = partial(step, console)
    lab = labs.Lab(os.environ.get("KAKOI_LAB", labs.DEFAULT_NAME))

    with doing("ポリシー / Reading the policy"):
        policy = load_policy(policy_directory)
    with doing("変換 / Compiling every host's files"):
        write_artifacts(compile_policy(policy), compiled)
    labs.up(lab, policy_directory, doing)
    if all(machine.rules is False for machine in labs.status(lab)):
        with doing("設定前の確認 / Asking the network before anything is closed") as shown:
            before = verify(root, policy, inventory, "quick", progress=shown.task)
        console.print(_open_before(before))
    with doing("構成 / Provisioning every host with Ansible") as shown:
        site = run_playbook(
            root,
            "site",
            inventory,
            extra_variables={"kakoi_policy_directory": str(policy_directory)},
            progress=shown.task,
        )
        site.require()
    with doing("実機に確認 / Asking the network") as shown:
        after = verify(root, policy, inventory, "full" if full else "quick", progress=shown.task)
    observed = root / "build" / "observed"
    with doing("読み取り / Reading every host back") as shown:
        found = observe(root, inventory, observed, shown.task)
    with doing("証明 / Proving every guarantee over what the hosts really run"):
        proof, _ = prove(policy, observed)
    facts = RunFacts(
        started=started,
        finished=datetime.now(UTC),
        place=f"lab {lab.name}",
        policy_sha256=policy_digest(policy),
        hosts_expected=managed_hosts(policy),
        hosts_observed=tuple(found),
    )
    findings = Findings(after.judgement, proof, found)
    with doing("証跡 / Writing the evidence"):
        sources = Sources(policy_directory, compiled, observed, after.folder)
        folder = write_evidence(root / "build" / "evidence", facts, sources, findings, page(policy, facts, findings))
    console.print()
    show(console, policy, after.judgement)
    show_guarantees(console, proof)
    _look_around(console, folder)
    return findings.exit_status


def _open_before(before: ProbeRun) -> str:
    closed_by_policy = [entry for entry in before.judgement.cells if entry.question.cell.expected == "blocked"]
    was_open = sum(entry.verdict == "mismatch" for entry in closed_by_policy)
    return (
        f"  設定前は、遮断すべき {len(closed_by_policy):,} 通信のうち {was_open:,} が通じた"
        f" / before: {was_open:,} of {len(closed_by_policy):,} connections that must be blocked got through"
    )


def _look_around(console: Console, folder: Path) -> None:
    console.print(
        f"\n[bold]証跡 / Evidence[/]      {os.path.relpath(folder / 'index.html')}\n"
        "[bold]見て回る / Look around[/]  ./kakoi lab status ・ ./kakoi lab shell allowance_store\n"
        "[bold]壊してみる / Break it[/]   docs/tutorial/first-hour.ja.md\n"
        "[bold]片付ける / Clean up[/]     ./kakoi lab down",
        soft_wrap=True,
    )
