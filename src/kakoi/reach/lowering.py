"""Rules lowered to entries: conditions become boxes, statements become actions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from kakoi.reach import dimensions as d
from kakoi.reach import syntax
from kakoi.reach.conditions import Condition, ConditionReader, Unclear, merge
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.fields import Field, field_of, is_transport_port
from kakoi.reach.intervals import EMPTY, IntervalSet
from kakoi.reach.names import CT_STATES
from kakoi.reach.program import (
    Accept,
    Action,
    Alias,
    Assign,
    Block,
    Call,
    Change,
    Entry,
    Final,
    Leave,
    Return,
    Translate,
)

_MOST_COMBINATIONS = 1_000_000
_IDENTITY = count()
_STATE = {state: IntervalSet.single(index) for index, state in enumerate(CT_STATES)}
_FAMILY_BOX: Mapping[str, Box] = {"ip": {d.FAMILY: d.IPV4}, "ip6": {d.FAMILY: d.IPV6}}
_REJECT_REQUIRES: Mapping[str, Box] = {
    "tcp reset": {d.PROTOCOL: IntervalSet.single(6)},
    "icmp": {d.FAMILY: d.IPV4},
    "icmpv6": {d.FAMILY: d.IPV6},
}
_VERDICT_ACTIONS: Mapping[str, Action] = {
    "accept": Accept(),
    "drop": Final("drop"),
    "return": Return(),
    "leave": Leave(),
}


class Lowering:
    """Lowers the chains of one ruleset; collects what could not be computed."""

    def __init__(self, ruleset: syntax.Ruleset) -> None:
        self.unknown: list[syntax.UnknownConstruct] = list(ruleset.unknown)
        self._identity = next(_IDENTITY)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._readers = {
            (table.family, table.name): ConditionReader(table.sets, f"{table.family} {table.name}")
            for table in ruleset.tables
        }

    def chain(self, chain: syntax.Chain) -> Block:
        """All rules of a chain as one block."""
        entries: list[Entry] = []
        for number, rule in enumerate(chain.rules):
            entries.extend(_RuleLowering(self, self._readers[chain.family, chain.table], rule, number).entries())
        return Block(tuple(entries), chain.name)

    def occurrence(self, rule: syntax.Rule, text: str, *, opaque: bool) -> str:
        """A name for one use of something unclear: the same in two rulesets only where the whole rule is the same."""
        key = (f"{rule.family} {rule.table} {rule.text}", text)
        self._seen[key] += 1
        ruleset = f" of ruleset {self._identity}" if opaque else ""
        return f"{text} in [{key[0]}] #{self._seen[key]}{ruleset}"


class _RuleLowering:
    def __init__(self, lowering: Lowering, reader: ConditionReader, rule: syntax.Rule, number: int) -> None:
        self._lowering = lowering
        self._reader = reader
        self._rule = rule
        self._number = number

    def entries(self) -> list[Entry]:
        path = _Path(_FAMILY_BOX.get(self._rule.family, {}))
        return list(self._walk(self._rule.statements, path))

    def _walk(  # noqa: C901, PLR0911, PLR0912 - one line for each kind
        self, statements: Sequence[syntax.Statement], path: "_Path"
    ) -> Iterator[Entry]:
        for position, statement in enumerate(statements):
            rest = statements[position + 1 :]
            match statement:
                case syntax.Match():
                    path.add(self._condition(statement))
                case syntax.Uncertain():
                    yield from self._uncertain(statement, path)
                    if "next" not in statement.outcomes:
                        return
                case syntax.SetUpdate(_, _, text):
                    path.require({self._unclear(text): d.ONE})
                case syntax.Passive():
                    pass
                case syntax.Verdict(kind, target):
                    yield from self._emit(path, self._verdict(kind, target))
                    return
                case syntax.Reject():
                    yield from self._reject(statement, path)
                    return
                case syntax.VerdictMap():
                    yield from self._verdict_map(statement, path)
                    return
                case syntax.NoTrack():
                    untracked = Assign({d.CT_STATE: _STATE["untracked"]}, self._rest(rest))
                    yield from self._emit(path.restricted({d.CT_STATE: _STATE["invalid"]}), untracked)
                    path.require({d.CT_STATE: _STATE["invalid"].complement(d.CT_STATE.maximum)})
                case syntax.Assignment():
                    yield from self._assignment(statement, path, rest)
                    return
                case syntax.Translation():
                    yield from self._translation(statement, path)
                    return
            if path.impossible:
                return

    def _rest(self, statements: Sequence[syntax.Statement]) -> Block:
        return Block(tuple(self._walk(statements, _Path({}))))

    def _emit(self, path: "_Path", action: Action) -> Iterator[Entry]:
        for box in path.exclusions():
            yield Entry(box, Leave(), self._rule, self._number)
        for box in path.boxes():
            yield Entry(box, action, self._rule, self._number)

    def _reject(self, statement: syntax.Reject, path: "_Path") -> Iterator[Entry]:
        path.require(_REJECT_REQUIRES.get(statement.kind, {}))
        path.require(_FAMILY_BOX.get(statement.family, {}))
        if statement.kind != "tcp reset" or statement.family or path.one_family:
            yield from self._emit(path, Final("reject"))
            return
        text = "reject with tcp reset"
        self._note(text, "nft does not list whether the rule matches one address family only")
        families = d.hidden(self._lowering.occurrence(self._rule, f"family of {text}", opaque=False), 2)
        for low, high, box in ((0, 1, {}), (2, 2, _FAMILY_BOX["ip"]), (3, 3, _FAMILY_BOX["ip6"])):
            yield from self._emit(path.restricted({families: IntervalSet.single(low, high), **box}), Final("reject"))

    def _verdict(self, kind: str, target: str) -> Action:
        if kind in {"jump", "goto"}:
            return Call((self._rule.family, self._rule.table, target), last=kind == "goto")
        return _VERDICT_ACTIONS["leave" if kind == "continue" else kind]

    def _note(self, text: str, effect: str) -> None:
        rule = self._rule
        self._lowering.unknown.append(
            syntax.UnknownConstruct(rule.family, rule.table, rule.chain, rule.handle, text, effect)
        )

    def _unclear(self, text: str, *, opaque: bool = False) -> Dimension:
        return d.chance(self._lowering.occurrence(self._rule, text, opaque=opaque))

    def _condition(self, match: syntax.Match) -> Condition:
        try:
            condition = self._reader.match(match)
            if any(of.hidden for box in (condition.requires, *condition.boxes) for of in box):
                self._note(match.text, "reads what no packet description tells: any value is reckoned with")
            return condition  # noqa: TRY300 - the one way out that is not an exception
        except Unclear as unclear:
            self._note(match.text, "may match or not")
            return Condition(({self._unclear(match.text): d.ONE},), requires=unclear.requires)

    def _uncertain(self, statement: syntax.Uncertain, path: "_Path") -> Iterator[Entry]:
        choice = d.chance(self._lowering.occurrence(self._rule, statement.text, opaque=statement.opaque), 3)
        outcomes = statement.outcomes
        for index, outcome in enumerate(outcomes):
            last = (
                d.everything(choice)
                if len(outcomes) == 1
                else IntervalSet.single(index, choice.maximum if index == len(outcomes) - 1 else index)
            )
            if outcome != "next":
                yield from self._emit(path.restricted({choice: last}), _VERDICT_ACTIONS[outcome])
        if "next" in outcomes:
            at = outcomes.index("next")
            path.require({choice: IntervalSet.single(at, choice.maximum if at == len(outcomes) - 1 else at)})

    def _verdict_map(self, statement: syntax.VerdictMap, path: "_Path") -> Iterator[Entry]:
        try:
            elements = list(self._reader.map_elements(statement.key, statement.data))
            if not all(isinstance(value, syntax.Verdict) for _, value in elements):
                raise Unclear({})  # noqa: TRY301 - the same fallback
        except Unclear as unclear:
            self._note(statement.text, "may do anything")
            path.require(unclear.requires)
            yield from self._any_verdict(statement, path)
            return
        catch_all = self._reader.has_catch_all(statement.data)
        for boxes, value in elements:
            if not isinstance(value, syntax.Verdict):
                continue
            action = self._verdict(value.kind, value.target)
            for box in boxes:
                yield from self._emit(path.restricted(box), action)
                if catch_all and isinstance(action, Call):
                    yield from self._emit(path.restricted(box), Leave())

    def _any_verdict(self, statement: syntax.VerdictMap, path: "_Path") -> Iterator[Entry]:
        """A map whose members nobody knows: no member, accept, drop, or any verdict it is seen to hold."""
        self_text = statement.text
        verdicts = [
            syntax.Verdict("continue"),
            syntax.Verdict("accept"),
            syntax.Verdict("drop"),
            *self._reader.verdicts(statement.data),
        ]
        verdicts = list(dict.fromkeys(verdicts))
        choice = d.chance(self._lowering.occurrence(self._rule, self_text, opaque=False), 16)
        for index, verdict in enumerate(verdicts):
            last = choice.maximum if index == len(verdicts) - 1 else index
            yield from self._emit(
                path.restricted({choice: IntervalSet.single(index, last)}), self._verdict(verdict.kind, verdict.target)
            )

    def _assignment(
        self, statement: syntax.Assignment, path: "_Path", rest: Sequence[syntax.Statement]
    ) -> Iterator[Entry]:
        target = statement.target
        if not isinstance(target, syntax.Selector) or is_transport_port(target):
            self._note(statement.text, "sets something that later rules may read")
            yield from self._walk(rest, path)
            return
        field = field_of(target)
        path.require(_read_requirements(statement.value))
        after = self._rest(rest)
        if target.kind == "ct":
            absent = field.requires.get(d.CT_STATE, EMPTY).complement(d.CT_STATE.maximum)
            yield from self._emit(path.restricted({d.CT_STATE: absent}), Assign({}, after))
        path.require({of: values for of, values in field.requires.items() if not of.hidden})
        for box, changes in self._changes(field, statement.value, statement.text):
            yield from self._emit(path.restricted(box), Assign(changes, after))

    def _changes(
        self, field: Field, value: syntax.Expression, text: str
    ) -> Iterator[tuple[Box, Mapping[Dimension, Change]]]:
        """What an assignment writes, and for which packets: one alternative for each element of a map."""
        if isinstance(value, syntax.MapLookup):
            try:
                elements = list(self._reader.map_elements(value.key, value.data))
            except Unclear as unclear:
                self._note(text, "may write any value, or nothing")
                yield {**unclear.requires, self._unclear(text): d.ONE}, _unknown(field, text)
                return
            for boxes, data in elements:
                changes = None if isinstance(data, syntax.Verdict) else self._value(field, data)
                for box in boxes:
                    yield box, changes if changes is not None else _unknown(field, text)
            return
        changes = self._value(field, value)
        if changes is None:
            self._note(text, "may write any value")
        yield {}, changes if changes is not None else _unknown(field, text)

    def _value(self, field: Field, value: syntax.Expression) -> Mapping[Dimension, Change] | None:
        if len(field.parts) > 1:
            bits = _bits(field, value)
            return None if bits is None else dict(zip(field.parts, bits, strict=True))
        found = self._reader.values(field, value)
        return {field.parts[0]: found} if found else None

    def _translation(self, statement: syntax.Translation, path: "_Path") -> Iterator[Entry]:
        rule = self._rule
        family = statement.family or (rule.family if rule.family in {"ip", "ip6"} else "")
        path.require(_FAMILY_BOX.get(family, {}))
        source = statement.kind in {"snat", "masquerade"}
        families = [family] if family else ["ip", "ip6"]
        for each in families:
            version = 4 if each == "ip" else 6
            address = d.ADDRESSES[version][0 if source else 1]
            within = path.restricted(_FAMILY_BOX[each])
            if statement.kind == "redirect":
                yield from self._redirect(statement, within, address)
                continue
            yield from self._translated(statement, within, address, source=source)

    def _redirect(self, statement: syntax.Translation, path: "_Path", address: Dimension) -> Iterator[Entry]:
        """The packet becomes one for this host itself: no longer one to forward."""
        changes: dict[Dimension, Change] = {address: IntervalSet.single(0, address.maximum)}
        if statement.port is not None:
            path.require({d.PROTOCOL: d.PORT_PROTOCOLS})
            changes[d.DPORT] = self._ports(statement.port)
        yield from self._emit(path, Translate({**changes, LOCAL: d.ONE}))

    def _translated(
        self, statement: syntax.Translation, path: "_Path", address: Dimension, *, source: bool
    ) -> Iterator[Entry]:
        port = d.SPORT if source else d.DPORT
        base: dict[Dimension, Change] = {CT_STATUS_OF[source]: d.ONE}
        if source:
            base[port] = IntervalSet.single(0, port.maximum)
        if statement.port is not None:
            base[port] = self._ports(statement.port)
        if isinstance(statement.address, syntax.MapLookup):
            yield from self._translated_by_map(
                statement, statement.address, path, address=address, port=port, base=base
            )
            return
        if statement.address is None and statement.kind == "dnat":
            yield from self._emit_translation(path, base)
            return
        field = Field((address,), _ADDRESS_CONSTANT[address])
        found = None if statement.address is None else self._reader.values(field, statement.address)
        if found is None and statement.kind != "masquerade":
            self._note(statement.text, "may translate to any address")
        changes = {**base, address: found or IntervalSet.single(0, address.maximum)}
        if found is None and statement.port is not None and isinstance(statement.port, syntax.Unreadable):
            changes[port] = IntervalSet.single(0, port.maximum)
        yield from self._emit_translation(path, changes)

    def _translated_by_map(
        self,
        statement: syntax.Translation,
        lookup: syntax.MapLookup,
        path: "_Path",
        *,
        address: Dimension,
        port: Dimension,
        base: Mapping[Dimension, Change],
    ) -> Iterator[Entry]:
        anything: dict[Dimension, Change] = {
            **base,
            address: IntervalSet.single(0, address.maximum),
            port: IntervalSet.single(0, port.maximum),
        }
        try:
            elements = list(self._reader.map_elements(lookup.key, lookup.data))
        except Unclear as unclear:
            self._note(statement.text, "may translate to any address, or not at all")
            yield from self._emit(
                path.restricted({**unclear.requires, self._unclear(statement.text): d.ONE}), Translate(anything)
            )
            return
        exact = "netmap" not in statement.flags
        fields = (Field((address,), _ADDRESS_CONSTANT[address]), Field((port,), _PORT_CONSTANT))
        for boxes, data in elements:
            parts = data.parts if isinstance(data, syntax.Concatenation) else (data,)
            found = [
                None if isinstance(part, syntax.Verdict) else self._reader.values(one, part)
                for one, part in zip(fields, parts, strict=False)
            ]
            changes = dict(anything)
            if all(found):
                changes = {
                    **base,
                    **{one.parts[0]: values for one, values in zip(fields, found, strict=False) if values},
                }
            elif exact:
                self._note(statement.text, "may translate to any address")
            for box in boxes:
                yield from self._emit_translation(path.restricted(box), changes)

    def _emit_translation(self, path: "_Path", changes: Mapping[Dimension, Change]) -> Iterator[Entry]:
        """A translation to what the packet has already sets no bit of ``ct status``."""
        rewritten = {of: change for of, change in changes.items() if of in d.HEADER and isinstance(change, IntervalSet)}
        status = {of: d.ZERO for of in changes if of in d.CT_STATUS}
        if all(change.size == 1 for change in rewritten.values()):
            yield from self._emit(path.restricted(rewritten), Translate({**changes, **status}))
            yield from self._emit(path, Translate(changes))
        else:
            yield from self._emit(path, Translate({**changes, **{of: d.everything(of) for of in status}}))

    def _ports(self, expression: syntax.Expression) -> IntervalSet:
        found = self._reader.values(Field((d.DPORT,), _PORT_CONSTANT), expression)
        return found or IntervalSet.single(0, d.DPORT.maximum)


LOCAL = d.hidden("the packet has become one for this host")
"""Set by ``redirect``: such a packet is not forwarded."""
CT_STATUS_OF = {False: d.CT_STATUS[5], True: d.CT_STATUS[4]}
"""The bit of ``ct status`` that destination (False) and source (True) translation sets."""
_ADDRESS_CONSTANT = {
    of: field_of(syntax.Selector("payload", scope, name, f"{scope} {name}")).constant
    for scope, name, of in (
        ("ip", "saddr", d.SADDR4),
        ("ip", "daddr", d.DADDR4),
        ("ip6", "saddr", d.SADDR6),
        ("ip6", "daddr", d.DADDR6),
    )
}
_PORT_CONSTANT = field_of(syntax.Selector("payload", "tcp", "dport", "tcp dport")).constant


def _unknown(field: Field, text: str) -> Mapping[Dimension, Change]:
    del text
    return {part: IntervalSet.single(0, part.maximum) for part in field.parts}


def _read_requirements(value: syntax.Expression) -> Box:
    """What must be there for a value to be read; a rule that cannot read it does not match."""
    match value:
        case syntax.Selector() if not is_transport_port(value):
            return field_of(value).requires
        case syntax.Binary(_, left, right):
            joined = merge(_read_requirements(left), _read_requirements(right))
            return {} if joined is None else joined
        case _:
            return {}


def _bits(field: Field, value: syntax.Expression) -> list[Change] | None:
    """A mark computed bit by bit: constants, the mark itself or the other mark, under and, or, xor."""
    match value:
        case syntax.Constant():
            found = field.constant(value.value)
            if found is None or found.size != 1:
                return None
            return [d.ONE if found.first >> bit & 1 else d.ZERO for bit in range(field.bits)]
        case syntax.Selector() if not is_transport_port(value):
            other = field_of(value)
            return [Alias(part) for part in other.parts] if len(other.parts) == field.bits else None
        case syntax.Binary("&" | "|" | "^" as operator, left, right):
            first, second = _bits(field, left), _bits(field, right)
            if first is None or second is None:
                return None
            bits = [_combine(operator, one, other) for one, other in zip(first, second, strict=True)]
            return [bit for bit in bits if bit is not None] if None not in bits else None
        case _:
            return None


def _combine(operator: str, one: Change, other: Change) -> Change | None:
    if isinstance(one, IntervalSet):
        one, other = other, one
    if not isinstance(other, IntervalSet):
        return None
    set_bit = other.first == 1
    if isinstance(one, IntervalSet):
        value = {"&": one.first & other.first, "|": one.first | other.first, "^": one.first ^ other.first}[operator]
        return d.ONE if value else d.ZERO
    match operator:
        case "&":
            return one if set_bit else d.ZERO
        case "|":
            return d.ONE if set_bit else one
        case _:
            return Alias(one.of, not one.flipped) if set_bit else one


class _Path:
    """The conditions a packet has met so far in one rule."""

    def __init__(self, box: Box) -> None:
        self._box: Box | None = box
        self._unions: list[tuple[Box, ...]] = []
        self._excluded: list[Box] = []

    @property
    def impossible(self) -> bool:
        return self._box is None

    @property
    def one_family(self) -> bool:
        """Whether the conditions leave one address family only."""
        families = None if self._box is None else self._box.get(d.FAMILY)
        return families is not None and families.size == 1

    def require(self, box: Box) -> None:
        if self._box is not None:
            self._box = merge(self._box, box)

    def add(self, condition: Condition) -> None:
        self.require(condition.requires)
        if condition.negated:
            self._exclude(condition.boxes)
        elif len(condition.boxes) == 1:
            self.require(condition.boxes[0])
        else:
            self._unions.append(condition.boxes)

    def _exclude(self, boxes: tuple[Box, ...]) -> None:
        dimensions = {of for box in boxes for of in box}
        if len(dimensions) == 1 and all(len(box) == 1 for box in boxes):
            (of,) = dimensions
            self.require({of: IntervalSet.of(pair for box in boxes for pair in box[of]).complement(of.maximum)})
        else:
            self._excluded.extend(boxes)

    def restricted(self, box: Box) -> "_Path":
        path = _Path({})
        path._box = None if self._box is None else merge(self._box, box)
        path._unions = list(self._unions)
        path._excluded = list(self._excluded)
        return path

    def boxes(self) -> list[Box]:
        found: list[Box] = [] if self._box is None or not all(self._box.values()) else [self._box]
        for union in self._unions:
            if len(found) * len(union) > _MOST_COMBINATIONS:
                raise OverflowError
            found = [both for box in found for extra in union if (both := merge(box, extra)) is not None]
        return found

    def exclusions(self) -> list[Box]:
        if not self._excluded or self._box is None or not all(self._box.values()):
            return []
        return [both for box in self._excluded if (both := merge(self._box, box)) is not None]
