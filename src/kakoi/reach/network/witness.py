"""One concrete packet for a delivery, the hooks it passes, and the rule that lets it through at each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kakoi.reach import dimensions as d
from kakoi.reach import syntax
from kakoi.reach.compiled import Hook
from kakoi.reach.conditions import ConditionReader, Unclear, merge
from kakoi.reach.decide import Decision, decide
from kakoi.reach.describe import describe
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.boxes import one_packet, point
from kakoi.reach.network.filters import MachineFilter
from kakoi.reach.network.model import Machine, NetworkModel
from kakoi.reach.network.travel import Delivery, Step
from kakoi.reach.program import Origin


@dataclass(frozen=True, slots=True)
class RulePlace:
    """The rule, or the policy of a chain, that decided."""

    family: str
    table: str
    chain: str
    handle: int | None
    text: str
    flow: str
    """The flow that the rule or its set element names in a comment; empty when none."""
    line: int | None
    """Line in the compiled file, for a machine that was only compiled."""
    element: str
    """The set element that matched; empty when the rule looks into no set."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "family": self.family,
            "table": self.table,
            "chain": self.chain,
            "handle": self.handle,
            "text": self.text,
            **({"element": self.element} if self.element else {}),
            **({"flow": self.flow} if self.flow else {}),
            **({"line": self.line} if self.line else {}),
        }


@dataclass(frozen=True, slots=True)
class Passed:
    """One hook on the way of a packet."""

    machine: str
    basis: str
    hook: Hook
    iif: str
    oif: str
    opened: bool
    """Its rules had to fail."""
    verdict: str
    rule: RulePlace | None
    """``None``: the machine has no rules, or they failed."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "host": self.machine,
            "basis": self.basis,
            "hook": self.hook,
            **({"iif": self.iif} if self.iif else {}),
            **({"oif": self.oif} if self.oif else {}),
            **({"failed": True} if self.opened else {}),
            "verdict": self.verdict,
            "rule": self.rule.as_json() if self.rule is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet and its way."""

    packet: Mapping[Dimension, int]
    """As it is sent."""
    arrives: Mapping[Dimension, int]
    """As it arrives; another only where it was translated."""
    wire: str
    """Where it is put on the network."""
    target: str
    path: tuple[Passed, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "packet": packet_json(self.packet),
            **({"arrives_as": packet_json(self.arrives)} if self.arrives != self.packet else {}),
            "wire": self.wire,
            "target": self.target,
            "path": [passed.as_json() for passed in self.path],
        }


def packet_json(packet: Mapping[Dimension, int]) -> dict[str, Any]:
    """A packet as ``{"family": "ip", "saddr": ..., "proto": "tcp", "dport": 22}``."""
    shown: dict[str, Any] = {}
    for key, values in describe(point(packet)).items():
        text = values if isinstance(values, str) else values[0].partition("-")[0]
        shown[key] = int(text) if key in {"sport", "dport", "type", "code"} else text
    return shown


def witness_of(
    model: NetworkModel, wire: str, delivery: Delivery, preferred: Mapping[Dimension, IntervalSet]
) -> Witness:
    """A concrete packet of a delivery, followed from where it starts."""
    steps = delivery.last.chain() if delivery.last is not None else ()
    packet = one_packet(delivery.box, preferred)
    arrives = packet
    packets: list[dict[Dimension, int]] = []
    for step in reversed(steps):
        if step.translation:
            changed = {of for of, _ in step.translation}
            kept = point({of: value for of, value in packet.items() if of not in changed})
            packet = one_packet(merge(step.before, kept) or step.before, preferred)
        packets.append(packet)
    packets.reverse()
    path = tuple(
        passed(model.machines[step.machine], step, before) for step, before in zip(steps, packets, strict=True)
    )
    return Witness(packet, arrives, wire, delivery.target, path)


def passed(machine: Machine, step: Step, packet: Mapping[Dimension, int]) -> Passed:
    """One hook with the rule that decided there."""
    if machine.rules is None or step.opened:
        return Passed(machine.name, machine.basis, step.hook, step.iif, step.oif, step.opened, "accept", None)
    decision = decide_at(machine, step.hook, step.iif, step.oif, point(packet))
    place = rule_place(machine, decision.origin, point(packet), step.iif, step.oif)
    return Passed(
        machine.name, machine.basis, step.hook, step.iif, step.oif, opened=False, verdict=decision.verdict, rule=place
    )


def decide_at(machine: Machine, hook: Hook, iif: str, oif: str, packet: Box, *, reply: bool = False) -> Decision:
    """What a machine's rules do with one packet at one hook."""
    asking = MachineFilter(machine)
    box = merge(asking.asked_box(hook, iif, oif, reply=reply), packet) or {}
    for source in asking.sources(iif) if iif else ():
        narrowed = merge(box, source)
        if narrowed is not None:
            box = narrowed
            break
    assert machine.rules is not None  # noqa: S101 - asked only then
    return decide(machine.rules, hook, box)


def rule_place(machine: Machine, origin: Origin, packet: Box, iif: str, oif: str) -> RulePlace | None:
    """Where a deciding rule stands, with the set element and the flow behind it."""
    if origin is None:
        return None
    if not isinstance(origin, syntax.Rule):
        line = _line_of_chain(machine.text, origin.chain)
        return RulePlace(origin.family, origin.table, origin.chain, None, origin.text, "", line, "")
    located = {d.IIF: IntervalSet.single(d.name_number(iif))} if iif else {}
    if oif:
        located[d.OIF] = IntervalSet.single(d.name_number(oif))
    element, comment, set_name = _element(machine, origin, {**packet, **located})
    line = _line_of_element(machine.text, set_name, element) if element else _line_of_rule(machine.text, origin)
    return RulePlace(
        origin.family, origin.table, origin.chain, origin.handle, origin.text, comment or origin.comment, line, element
    )


def _element(machine: Machine, rule: syntax.Rule, packet: Box) -> tuple[str, str, str]:
    """The element of a named set that the packet matched: its text, its comment, the set's name."""
    assert machine.rules is not None  # noqa: S101 - a rule came from there
    table = next(
        table for table in machine.rules.ruleset.tables if (table.family, table.name) == (rule.family, rule.table)
    )
    reader = ConditionReader(table.sets, table.name)
    for key, name in _lookups(rule):
        definition = table.sets.get(name)
        if definition is None:
            continue
        try:
            for fields in reader.fields(key):
                there: Box | None = packet
                for field in fields:
                    there = None if there is None else merge(there, field.requires)
                if there is None:
                    continue
                for element in definition.contents.elements:
                    for box in reader.members(fields, syntax.SetLiteral((element,))):
                        if merge(box, there) is not None:
                            return _written(element), getattr(element, "comment", ""), name
        except Unclear:
            continue
    return "", "", ""


def _lookups(rule: syntax.Rule) -> Iterator[tuple[syntax.Expression, str]]:
    for statement in rule.statements:
        if isinstance(statement, syntax.Match) and isinstance(statement.right, syntax.SetReference):
            yield statement.left, statement.right.name
        elif isinstance(statement, syntax.VerdictMap) and isinstance(statement.data, syntax.SetReference):
            yield statement.key, statement.data.name


def _written(expression: syntax.Expression) -> str:
    match expression:
        case syntax.Element(value):
            return _written(value)
        case syntax.Constant(value):
            return str(value)
        case syntax.Concatenation(parts):
            return " . ".join(_written(part) for part in parts)
        case syntax.Prefix(address, length):
            return f"{_written(address)}/{length}"
        case syntax.Range(low, high):
            return f"{_written(low)}-{_written(high)}"
        case _:
            return "*"


def _line_of_element(text: str, set_name: str, element: str) -> int | None:
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped == f"set {set_name} {{":
            inside = True
        elif inside and stripped.startswith(element):
            return number
        elif inside and stripped == "}" and line.startswith("\t}"):
            return None
    return None


def _line_of_rule(text: str, rule: syntax.Rule) -> int | None:
    wanted = rule.text.split(' comment "')[0].replace('"', "")
    for number, line in _chain_lines(text, rule.chain):
        if line.strip().replace('"', "").startswith(wanted):
            return number
    return _line_of_chain(text, rule.chain)


def _line_of_chain(text: str, chain: str) -> int | None:
    return next((number for number, _ in _chain_lines(text, chain)), None)


def _chain_lines(text: str, chain: str) -> Sequence[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() == f"chain {chain} {{":
            found.append((number, line))
        elif found:
            if line == "\t}":
                break
            found.append((number, line))
    return found
