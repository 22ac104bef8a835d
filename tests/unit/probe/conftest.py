"""A small policy for the probe's unit tests, and answers of a network in which everything holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kakoi.compile.truth import Cell, truth_table
from kakoi.policy import Policy, load_policy
from kakoi.probe.judge import Judgement, judge
from kakoi.probe.plan import BEACON_POINT, BEACON_PORT, Plan, plan_probe

POLICY = Path(__file__).parents[3] / "policy"


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The reference policy."""
    return load_policy(POLICY)


HOSTS = (
    "edge_gateway", "core_gateway", "enclave_gateway", "internet_server", "public_web", "groupware", "screen_broker",
    "resident_registry", "allowance_app", "allowance_store", "package_mirror", "log_server",
)  # fmt: skip
SERVICES = ("postgresql", "http", "https", "ntp")


@pytest.fixture(scope="session")
def cells(policy: Policy) -> tuple[Cell, ...]:
    """The part of the truth table between some hosts, for some services."""
    return tuple(
        cell
        for cell in truth_table(policy)
        if cell.source in HOSTS and cell.destination in HOSTS and cell.service in SERVICES
    )


@pytest.fixture(scope="session")
def plan(policy: Policy, cells: tuple[Cell, ...]) -> Plan:
    """A quick run from these hosts."""
    return plan_probe(policy, cells, HOSTS, "quick")


type Answers = dict[str, dict[str, dict[str, Any]]]


def ideal_answers(plan: Plan) -> Answers:
    """What agents answer where the network does exactly what the policy says."""
    answers: Answers = {host: {"listen": {}, "stop": _ideal_stop(plan, host)} for host in plan.hosts}
    outcomes = {
        "open": ["open", "answered", 1],
        "blocked": ["filtered", "silence", 3400],
        "no_route": ["no_route", "no_route", 0],
    }
    for host, own in plan.hosts.items():
        controls = [
            {"asked": 30, "answered": 30, "slowest_ms": 2} for _ in (*own.controls.questions, *own.controls.links)
        ]
        answers[host]["connect"] = {
            "answers": [list(outcomes[plan.questions[number].cell.expected]) for number in own.questions],
            "controls": controls,
            "links": list(own.controls.links),
            "names": {
                question.name: {"addresses": sorted(question.addresses), "reason": ""}
                for question in plan.names
                if question.source == host
            },
        }
        answers[host]["attack"] = {
            "assaults": [
                {
                    "sent": 20 if assault.kind == "client" else 2 * sum(b - a + 1 for a, b in assault.ports),
                    "lost": [],
                    "pulse": "flow" if assault.control else "link",
                    "answers": [["tcp", assault.ports[0][0], "open"]] if assault.allowed else [],
                }
                for assault in plan.assaults
                if assault.host == host
            ]
        }
    return answers


def _ideal_stop(plan: Plan, host: str) -> dict[str, Any]:
    frames = merge_frames([*_point_frames(plan, host), *_beacons(plan, host), *_client_frames(plan, host)])
    return {
        "bound": plan.hosts[host].orders["listen"]["listeners"],
        "service": [],
        "unavailable": [],
        "arrivals": [list(row) for row in _openings(plan, host, "destination")],
        "departures": [list(row) for row in _openings(plan, host, "source")],
        "frames": frames,
        "door_frames": 10**9,
        "wire_dropped": 0,
        "raw_dropped": 0,
        "departures_dropped": 0,
    }


def _openings(plan: Plan, host: str, end: str) -> Iterator[tuple[str, str, str, int, int]]:
    for question in plan.questions:
        if question.cell.expected == "open" and getattr(question.cell, end) == host:
            yield question.cell.protocol, question.source_address, question.address, question.cell.port or 0, 1


def _point_frames(plan: Plan, host: str) -> Iterator[list[Any]]:
    for test in plan.points:
        if test.host == host and test.role != "output":
            cell, port = test.question.cell, test.question.cell.port or 0
            ends = (test.question.source_address, test.question.address)
            yield ["wire", f"point{test.point}", cell.protocol, *ends, [[port, port]], 1]


def _beacons(plan: Plan, host: str) -> Iterator[list[Any]]:
    own = {address for address, owner in plan.owners.items() if owner == host}
    for address in own:
        yield ["wire", f"point{BEACON_POINT}", "udp", "", address, [[BEACON_PORT, BEACON_PORT]], 3]


def _client_frames(plan: Plan, host: str) -> Iterator[list[Any]]:
    for assault in plan.assaults:
        if assault.kind == "client" and assault.store == host:
            for observer in ("wire", "accepted"):
                ends = (assault.source_address, assault.address)
                yield [observer, "client", "tcp", *ends, [list(ports) for ports in assault.ports], 20]


def merge_frames(rows: list[list[Any]]) -> list[list[Any]]:
    """One row for each key, as an agent reports them."""
    merged: dict[tuple[Any, ...], list[Any]] = {}
    for *key, ranges, count in rows:
        row = merged.setdefault(tuple(key), [*key, [], 0])
        row[5] += ranges
        row[6] += count
    return list(merged.values())


@pytest.fixture(scope="session")
def whole(policy: Policy) -> Plan:
    """The full run over the whole policy."""
    return plan_probe(policy, truth_table(policy), policy.hosts)


@pytest.fixture
def ideal() -> Callable[[Plan], Answers]:
    """Give answers in which everything of a plan holds."""
    return ideal_answers


@pytest.fixture
def answers(plan: Plan) -> Answers:
    """Answers in which everything holds, to be spoilt by a test."""
    return ideal_answers(plan)


class Case:
    """One cell of the reference policy that a test spoils."""

    def __init__(self, plan: Plan, answers: Answers, number: int) -> None:
        self.plan, self.answers, self.number = plan, answers, number
        self.question = plan.questions[number]
        self.cell = self.question.cell

    @property
    def key(self) -> list[Any]:
        """Protocol, source, destination and port, as observers write them."""
        return [self.cell.protocol, self.question.source_address, self.question.address, self.cell.port or 0]

    def answer(self, outcome: str, reason: str = "") -> None:
        """Let the source say this."""
        place = self.plan.hosts[self.cell.source].questions.index(self.number)
        self.answers[self.cell.source]["connect"]["answers"][place] = [outcome, reason, 1]

    def arrive(self) -> None:
        """Let the target see it."""
        self.answers[self.cell.destination]["stop"]["arrivals"].append([*self.key, 1])

    def vanish(self) -> None:
        """Let the target not see it."""
        stop = self.answers[self.cell.destination]["stop"]
        stop["arrivals"] = [row for row in stop["arrivals"] if row[:4] != self.key]

    def judged(self) -> tuple[str, str]:
        """Verdict and what was seen."""
        finding = judge(self.plan, self.answers).cells[self.number]
        return finding.verdict, finding.seen

    def reason(self) -> str:
        """Reason of the verdict."""
        return judge(self.plan, self.answers).cells[self.number].reason


@pytest.fixture
def case(plan: Plan, answers: Answers) -> Callable[..., Case]:
    """Find a cell by its source, destination, service and family."""

    def find(source: str, destination: str, service: str, family: str = "ipv4") -> Case:
        wanted = (source, destination, service, family)
        number = next(
            number
            for number, question in enumerate(plan.questions)
            if (question.cell.source, question.cell.destination, question.cell.service, question.cell.family) == wanted
        )
        return Case(plan, answers, number)

    return find


@pytest.fixture
def judged(plan: Plan, answers: Answers) -> Callable[[], Judgement]:
    """Judge the answers as the test left them."""
    return lambda: judge(plan, answers)
