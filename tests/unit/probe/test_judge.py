"""Every outcome beside every expectation: what may count as held, and what never may."""

from collections.abc import Callable
from typing import Any

import pytest

from kakoi.compile.truth import Cell
from kakoi.errors import ExitStatus
from kakoi.policy import Policy
from kakoi.policy.sets import managed_hosts
from kakoi.probe.judge import AttackVerdict, Judgement, PointVerdict, judge
from kakoi.probe.plan import Plan, plan_probe

type FindCase = Callable[..., Any]
type Judge = Callable[[], Judgement]
type Answers = dict[str, dict[str, dict[str, Any]]]
BLOCKED = ("public_web", "allowance_store", "postgresql")
OPEN = ("allowance_app", "allowance_store", "postgresql")
NO_ROUTE = ("screen_broker", "internet_server", "https")


def test_a_network_as_written_holds(judged: Judge) -> None:
    """Answers that match the policy in every view give exit status 0 and nothing unknown."""
    judgement = judged()
    assert judgement.exit_status == ExitStatus.HELD
    assert not any(judgement.count(view).unknown for view in ("cells", "points", "attacks", "names"))


@pytest.mark.parametrize(
    ("ends", "said", "target", "expected"),
    [
        (BLOCKED, ("filtered", "silence"), "stays away", ("held", "blocked")),
        (BLOCKED, ("filtered", "local_policy"), "stays away", ("held", "blocked")),
        (BLOCKED, ("filtered", "communication_prohibited from 192.0.2.1"), "stays away", ("held", "blocked")),
        (BLOCKED, ("refused", "reset"), "stays away", ("held", "blocked")),
        (BLOCKED, ("refused", "reset"), "arrives", ("mismatch", "arrived")),
        (BLOCKED, ("filtered", "silence"), "arrives", ("mismatch", "arrived")),
        (BLOCKED, ("open", "answered"), "arrives", ("mismatch", "open")),
        (BLOCKED, ("open", "answered"), "stays away", ("mismatch", "elsewhere")),
        (BLOCKED, ("probe_error", "controls_slow"), "stays away", ("unknown", "unknown")),
        (BLOCKED, ("probe_error", "control_silent"), "stays away", ("unknown", "unknown")),
        (BLOCKED, ("probe_error", "EADDRNOTAVAIL"), "arrives", ("mismatch", "arrived")),
        (BLOCKED, ("no_route", "no_route"), "stays away", ("mismatch", "no_route")),
        (BLOCKED, ("no_route", "neighbour_unresolved"), "stays away", ("unknown", "no_route")),
        (BLOCKED, ("no_route", "host_unreachable from 192.0.2.1"), "stays away", ("unknown", "no_route")),
        (OPEN, ("open", "answered"), "arrives", ("held", "open")),
        (OPEN, ("open", "answered"), "stays away", ("mismatch", "elsewhere")),
        (OPEN, ("filtered", "silence"), "stays away", ("mismatch", "blocked")),
        (OPEN, ("filtered", "silence"), "arrives", ("mismatch", "arrived")),
        (OPEN, ("refused", "reset"), "arrives", ("mismatch", "arrived")),
        (OPEN, ("refused", "reset"), "stays away", ("mismatch", "blocked")),
        (OPEN, ("probe_error", "controls_slow"), "stays away", ("unknown", "unknown")),
        (OPEN, ("probe_error", "control_silent"), "stays away", ("mismatch", "blocked")),
        (OPEN, ("no_route", "no_route"), "stays away", ("mismatch", "no_route")),
        (OPEN, ("no_route", "neighbour_unresolved"), "stays away", ("mismatch", "no_route")),
        (NO_ROUTE, ("no_route", "no_route"), "stays away", ("held", "no_route")),
        (NO_ROUTE, ("no_route", "unreachable_route"), "stays away", ("held", "no_route")),
        (NO_ROUTE, ("no_route", "neighbour_unresolved"), "stays away", ("mismatch", "no_route")),
        (NO_ROUTE, ("no_route", "network_unreachable from 10.20.0.1"), "stays away", ("mismatch", "no_route")),
        (NO_ROUTE, ("filtered", "silence"), "stays away", ("mismatch", "blocked")),
        (NO_ROUTE, ("refused", "reset"), "stays away", ("mismatch", "blocked")),
        (NO_ROUTE, ("open", "answered"), "arrives", ("mismatch", "open")),
        (NO_ROUTE, ("probe_error", "controls_slow"), "stays away", ("unknown", "unknown")),
    ],
)
def test_outcome_beside_expectation(
    case: FindCase, ends: tuple[str, str, str], said: tuple[str, str], target: str, expected: tuple[str, str]
) -> None:
    """Each outcome of the source, with and without an arrival at the target, gets one verdict."""
    spoilt = case(*ends)
    spoilt.answer(*said)
    spoilt.vanish()
    if target == "arrives":
        spoilt.arrive()
    assert spoilt.judged() == expected


def test_blocked_needs_a_control_at_the_source(case: FindCase) -> None:
    """A source that reached nothing it may reach proves no block."""
    spoilt = case(*BLOCKED)
    for tally in spoilt.answers["public_web"]["connect"]["controls"]:
        tally["answered"] = 0
    assert spoilt.judged() == ("unknown", "unknown")
    assert "public_web reached nothing" in spoilt.reason()


def test_a_control_of_the_other_family_does_not_count(case: FindCase, plan: Plan) -> None:
    """IPv6 controls say nothing about IPv4 silence."""
    spoilt = case(*BLOCKED)
    own = plan.hosts["public_web"]
    for position, tally in zip(
        own.controls.questions, spoilt.answers["public_web"]["connect"]["controls"], strict=False
    ):
        tally["answered"] = 0 if plan.questions[own.questions[position]].cell.family == "ipv4" else 30
    assert spoilt.judged()[0] == "unknown"
    assert case("public_web", "allowance_store", "postgresql", "ipv6").judged()[0] == "held"


def test_blocked_needs_somebody_who_reached_the_target(case: FindCase, plan: Plan) -> None:
    """A target that nobody who may could reach is not shown to be blocked: it may simply be dead."""
    spoilt = case(*BLOCKED)
    for number, question in enumerate(plan.questions):
        if question.cell.destination == "allowance_store" and question.cell.expected == "open":
            other = type(spoilt)(plan, spoilt.answers, number)
            other.answer("filtered", "silence")
            other.vanish()
    assert spoilt.judged() == ("unknown", "unknown")


def test_without_any_allowed_connection_the_next_hop_stands_in(case: FindCase) -> None:
    """A host that the policy allows nothing is proven alive by its gateway's answer on the wire, and only by that."""
    spoilt = case("resident_registry", "log_server", "ntp")
    assert spoilt.judged() == ("held", "blocked")
    for tally in spoilt.answers["resident_registry"]["connect"]["controls"]:
        tally["answered"] = 0
    assert spoilt.judged()[0] == "unknown"


@pytest.mark.parametrize("lost", ["raw_dropped", "blind"])
def test_an_observer_that_may_have_missed_something_proves_no_block(case: FindCase, lost: str) -> None:
    """Silence at a target counts only when nothing could arrive unseen."""
    spoilt = case(*BLOCKED)
    stop = spoilt.answers["allowance_store"]["stop"]
    if lost == "raw_dropped":
        stop["raw_dropped"] = 1
    else:
        stop["unavailable"].append(["tcp", "ipv4", 0, "not permitted"])
    assert spoilt.judged()[0] == "unknown"


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("ends", [BLOCKED, OPEN])
def test_a_host_that_was_not_reached_makes_its_cells_unknown(
    case: FindCase, ends: tuple[str, str, str], end: int
) -> None:
    """An unreachable host is never held, and named."""
    spoilt = case(*ends)
    spoilt.answer("filtered", "silence")
    spoilt.vanish()
    spoilt.answers[ends[end]] = {}
    assert spoilt.judged()[0] == "unknown"
    assert ends[end] in spoilt.reason()


def test_an_agent_that_failed_is_listed(judged: Judge, answers: Answers) -> None:
    """A host whose agent reports an error makes the run unknown and says why."""
    answers["groupware"]["stop"] = {"error": "the listening process is gone"}
    judgement = judged()
    assert judgement.exit_status == ExitStatus.UNKNOWN
    assert judgement.silent_hosts == {"groupware": "the listening process is gone"}


def test_missing_answers_are_not_read_as_the_next_ones(case: FindCase) -> None:
    """Fewer answers than questions are no answers."""
    spoilt = case(*BLOCKED)
    spoilt.answers["public_web"]["connect"]["answers"].pop()
    assert spoilt.judged()[0] == "unknown"


def test_one_mismatch_fails_the_run(case: FindCase, judged: Judge) -> None:
    """A single wrong cell gives exit status 1."""
    spoilt = case(*BLOCKED)
    spoilt.answer("open", "answered")
    spoilt.arrive()
    assert judged().exit_status == ExitStatus.FAILED


def test_a_run_without_any_answer_is_unknown(plan: Plan) -> None:
    """No answers at all never look like success."""
    judgement = judge(plan, {})
    assert judgement.exit_status == ExitStatus.UNKNOWN
    assert judgement.count("cells").held == 0


# ---------------------------------------------------------------------------------- enforcement points


def _point(judgement: Judgement, host: str, role: str, ends: tuple[str, str, str]) -> PointVerdict:
    return next(
        finding
        for finding in judgement.points
        if (finding.test.host, finding.test.role) == (host, role)
        and (
            finding.test.question.cell.source,
            finding.test.question.cell.destination,
            finding.test.question.cell.service,
        )
        == ends
    )


def _frame(judgement: Judgement, host: str, role: str) -> tuple[Any, ...]:
    test = _point(judgement, host, role, BLOCKED).test
    cell = test.question.cell
    return f"point{test.point}", cell.protocol, test.question.source_address, test.question.address, cell.port


def test_a_gateway_that_forwards_is_named(judged: Judge, answers: Answers) -> None:
    """A frame that comes out behind one gateway is that gateway's mismatch, even while the rest still holds."""
    kind, *ends, port = _frame(judged(), "core_gateway", "forward")
    answers["enclave_gateway"]["stop"]["frames"].append(["wire", kind, *ends, [[port, port]], 1])
    judgement = judged()
    assert _point(judgement, "core_gateway", "forward", BLOCKED).verdict == "mismatch"
    assert judgement.count("points").mismatch == 1
    assert judgement.count("cells").mismatch == 0
    assert judgement.exit_status == ExitStatus.FAILED


def test_an_input_filter_that_accepts_is_named(judged: Judge, answers: Answers) -> None:
    """A frame laid at a host's door and accepted is that host's mismatch."""
    kind, *ends, port = _frame(judged(), "allowance_store", "input")
    answers["allowance_store"]["stop"]["frames"].append(["accepted", kind, *ends, [[port, port]], 1])
    assert _point(judged(), "allowance_store", "input", BLOCKED).verdict == "mismatch"


def test_an_output_filter_that_lets_go_is_named(judged: Judge, answers: Answers) -> None:
    """A forbidden question that leaves its host is that host's mismatch."""
    _, *ends, port = _frame(judged(), "core_gateway", "forward")
    answers["public_web"]["stop"]["departures"].append([*ends, port, 1])
    assert _point(judged(), "public_web", "output", BLOCKED).verdict == "mismatch"


def test_a_frame_that_never_reached_its_enforcement_point_proves_nothing(judged: Judge, answers: Answers) -> None:
    """What was lost on the way was not filtered."""
    kind, *ends, port = _frame(judged(), "core_gateway", "forward")
    for row in answers["core_gateway"]["stop"]["frames"]:
        if row[:5] == ["wire", kind, *ends]:
            row[5] = [ports for ports in row[5] if ports != [port, port]]
    assert _point(judged(), "core_gateway", "forward", BLOCKED).verdict == "unknown"


@pytest.mark.parametrize("spoil", ["dropped", "blind", "gone"])
def test_closed_eyes_behind_a_gateway_prove_nothing(judged: Judge, answers: Answers, spoil: str) -> None:
    """An observer that lost frames, never saw its beacon, or is gone makes the point unknown."""
    stop = answers["enclave_gateway"]["stop"]
    if spoil == "dropped":
        stop["wire_dropped"] = 1
    elif spoil == "blind":
        stop["frames"] = [row for row in stop["frames"] if row[1] != "point19"]
    else:
        answers["enclave_gateway"]["stop"] = {"error": "gone"}
    assert _point(judged(), "core_gateway", "forward", BLOCKED).verdict == "unknown"


def test_an_output_filter_is_judged_only_by_eyes_that_saw_something_leave(judged: Judge, answers: Answers) -> None:
    """No departure at all, not even an allowed one, is a blind observer."""
    answers["public_web"]["stop"]["departures"] = []
    assert _point(judged(), "public_web", "output", BLOCKED).verdict == "unknown"


# --------------------------------------------------------------------------------------------- attacks


def _attack(judgement: Judgement, kind: str, attacker: str, store: str) -> AttackVerdict:
    return next(
        finding
        for finding in judgement.attacks
        if (finding.assault.kind, finding.assault.attacker, finding.assault.store) == (kind, attacker, store)
    )


@pytest.mark.parametrize("observer", ["wire", "accepted"])
def test_one_frame_at_a_store_is_a_mismatch(judged: Judge, answers: Answers, observer: str) -> None:
    """A single frame of an internet-facing host at a store fails the attack view and names the port."""
    assault = _attack(judged(), "attack", "public_web", "allowance_store").assault
    row = [observer, "attack", "udp", assault.source_address, assault.address, [[40000, 40000]], 1]
    answers["allowance_store"]["stop"]["frames"].append(row)
    finding = _attack(judged(), "attack", "public_web", "allowance_store")
    assert (finding.verdict, finding.reached) == ("mismatch", (("udp", 40000, 40000),))


def test_an_answer_from_a_store_is_a_mismatch(judged: Judge, answers: Answers) -> None:
    """A SYN-ACK that comes back to an attacker tells as much as an arrival."""
    answers["public_web"]["attack"]["assaults"][0]["answers"] = [["tcp", 5432, "open"]]
    assert judged().count("attacks").mismatch == 1


@pytest.mark.parametrize(
    "spoil",
    [
        {"sent": 10},
        {"lost": [["tcp", 1, 64]]},
        {"pulse": "link", "flow_error": "the allowed connection does not answer"},
        {"error": "cannot attack"},
    ],
)
def test_an_attack_that_may_have_been_lost_proves_nothing(
    judged: Judge, answers: Answers, spoil: dict[str, Any]
) -> None:
    """Frames that were not all sent, or lost, or whose control was silent, leave the attack unknown."""
    answers["public_web"]["attack"]["assaults"][0].update(spoil)
    judgement = judged()
    assert judgement.count("attacks").unknown == 1
    assert judgement.exit_status == ExitStatus.UNKNOWN


def test_a_store_that_did_not_see_its_allowed_client_proves_nothing(judged: Judge, answers: Answers) -> None:
    """Zero arrivals count only when frames that must be seen were seen, all of them."""
    stop = answers["allowance_store"]["stop"]
    for row in stop["frames"]:
        if row[1] == "client":
            row[6] -= 1
    assert _attack(judged(), "attack", "public_web", "allowance_store").verdict == "unknown"


# ------------------------------------------------------------------------------------- names, vantage


@pytest.mark.parametrize(
    ("addresses", "verdict"),
    [
        (["10.40.3.10", "fd6b:616b:6f69:43::10"], "held"),
        ([], "mismatch"),
        (["10.40.3.10"], "mismatch"),
        (["10.40.3.20", "fd6b:616b:6f69:43::10"], "mismatch"),
        (["10.40.3.10", "198.51.100.7", "fd6b:616b:6f69:43::10"], "mismatch"),
    ],
)
def test_a_name_holds_by_exactly_its_addresses(
    judged: Judge, answers: Answers, addresses: list[str], verdict: str
) -> None:
    """A name without an answer, with an address missing or with one too many does not hold."""
    answers["allowance_app"]["connect"]["names"]["allowance_store"] = {
        "addresses": addresses,
        "reason": "nothing found",
    }
    finding = next(
        finding
        for finding in judged().names
        if (finding.question.source, finding.question.name) == ("allowance_app", "allowance_store")
    )
    assert finding.verdict == verdict


def test_hosts_without_a_login_are_apart(policy: Policy, cells: tuple[Cell, ...], ideal: Callable[[Plan], Any]) -> None:
    """Cells of somebody else's hosts are unknown for that reason alone, and do not by themselves fail a run."""
    own = [host for host in managed_hosts(policy) if any(cell.source == host for cell in cells)]
    plan = plan_probe(policy, cells, own, "quick")
    judgement = judge(plan, ideal(plan))
    count = judgement.count("cells")
    assert count.unknown == count.no_vantage > 0
    assert judgement.exit_status == ExitStatus.HELD
