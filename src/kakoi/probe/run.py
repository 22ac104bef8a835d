"""One run of the probe over an inventory: write orders, run ``playbooks/verify.yml``, read the answers, judge.

A run's folder is ``build/verify/<run>/``: ``orders/<host>.json`` (what was asked), ``rules/<host>.nft`` (what must be
in force), ``<host>.json`` (what each agent
answered, with times), ``judgement.json`` (canonical, see ``report``).
"""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kakoi.canonical import canonical_json
from kakoi.compile.nftables import rulesets
from kakoi.compile.truth import truth_table
from kakoi.errors import InputError
from kakoi.playbook import Progress, run_playbook
from kakoi.policy import Policy
from kakoi.policy.sets import managed_hosts
from kakoi.probe.judge import Judgement, judge
from kakoi.probe.plan import Plan, Scope, plan_probe
from kakoi.probe.report import as_json
from kakoi.probe.rules import judge_rules

COMPARISON = "Compare the rules in force with the policy's / 動いている規則をポリシーと比較"
"""Title of the playbook's task that compares rules."""

type Say = Callable[[Plan], None]
"""Told the plan before anything is sent."""


@dataclass(frozen=True)
class ProbeRun:
    """A finished run and where its files lie."""

    judgement: Judgement
    folder: Path


def verify(
    root: Path,
    policy: Policy,
    inventory: Path,
    scope: Scope = "full",
    *,
    say: Say | None = None,
    progress: Progress | None = None,
) -> ProbeRun:
    """Ask the network of an inventory and judge what it says.

    Raises:
        InputError: the inventory cannot be read, or names no host of the policy.
    """
    name = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    plan = plan_probe(policy, truth_table(policy), _vantage(root, policy, inventory), scope, name)
    if say:
        say(plan)
    folder = root / "build" / "verify" / name
    write_orders(plan, folder)
    write_rules(policy, folder)
    # Hosts that fail or do not answer are part of the result: their cells become unknown.
    done = run_playbook(
        root,
        "verify",
        inventory,
        extra_variables={"kakoi_verify_directory": str(folder)},
        keep=COMPARISON,
        progress=progress,
    )
    rules = judge_rules((host for host in managed_hosts(policy) if host in plan.hosts), done.results)
    judgement = judge(plan, read_answers(folder, plan.hosts), rules)
    (folder / "judgement.json").write_text(canonical_json(as_json(judgement)), encoding="utf-8")
    return ProbeRun(judgement, folder)


def write_orders(plan: Plan, folder: Path) -> None:
    """Write each host's orders below the run's folder."""
    orders = folder / "orders"
    orders.mkdir(parents=True)
    for host, own in plan.hosts.items():
        (orders / f"{host}.json").write_text(canonical_json(own.orders), encoding="utf-8")


def write_rules(policy: Policy, folder: Path) -> None:
    """Write each managed host's rules, as this policy compiles them, below the run's folder."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    for host, text in rulesets(policy):
        (rules / f"{host}.nft").write_text(text, encoding="utf-8")


def read_answers(folder: Path, hosts: Collection[str]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Read what each host answered; a host without a file answered nothing."""
    answers: dict[str, dict[str, Mapping[str, Any]]] = {}
    for host in hosts:
        file = folder / f"{host}.json"
        if file.exists():
            actions = json.loads(file.read_text(encoding="utf-8"))["actions"]
            answers[host] = {action: entry["answer"] for action, entry in actions.items()}
    return answers


def _vantage(root: Path, policy: Policy, inventory: Path) -> frozenset[str]:
    """Hosts that the inventory can log in to."""
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "--inventory", inventory, "--list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg")},
    )
    if done.returncode != 0:
        raise InputError(
            f"the inventory {inventory} cannot be read:\n    {done.stderr.strip()}", "name another with --inventory"
        )
    groups = json.loads(done.stdout)
    named = {host for group in ("managed", "lab_outside") for host in groups.get(group, {}).get("hosts", ())}
    found = frozenset(policy.hosts) & named
    if not found:
        raise InputError(
            f"{inventory} has no host of this policy that can be logged in to", "name its own with --inventory"
        )
    return found
