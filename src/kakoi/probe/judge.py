"""Answers beside the truth: what held, what did not, what nobody could find out. Pure.

The rules, each of them on the side of doubt:

- ``blocked`` holds only when the target saw nothing, and in the same run the source reached something it may reach and
  somebody who may reached the target. Where the policy allows a host nothing, its next hop's answer on the wire stands in.
- A reset or a port-unreachable is a filter's work only when the target, watched without loss, saw nothing arrive.
- Whatever arrived at a target has passed every filter, answered or not.
- ``no_route`` holds only where the compiled routes say that there is none, and only by the source's own kernel.
- A host that was not reached makes its cells unknown, never held. Only what nobody can ever ask from (a host of
  somebody else's, without login) is listed apart and does not by itself fail a run.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kakoi.errors import ExitStatus
from kakoi.policy.model import Family
from kakoi.probe.plan import BEACON_POINT, Assault, NameQuestion, Plan, PointTest, Question
from kakoi.probe.rules import RuleVerdict

type View = Literal["cells", "points", "attacks", "names", "rules"]
VIEWS: tuple[View, ...] = ("cells", "points", "attacks", "names", "rules")
type Verdict = Literal["held", "mismatch", "unknown"]
type Answers = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Host -> action (listen, connect, attack, stop) -> what its agent answered."""

NO_VANTAGE = "no_vantage"
"""Reason of everything that would need a login nobody has."""
_OWN_KERNEL = frozenset({"no_route", "blackhole_route", "unreachable_route"})
"""Reasons that only the source's own routing table gives."""


@dataclass(frozen=True, slots=True)
class CellVerdict:
    """One connection."""

    question: Question
    verdict: Verdict
    seen: str
    """open, elsewhere, arrived, blocked, no_route or unknown."""
    reason: str


@dataclass(frozen=True, slots=True)
class PointVerdict:
    """One cell at one enforcement point."""

    test: PointTest
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class AttackVerdict:
    """One assault on a store."""

    assault: Assault
    verdict: Verdict
    reason: str
    frames: int
    """Frames that were sent and shown not to be lost."""
    reached: tuple[tuple[str, int, int], ...] = ()
    """Protocol, first and last port of what reached where it must not."""


@dataclass(frozen=True, slots=True)
class NameVerdict:
    """One name on one host."""

    question: NameQuestion
    verdict: Verdict
    reason: str
    addresses: tuple[str, ...]


class Count(NamedTuple):
    """How many of each verdict; ``no_vantage`` is the part of the unknown that nobody can ask."""

    held: int
    mismatch: int
    unknown: int
    no_vantage: int


@dataclass(frozen=True)
class Judgement:
    """A whole run."""

    plan: Plan
    cells: tuple[CellVerdict, ...]
    points: tuple[PointVerdict, ...]
    attacks: tuple[AttackVerdict, ...]
    names: tuple[NameVerdict, ...]
    rules: tuple[RuleVerdict, ...]
    silent_hosts: Mapping[str, str] = field(default_factory=dict)
    """Hosts of the plan that gave no usable answer, and why."""

    def count(self, kind: View) -> Count:
        """Totals of one view."""
        verdicts: Counter[str] = Counter(entry.verdict for entry in getattr(self, kind))
        apart = sum(entry.verdict == "unknown" and entry.reason == NO_VANTAGE for entry in getattr(self, kind))
        return Count(verdicts["held"], verdicts["mismatch"], verdicts["unknown"], apart)

    @property
    def exit_status(self) -> ExitStatus:
        """1 with any mismatch; 3 when something that could be asked stayed unknown, or nothing was found out at all."""
        counts = [self.count(kind) for kind in VIEWS]
        if any(count.mismatch for count in counts):
            return ExitStatus.FAILED
        if any(count.unknown > count.no_vantage for count in counts) or not counts[0].held:
            return ExitStatus.UNKNOWN
        return ExitStatus.HELD


def judge(plan: Plan, answers: Answers, rules: tuple[RuleVerdict, ...] = ()) -> Judgement:
    """Put the answers of a run beside its plan, and the comparison of rules beside both."""
    evidence = {host: _Evidence(answers.get(host, {})) for host in plan.hosts}
    cells = _Cells(plan, evidence).verdicts()
    return Judgement(
        plan=plan,
        cells=cells,
        points=tuple(_judge_point(plan, evidence, test) for test in plan.points),
        attacks=tuple(_Attacks(plan, evidence).verdicts()),
        names=tuple(_judge_name(evidence, question) for question in plan.names),
        rules=rules,
        silent_hosts={host: found.trouble for host, found in evidence.items() if found.trouble},
    )


# ------------------------------------------------------------------------------------- what a host said


class _Evidence:
    """One host's answers, made ready for questions."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self.connect, self.attack, self._stop = (dict(answers.get(key, {})) for key in ("connect", "attack", "stop"))
        self.trouble = next(
            (
                str(answers.get(action, {}).get("error", f"no answer to {action}"))
                for action in ("listen", "connect", "stop")
                if action not in answers or "error" in answers[action]
            ),
            "",
        )
        self.watched = "arrivals" in self._stop
        self.arrivals = _opened(self._stop.get("arrivals", ()))
        self.departures = _opened(self._stop.get("departures", ()))
        self.ready = {
            (protocol, address, port)
            for key in ("bound", "service")
            for protocol, address, port in self._stop.get(key, ())
        }
        self.blind = {(protocol, address) for protocol, address, _, _ in self._stop.get("unavailable", ())}
        self.lossless = self.watched and not self._stop.get("raw_dropped")
        self.wire_lossless = self.watched and not self._stop.get("wire_dropped")
        self.departures_lossless = self.watched and not self._stop.get("departures_dropped")
        self.door_frames = int(self._stop.get("door_frames", 0))
        self._frames: dict[tuple[str, str, str, str, str], set[int]] = {}
        self._frame_counts: Counter[tuple[str, str, str, str, str]] = Counter()
        for observer, kind, protocol, source, target, ranges, count in self._stop.get("frames", ()):
            key = (observer, kind, protocol, source, target)
            self._frames[key] = {port for first, last in ranges for port in range(first, last + 1)}
            self._frame_counts[key] = count
        beacon = f"point{BEACON_POINT}"
        self.open_eyes = {key[4] for key in self._frames if key[:2] == ("wire", beacon)}
        """Own addresses on whose wires a frame that was laid there was seen."""

    def ports(self, observer: str, kind: str, protocol: str, source: str, target: str) -> set[int]:
        """Destination ports of frames of one kind that one observer saw."""
        return self._frames.get((observer, kind, protocol, source, target), set())

    def count(self, observer: str, kind: str, protocol: str, source: str, target: str) -> int:
        """How many frames of one kind one observer saw."""
        return self._frame_counts[observer, kind, protocol, source, target]

    def watches(self, protocol: str, family: Family) -> bool:
        """Whether nothing of this protocol could arrive unseen."""
        return self.lossless and (protocol, family) not in self.blind


def _opened(rows: Iterable[Sequence[Any]]) -> set[tuple[str, str, str, int]]:
    return {(protocol, source, target, port) for protocol, source, target, port, _ in rows}


# ----------------------------------------------------------------------------------------- connections


class _Cells:
    def __init__(self, plan: Plan, evidence: Mapping[str, _Evidence]) -> None:
        self._plan, self._evidence = plan, evidence
        self._outcomes: dict[int, tuple[str, str]] = {}
        for host, own in plan.hosts.items():
            rows = evidence[host].connect.get("answers", ())
            if len(rows) == len(own.questions):
                self._outcomes |= {
                    number: (str(row[0]), str(row[1])) for number, row in zip(own.questions, rows, strict=True)
                }
        self._arrived: dict[str, set[tuple[str, str, str, int]]] = {
            host: {
                (plan.owners.get(source, ""), protocol, target, port)
                for protocol, source, target, port in found.arrivals
            }
            for host, found in evidence.items()
        }
        self._reaching = {
            (host, family): self._reaches(host, family) for host in plan.hosts for family in ("ipv4", "ipv6")
        }
        self._reached = self._reached_targets()

    def verdicts(self) -> tuple[CellVerdict, ...]:
        return tuple(
            CellVerdict(question, *self._judge(number, question))
            for number, question in enumerate(self._plan.questions)
        )

    def _reaches(self, host: str, family: str) -> bool:
        """Whether a control of this source answered: one that the policy allows, or the next hop where it allows none."""
        own = self._plan.hosts[host]
        tallies = self._evidence[host].connect.get("controls", [])
        asked = [self._plan.questions[own.questions[position]].cell.family for position in own.controls.questions]
        asked += ["ipv6" if ":" in link else "ipv4" for link in self._evidence[host].connect.get("links", [])]
        return any(of == family and tally["answered"] > 0 for of, tally in zip(asked, tallies, strict=False))

    def _reached_targets(self) -> dict[tuple[str, str], bool]:
        """Per target and family: whether somebody who may was answered by it; without such a one, whether its wire is alive."""
        allowed: set[tuple[str, str]] = set()
        found: dict[tuple[str, str], bool] = defaultdict(bool)
        for number, question in enumerate(self._plan.questions):
            cell = question.cell
            if cell.expected != "open" or cell.source in self._plan.no_vantage:
                continue
            target = (cell.destination, cell.family)
            allowed.add(target)
            answered = self._outcomes.get(number, ("", ""))[0] == "open"
            found[target] = found[target] or (answered and self._has_arrived(question))
        for host, family in self._reaching:
            if (host, family) not in allowed:
                found[host, family] = self._reaching[host, family]
        return found

    def _has_arrived(self, question: Question) -> bool:
        cell = question.cell
        key = (cell.source, cell.protocol, question.address, cell.port or 0)
        return key in self._arrived.get(cell.destination, ())

    def _judge(self, number: int, question: Question) -> tuple[Verdict, str, str]:  # noqa: PLR0911 - one return for each rule
        cell = question.cell
        if cell.source in self._plan.no_vantage:
            return "unknown", "unknown", NO_VANTAGE
        if number not in self._outcomes:
            return "unknown", "unknown", f"{cell.source} gave no answer: {self._evidence[cell.source].trouble}"
        outcome, reason = self._outcomes[number]
        target = self._evidence.get(cell.destination)
        watched = target is not None and target.watches(cell.protocol, cell.family)
        if outcome == "open":
            if watched and not self._has_arrived(question):
                return "mismatch", "elsewhere", "answered by a machine that is not the target"
            return "held" if cell.expected == "open" else "mismatch", "open", reason
        if self._has_arrived(question):
            return "mismatch", "arrived", f"arrived at the target, but the source saw {outcome} ({reason})"
        if outcome == "probe_error":
            return self._judge_error(question, reason)
        if outcome == "no_route":
            return self._judge_no_route(question, reason)
        return self._judge_silence(question, outcome, reason)

    def _listening(self, question: Question) -> bool:
        """Whether something at the target would answer if it were asked."""
        cell, target = question.cell, self._evidence.get(question.cell.destination)
        if target is None or not target.watches(cell.protocol, cell.family):
            return False
        return cell.port is None or (cell.protocol, question.address, cell.port) in target.ready

    def _target_trouble(self, question: Question) -> str:
        cell = question.cell
        if cell.destination in self._plan.no_vantage:
            return NO_VANTAGE
        trouble = self._evidence[cell.destination].trouble
        return f"{cell.destination} could not be watched{f': {trouble}' if trouble else ''}"

    def _judge_error(self, question: Question, reason: str) -> tuple[Verdict, str, str]:
        if reason == "control_silent" and question.cell.expected == "open" and self._listening(question):
            return "mismatch", "blocked", "no answer, nor from anything else that the source may reach"
        return "unknown", "unknown", reason

    def _judge_no_route(self, question: Question, reason: str) -> tuple[Verdict, str, str]:
        expected = question.cell.expected
        if reason in _OWN_KERNEL:
            return "held" if expected == "no_route" else "mismatch", "no_route", reason
        if expected == "no_route":
            return "mismatch", "no_route", f"the source knows a way that the policy does not: {reason}"
        if expected == "open" and self._listening(question):
            return "mismatch", "no_route", reason
        return "unknown", "no_route", reason

    def _judge_silence(self, question: Question, outcome: str, reason: str) -> tuple[Verdict, str, str]:  # noqa: PLR0911 - one return for each rule
        cell = question.cell
        said = f"{outcome}: {reason}"
        if cell.expected == "no_route":
            return "mismatch", "blocked", f"the source knows a way that the policy does not ({said})"
        if cell.expected == "open":
            if self._listening(question):
                return "mismatch", "blocked", said
            return "unknown", "unknown", self._target_trouble(question)
        target = self._evidence.get(cell.destination)
        if target is None or not target.watches(cell.protocol, cell.family):
            return "unknown", "unknown", self._target_trouble(question)
        if not self._reaching[cell.source, cell.family]:
            return "unknown", "unknown", f"control failed: {cell.source} reached nothing that it may reach"
        if not self._reached[cell.destination, cell.family]:
            return "unknown", "unknown", f"control failed: nobody who may reached {cell.destination}"
        return "held", "blocked", said


# ---------------------------------------------------------------------------------- enforcement points


def _judge_point(plan: Plan, evidence: Mapping[str, _Evidence], test: PointTest) -> PointVerdict:
    verdict, reason = _watch_output(evidence, test) if test.role == "output" else _watch_passage(plan, evidence, test)
    return PointVerdict(test, verdict, reason)


def _watch_output(evidence: Mapping[str, _Evidence], test: PointTest) -> tuple[Verdict, str]:
    cell, found = test.question.cell, evidence.get(test.host)
    if found is None:
        return "unknown", NO_VANTAGE
    if not found.connect.get("answers"):
        return "unknown", f"{test.host} gave no answer: {found.trouble}"
    key = (cell.protocol, test.question.source_address, test.question.address, cell.port or 0)
    if key in found.departures:
        return "mismatch", "the host's own output filter let it out"
    if not found.departures_lossless:
        return "unknown", f"what left {test.host} was not seen completely"
    if not any((":" in source) == (cell.family == "ipv6") for _, source, _, _ in found.departures):
        return "unknown", f"nothing that {test.host} may send was seen leaving"
    return "held", ""


def _watch_passage(plan: Plan, evidence: Mapping[str, _Evidence], test: PointTest) -> tuple[Verdict, str]:  # noqa: PLR0911 - one return for each rule
    """Before a gateway or a target: the frame stood on its wire, and did not come out on the other side."""
    cell, found = test.question.cell, evidence.get(test.host)
    if found is None or test.injector is None or test.beyond in plan.no_vantage:
        return "unknown", NO_VANTAGE
    frame = (f"point{test.point}", cell.protocol, test.question.source_address, test.question.address)
    port = cell.port or 0
    if test.beyond is None:
        if port in found.ports("accepted", *frame):
            return "mismatch", "the host's own input filter accepted it"
        lossless = found.lossless
    else:
        behind = evidence[test.beyond]
        if port in behind.ports("wire", *frame):
            return "mismatch", f"the gateway forwarded it to {test.beyond}"
        lossless = behind.wire_lossless and test.beyond_address in behind.open_eyes
    if not found.watched:
        return "unknown", f"{test.host} could not be watched: {found.trouble}"
    if port not in found.ports("wire", *frame):
        return "unknown", f"the frame from {test.injector} did not reach {test.host}"
    if not lossless:
        return "unknown", f"what came out behind {test.host} was not seen completely"
    return "held", ""


# --------------------------------------------------------------------------------------------- attacks


class _Attacks:
    def __init__(self, plan: Plan, evidence: Mapping[str, _Evidence]) -> None:
        self._plan, self._evidence = plan, evidence
        self._answers = list(self._pair())
        self._controls = {
            (assault.store, assault.family): self._judge_client(assault, answer)
            for assault, answer in self._answers
            if assault.kind == "client"
        }
        self._door_frames: Counter[str] = Counter()
        for assault, answer in self._answers:
            if assault.kind == "door":
                self._door_frames[assault.store] += int(answer.get("sent", 0))

    def verdicts(self) -> Iterator[AttackVerdict]:
        for assault, answer in self._answers:
            if assault.kind == "client":
                yield self._controls[assault.store, assault.family]
            else:
                yield self._judge(assault, answer)

    def _pair(self) -> Iterator[tuple[Assault, Mapping[str, Any]]]:
        """Each assault with its answer: an agent answers in the order in which it was told."""
        turns: Counter[str] = Counter()
        for assault in self._plan.assaults:
            rows = self._evidence[assault.host].attack.get("assaults", [])
            place = turns[assault.host]
            turns[assault.host] += 1
            yield assault, rows[place] if place < len(rows) else {"error": f"{assault.host} gave no answer"}

    def _judge_client(self, assault: Assault, answer: Mapping[str, Any]) -> AttackVerdict:
        """The store's eyes: frames that must be seen were seen, all of them, and answered where they may be."""
        found = self._evidence[assault.store]
        sent = int(answer.get("sent", 0))
        key = ("client", "tcp", assault.source_address, assault.address)
        trouble = str(answer.get("error", ""))
        if not trouble and not found.watched:
            trouble = f"{assault.store} could not be watched: {found.trouble}"
        if not trouble and found.count("wire", *key) < sent:
            trouble = f"of {sent} frames {found.count('wire', *key)} were seen on the wire"
        if not trouble and assault.allowed and found.count("accepted", *key) < sent:
            trouble = f"of {sent} allowed frames {found.count('accepted', *key)} were accepted"
        if not trouble and assault.allowed and not any(row[2] == "open" for row in answer.get("answers", ())):
            trouble = "an allowed connection was not answered"
        return AttackVerdict(assault, "unknown" if trouble else "held", trouble, sent)

    def _judge(self, assault: Assault, answer: Mapping[str, Any]) -> AttackVerdict:
        reached = self._reached(assault, answer)
        sent = int(answer.get("sent", 0))
        if reached:
            where = "the store's input filter accepted them" if assault.kind == "door" else self._depth(assault)
            return AttackVerdict(assault, "mismatch", where, sent, reached)
        trouble = self._trouble(assault, answer, sent)
        return AttackVerdict(assault, "unknown" if trouble else "held", trouble, sent)

    def _trouble(self, assault: Assault, answer: Mapping[str, Any], sent: int) -> str:  # noqa: PLR0911 - one return for each rule
        """Why nothing arriving proves nothing; empty when it proves that the way is closed."""
        found = self._evidence[assault.store]
        wanted = 2 * sum(last - first + 1 for first, last in assault.ports)
        control = self._controls.get((assault.store, assault.family))
        if "error" in answer:
            return str(answer["error"])
        if not found.watched:
            return f"{assault.store} could not be watched: {found.trouble}"
        if control is None or control.verdict != "held":
            return f"control failed: {control.reason if control else 'nobody could show that the store is watching'}"
        if sent != wanted or answer.get("lost"):
            return f"of {wanted} frames {sent} were sent, with {len(answer.get('lost', ()))} stretches lost"
        if assault.control is not None and answer.get("pulse") != "flow":
            return f"control failed: {answer.get('flow_error', '')}"
        if assault.kind == "door" and found.door_frames < self._door_frames[assault.store]:
            return f"of {self._door_frames[assault.store]} frames {found.door_frames} reached the store's wire"
        watched = found.lossless and (assault.kind == "door" or found.wire_lossless)
        return "" if watched else "the store did not see everything"

    def _reached(self, assault: Assault, answer: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
        found = self._evidence[assault.store]
        observers = ("accepted",) if assault.kind == "door" or assault.same_wire else ("wire", "accepted")
        ports: set[tuple[str, int]] = {
            (str(row[0]), int(row[1])) for row in answer.get("answers", ()) if row[2] == "open"
        }
        for protocol in ("tcp", "udp"):
            for observer in observers:
                key = (observer, assault.kind, protocol, assault.source_address, assault.address)
                ports |= {(protocol, port) for port in found.ports(*key)}
        return _as_ranges(ports - assault.allowed)

    def _depth(self, assault: Assault) -> str:
        found = self._evidence[assault.store]
        for protocol in ("tcp", "udp"):
            key = ("accepted", assault.kind, protocol, assault.source_address, assault.address)
            if found.ports(*key) - {port for name, port in assault.allowed if name == protocol}:
                return "they passed the gateways and the store's input filter accepted them"
        return "they passed the gateways and stood on the store's wire"


def _as_ranges(ports: set[tuple[str, int]]) -> tuple[tuple[str, int, int], ...]:
    ranges: list[tuple[str, int, int]] = []
    for protocol, port in sorted(ports):
        if ranges and ranges[-1][0] == protocol and ranges[-1][2] == port - 1:
            ranges[-1] = (protocol, ranges[-1][1], port)
        else:
            ranges.append((protocol, port, port))
    return tuple(ranges)


# ----------------------------------------------------------------------------------------------- names


def _judge_name(evidence: Mapping[str, _Evidence], question: NameQuestion) -> NameVerdict:
    found = evidence[question.source]
    answer = found.connect.get("names", {}).get(question.name)
    if answer is None:
        return NameVerdict(question, "unknown", f"{question.source} gave no answer: {found.trouble}", ())
    addresses = tuple(answer["addresses"])
    if not addresses:
        return NameVerdict(question, "mismatch", f"no_name: {answer['reason']}", ())
    elsewhere = set(addresses) - question.addresses
    if elsewhere:
        return NameVerdict(question, "mismatch", f"it leads to {', '.join(sorted(elsewhere))}", addresses)
    if question.exact and set(addresses) != question.addresses:
        missing = ", ".join(sorted(question.addresses - set(addresses)))
        return NameVerdict(question, "mismatch", f"it does not lead to {missing}", addresses)
    return NameVerdict(question, "held", "", addresses)
