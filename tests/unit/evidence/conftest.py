"""A run over the reference body, in which everything held or nobody answered."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kakoi.compile.truth import truth_table
from kakoi.evidence.folder import RunFacts
from kakoi.policy import Policy, load_policy
from kakoi.policy.sets import managed_hosts
from kakoi.probe.judge import AttackVerdict, CellVerdict, Judgement, NameVerdict, PointVerdict, judge
from kakoi.probe.plan import Plan, plan_probe
from kakoi.reach.network.proof import Proof, prove

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The reference body."""
    return load_policy(ROOT / "policy")


@pytest.fixture(scope="session")
def plan(policy: Policy) -> Plan:
    """What would be asked of it, from every host."""
    return plan_probe(policy, truth_table(policy), list(policy.hosts), "quick")


@pytest.fixture(scope="session")
def silent(plan: Plan) -> Judgement:
    """No host answered anything."""
    return judge(plan, {})


@pytest.fixture(scope="session")
def held(plan: Plan) -> Judgement:
    """Every question was answered as the policy says."""
    return Judgement(
        plan=plan,
        cells=tuple(CellVerdict(q, "held", q.cell.expected, "") for q in plan.questions),
        points=tuple(PointVerdict(test, "held", "") for test in plan.points),
        attacks=tuple(AttackVerdict(assault, "held", "", 4) for assault in plan.assaults),
        names=tuple(NameVerdict(question, "held", "", ()) for question in plan.names),
        rules=(),
    )


@pytest.fixture(scope="session")
def leaking(held: Judgement) -> Judgement:
    """One connection that must be blocked was open."""
    position = next(n for n, entry in enumerate(held.cells) if entry.question.cell.expected == "blocked")
    leak = replace(held.cells[position], verdict="mismatch", seen="open", reason="connected")
    return replace(held, cells=(*held.cells[:position], leak, *held.cells[position + 1 :]))


@pytest.fixture(scope="session")
def proof(policy: Policy) -> Proof:
    """Every guarantee of the reference body, over what it compiles to."""
    return prove(policy, margins=False)[0]


@pytest.fixture(scope="session")
def broken(proof: Proof) -> Proof:
    """One guarantee does not hold."""
    return replace(proof, verdicts=(replace(proof.verdicts[0], holds="no"), *proof.verdicts[1:]))


@pytest.fixture(scope="session")
def facts(policy: Policy) -> RunFacts:
    """A run on a fixed day."""
    return RunFacts(
        started=datetime(2026, 11, 23, 1, 0, tzinfo=UTC),
        finished=datetime(2026, 11, 23, 1, 2, tzinfo=UTC),
        place="lab kakoi",
        policy_sha256="0" * 64,
        hosts_expected=managed_hosts(policy),
        hosts_observed=managed_hosts(policy),
    )
