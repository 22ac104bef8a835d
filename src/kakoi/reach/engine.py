"""What a whole ruleset does to every packet of a region: all hooks on the way, exactly.

A question is a region (a box) and a hook. The chains the packet meets are unrolled for that region only, into one list
of boxes with actions; then one dimension after the other is swept, which gives a diagram. Where a rule gives a field a
new value (a mark, NAT, notrack) the rest of the way is a question of its own, put in place afterwards.

The way of a packet (netfilter, as nftables drives it):

- ``input``: ingress, prerouting, input; ``forward``: ingress, prerouting, forward, postrouting, egress;
  ``output``: output, postrouting, egress.
- Chains of one hook run in the order of their priority; *accept* ends only its own chain, *drop* ends everything.
- Chains of type nat see only the first packet of a connection, at one fixed place for each hook, whatever their priority.
- Connection tracking looks at the packet at priority -200 of prerouting and output: before, every packet reads as
  ``ct state invalid``.
"""

import os
import sys
from bisect import insort
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

from kakoi.errors import InputError
from kakoi.reach import dimensions as d
from kakoi.reach import syntax
from kakoi.reach.diagram import BudgetExceededError, Diagrams, Node, pending_values
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.lowering import LOCAL, Lowering
from kakoi.reach.names import CT_STATES
from kakoi.reach.program import (
    Accept,
    Action,
    Alias,
    Assign,
    Base,
    BasePolicy,
    Block,
    Call,
    ChainKey,
    Change,
    Entry,
    Final,
    Group,
    Leave,
    Origin,
    Return,
    Track,
    Translate,
)

type Hook = Literal["input", "forward", "output"]
type Binding = IntervalSet | Alias
"""What a rule reads in a dimension now: a constant, or the value of a dimension."""
type Environment = Mapping[Dimension, Binding]

HOOKS: tuple[Hook, ...] = ("input", "forward", "output")
_WAYS: Mapping[Hook, tuple[str, ...]] = {
    "input": ("ingress", "prerouting", "input"),
    "forward": ("ingress", "prerouting", "forward", "postrouting", "egress"),
    "output": ("output", "postrouting", "egress"),
}
_TRACKING_PRIORITY = -200
_NAT_PRIORITY = {"prerouting": -100, "output": -100, "postrouting": 100, "input": 100}
_TRACKED_HOOKS = {"prerouting", "output"}
_DEEPEST_CALL = 64
_INVALID = IntervalSet.single(CT_STATES.index("invalid"))
_UNTRACKED = IntervalSet.single(CT_STATES.index("untracked"))
_NEW = IntervalSet.single(CT_STATES.index("new"))
_MAPPED_STATES = IntervalSet.single(CT_STATES.index("established"), CT_STATES.index("related"))
_RELATED = IntervalSet.single(CT_STATES.index("related"))
_NO_DEVICE = IntervalSet.single(0)

sys.setrecursionlimit(max(sys.getrecursionlimit(), 100_000))


def piece_budget() -> int:
    """How many pieces an answer may take before it is called unknown."""
    return int(os.environ.get("KAKOI_REACH_PIECES", "4000000"))


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet."""

    verdict: str
    """``accept``, ``drop`` or ``reject``."""
    translation: tuple[tuple[Dimension, IntervalSet], ...] = ()
    """Header fields that the accepted packet has anew, with the values they may have."""
    origin: int = 0
    """The place of the deciding rule in the engine's list of origins; 0 when it was not asked for."""


class CompiledRuleset:
    """A ruleset ready for questions. Make one and ask it many."""

    def __init__(self, ruleset: syntax.Ruleset) -> None:
        """Lower every chain.

        Raises:
            InputError: a jump leads to a chain that does not exist.
        """
        self.ruleset = ruleset
        lowering = Lowering(ruleset)
        self.blocks: dict[ChainKey, Block] = {
            (table.family, table.name, chain.name): lowering.chain(chain)
            for table in ruleset.tables
            for chain in table.chains.values()
        }
        self.assigned = {of for block in self.blocks.values() for of in _assigned_dimensions(block)}
        self.read = {d.CT_STATE, LOCAL, *d.HEADER}
        for block in self.blocks.values():
            self.read.update(_read_dimensions(block))
        self._ways: dict[Hook, Block] = {}
        self._check_calls()
        for hook in HOOKS:
            self._ways[hook] = self._way(hook, lowering.unknown)
        self.unknown = tuple(dict.fromkeys(lowering.unknown))

    def way(self, hook: Hook) -> Block:
        """The base chains that a packet of a hook meets, in order."""
        return self._ways[hook]

    def _check_calls(self) -> None:
        for key, block in self.blocks.items():
            for entry in block.entries:
                if isinstance(entry.action, Call) and entry.action.chain not in self.blocks:
                    raise InputError(
                        f"table {key[0]} {key[1]}, chain {key[2]}: jump to chain {entry.action.chain[2]!r}, which does not exist",
                        "give the whole output of: nft -j list ruleset",
                    )

    def _way(self, hook: Hook, unknown: list[syntax.UnknownConstruct]) -> Block:
        entries: list[Entry] = []

        def add(box: Box, action: Action, origin: Origin = None) -> None:
            entries.append(Entry(box, action, origin, len(entries)))

        translates = any(
            chain.base is not None and chain.base.type == "nat" and not table.dormant
            for table in self.ruleset.tables
            for chain in table.chains.values()
        )
        for step in _WAYS[hook]:
            chains = list(self._base_chains(step))
            steps: list[tuple[int, int, int, syntax.Chain | None]] = [
                (chain.base.priority, 1, index, chain)
                for index, chain in enumerate(chains)
                if chain.base is not None and chain.base.type != "nat"
            ]
            if step in _TRACKED_HOOKS:
                steps.append((_TRACKING_PRIORITY, 0, 0, None))
            if translates and step in _NAT_PRIORITY:
                steps.append((_NAT_PRIORITY[step], 0, 1, None))
            for _, _, kind, chain in sorted(steps, key=lambda one: one[:3]):
                if chain is not None:
                    self._add_base(entries, chain, unknown)
                elif kind == 0:
                    add({}, Track())
                else:
                    nat = [chain for chain in chains if chain.base is not None and chain.base.type == "nat"]
                    self._add_nat(entries, step, sorted(nat, key=_priority), unknown)
            if step == "prerouting" and hook == "forward":
                add({LOCAL: d.ONE}, Final("drop"))
        for chain in self._base_chains(None):
            self._add_bridge(entries, chain, unknown)
        return Block(tuple(entries), hook)

    def _base_chains(self, hook: str | None) -> Iterable[syntax.Chain]:
        """Base chains of a hook that see IP packets of this host; with ``None``, those of bridges."""
        for table in self.ruleset.tables:
            if table.dormant or table.family == "arp" or (table.family == "bridge") != (hook is None):
                continue
            for chain in table.chains.values():
                if chain.base is not None and (hook is None or chain.base.hook == hook):
                    yield chain

    def _add_base(self, entries: list[Entry], chain: syntax.Chain, unknown: list[syntax.UnknownConstruct]) -> None:
        base = chain.base
        assert base is not None  # noqa: S101
        key = (chain.family, chain.table, chain.name)
        if not self.blocks[key].entries and base.policy == "accept":
            return
        box: dict[Dimension, IntervalSet] = {}
        if chain.family in {"ip", "ip6"}:
            box[d.FAMILY] = d.IPV4 if chain.family == "ip" else d.IPV6
        if base.hook in {"ingress", "egress"}:
            of = d.IIF if base.hook == "ingress" else d.OIF
            if base.devices:
                box[of] = IntervalSet.of((number, number) for number in map(d.name_number, base.devices))
            else:
                box[d.hidden(f"device of {base.hook} chain {' '.join(key)}")] = d.ONE
                unknown.append(
                    syntax.UnknownConstruct(
                        *key, chain.handle, f"hook {base.hook}", "its device is not listed: any or none"
                    )
                )
        if self._dormant(chain) is None:
            box[d.hidden(f"table {chain.family} {chain.table} is awake")] = d.ONE
        policy = BasePolicy(*key, chain.handle, base.policy, base.hook, base.type)
        entries.append(Entry(box, Base(key, policy), policy, len(entries)))

    def _dormant(self, chain: syntax.Chain) -> bool | None:
        return next(
            table.dormant for table in self.ruleset.tables if (table.family, table.name) == (chain.family, chain.table)
        )

    def _add_nat(
        self, entries: list[Entry], hook: str, chains: list[syntax.Chain], unknown: list[syntax.UnknownConstruct]
    ) -> None:
        """The nat chains of one hook, for the first packet of a connection; what comes later follows its mapping."""
        group: list[Entry] = []
        for chain in chains:
            self._add_base(group, chain, unknown)
        consulted = d.hidden(f"nat chains of {hook} are consulted for a related connection")
        mapped = d.hidden(f"an earlier packet made a translation of this connection at {hook}")
        if group:
            block = Block(tuple(group), "nat")
            entries.append(Entry({d.CT_STATE: _NEW}, Group(block), None, len(entries)))
            entries.append(Entry({d.CT_STATE: _RELATED, consulted: d.ONE}, Group(block), None, len(entries)))
        rewritten = (d.DADDR4, d.DADDR6, d.DPORT) if hook in _TRACKED_HOOKS else (d.SADDR4, d.SADDR6, d.SPORT)
        changes: dict[Dimension, Change] = {of: d.everything(of) for of in rewritten}
        box = {d.CT_STATE: _MAPPED_STATES, mapped: d.ONE}
        entries.append(Entry(box, Assign(changes, Block(())), None, len(entries)))

    def _add_bridge(self, entries: list[Entry], chain: syntax.Chain, unknown: list[syntax.UnknownConstruct]) -> None:
        """A bridge's own chains may keep a frame from ever reaching the IP hooks; they let none through."""
        base = chain.base
        assert base is not None  # noqa: S101
        key = (chain.family, chain.table, chain.name)
        if not self.blocks[key].entries and base.policy == "accept":
            return
        effect = "frames of a bridge: may be dropped before the IP hooks see them"
        unknown.append(syntax.UnknownConstruct(*key, chain.handle, f"bridge hook {base.hook}", effect))
        policy = BasePolicy(*key, chain.handle, base.policy, base.hook, base.type)
        choice = d.hidden(f"bridge chain {' '.join(key)} drops the frame")
        entries.append(Entry({choice: d.ONE}, Final("drop"), policy, len(entries)))


def _priority(chain: syntax.Chain) -> int:
    return chain.base.priority if chain.base is not None else 0


def _read_dimensions(block: Block) -> Iterable[Dimension]:
    for entry in block.entries:
        yield from entry.box
        if isinstance(entry.action, Assign):
            yield from _read_dimensions(entry.action.rest)
            for change in entry.action.changes.values():
                if isinstance(change, Alias):
                    yield change.of


def _assigned_dimensions(block: Block) -> Iterable[Dimension]:
    for entry in block.entries:
        if isinstance(entry.action, (Assign, Translate)):
            yield from entry.action.changes
        if isinstance(entry.action, Assign):
            yield from _assigned_dimensions(entry.action.rest)


@final
@dataclass(frozen=True, slots=True)
class _Frame:
    """A place to go on from."""

    kind: Literal["way", "group", "base", "chain", "rest"]
    block: Block
    position: int
    policy: BasePolicy | None = None
    visit: int = 0


@final
@dataclass(frozen=True, slots=True)
class _Continuation:
    """The rest of a packet's way with fields that have new values."""

    frames: tuple[_Frame, ...]
    environment: tuple[tuple[Dimension, Binding], ...]
    accepted: "_Accepted"
    visits: tuple[tuple[Block, int], ...]


class _Accepted:
    """What let the packet through so far, and how much that says: the hook asked for before others, rules before policies."""

    __slots__ = ("origin", "weight")

    def __init__(self, origin: Origin = None, weight: int = 0) -> None:
        self.origin = origin
        self.weight = weight

    def then(self, origin: Origin, base: BasePolicy, hook: Hook) -> "_Accepted":
        """After one more base chain let it through."""
        main = base.hook == hook and base.type != "nat"
        weight = 1 + 2 * main + (not isinstance(origin, BasePolicy))
        return _Accepted(origin, weight) if weight >= self.weight else self


class _Label:
    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = -1


type _Step = Outcome | _Label | tuple[_Continuation, dict[Dimension, IntervalSet]]


class Question:
    """One region and one hook put to one ruleset; ``diagrams`` may be shared to compare answers."""

    def __init__(self, compiled: CompiledRuleset, hook: Hook, diagrams: Diagrams, *, traced: bool = False) -> None:
        self._compiled = compiled
        self.hook: Hook = hook
        self._diagrams = diagrams
        self.traced = traced
        self.origins: list[Origin] = [None]
        self._origin_numbers: dict[int, int] = {}
        self._outcomes: dict[Outcome, Outcome] = {}

    def answer(self, region: Box) -> Node:
        """The function from packets of the region to outcomes; outside of the region it means nothing.

        Raises:
            BudgetExceededError: it takes too many pieces.
        """
        environment: dict[Dimension, Binding] = {LOCAL: d.ZERO, d.CT_STATE: _INVALID}
        if self.hook == "input":
            environment[d.OIF] = _NO_DEVICE
        elif self.hook == "output":
            environment[d.IIF] = _NO_DEVICE
        start = (_Frame("way", self._compiled.way(self.hook), 0),)
        return self._function(_Continuation(start, tuple(environment.items()), _Accepted(), ()), region)

    def _function(self, continuation: _Continuation, region: Box) -> Node:
        unrolled = _Unrolling(self, self._compiled, continuation, region)
        unrolled.resume(continuation.frames)
        node, pending = _Sweep(self._diagrams, unrolled.program).result()
        if not pending:
            return node
        replacements: dict[Hashable, Node] = {
            key: self._function(following, within) for key, (following, within) in pending.items()
        }
        return self._diagrams.substitute(node, replacements)

    def outcome(self, verdict: str, translation: tuple[tuple[Dimension, IntervalSet], ...], origin: Origin) -> Outcome:
        """One outcome, with its origin only when origins were asked for."""
        number = 0
        if self.traced and origin is not None:
            number = self._origin_numbers.get(id(origin), 0)
            if not number:
                number = self._origin_numbers[id(origin)] = len(self.origins)
                self.origins.append(origin)
        outcome = Outcome(verdict, translation, number)
        return self._outcomes.setdefault(outcome, outcome)


@final
@dataclass(frozen=True, slots=True)
class _Scope:
    """Where the walk is: the packets it is about, the way back, and where verdicts lead."""

    region: dict[Dimension, IntervalSet]
    """The packets that can be here."""
    box: dict[Dimension, IntervalSet]
    """What that asks beyond the question's region."""
    frames: tuple[_Frame, ...]
    on_return: _Label | None = None
    on_accept: _Label | None = None

    def narrowed(self, asked: dict[Dimension, IntervalSet]) -> "_Scope":
        """Inside of an entry's box."""
        if not asked:
            return self
        return replace(self, region={**self.region, **asked}, box={**self.box, **asked})

    def at(self, block: Block, position: int) -> "_Scope":
        """The same walk, to be gone on with at another place of its block."""
        here = self.frames[-1]
        return replace(self, frames=(*self.frames[:-1], replace(here, block=block, position=position)))

    def inside(self, frame: _Frame) -> "_Scope":
        """One level deeper."""
        return replace(self, frames=(*self.frames, frame))


class _Unrolling:
    """Lists, for one region, every entry that a packet can meet, jumps opened, in the order of the walk."""

    def __init__(self, question: Question, compiled: CompiledRuleset, continuation: _Continuation, region: Box) -> None:
        self._question = question
        self._compiled = compiled
        self._environment = dict(continuation.environment)
        self._accepted = continuation.accepted
        self._visits = Counter(dict(continuation.visits))
        self._question_region = dict(region)
        self.program: list[tuple[dict[Dimension, IntervalSet], _Step]] = []
        self._budget = piece_budget()

    def resume(self, frames: tuple[_Frame, ...]) -> None:
        """Unroll from a place on to the end of the way."""
        self._frames(frames, 0, _Scope(self._question_region, {}, ()))
        self._append({}, self._question.outcome("accept", self._translation(), self._accepted.origin))

    def _translation(self) -> tuple[tuple[Dimension, IntervalSet], ...]:
        changed = []
        for of in d.HEADER:
            binding = self._environment.get(of)
            if isinstance(binding, IntervalSet):
                changed.append((of, binding))
            elif isinstance(binding, Alias):
                changed.append((of, self._question_region.get(binding.of, d.everything(of))))
        return tuple(changed)

    def _append(self, box: dict[Dimension, IntervalSet], step: _Step) -> None:
        if len(self.program) >= self._budget:
            raise BudgetExceededError(self._budget)
        self.program.append((box, step))

    def _continue(
        self, scope: _Scope, frames: tuple[_Frame, ...], environment: Environment, accepted: _Accepted
    ) -> None:
        """The packets of a scope go on by themselves, as a question of their own."""
        rest = _Continuation(frames, tuple(environment.items()), accepted, tuple(self._visits.items()))
        self._append(scope.box, (rest, scope.region))

    def _frames(self, frames: tuple[_Frame, ...], depth: int, outer: _Scope) -> None:
        """Go on at the innermost frame, then at each one around it."""
        frame = frames[depth]
        end = _Label()
        scope = outer.inside(frame)
        if frame.kind == "base":
            scope = replace(scope, on_accept=_Label(), on_return=end)
        elif frame.kind == "chain":
            scope = replace(scope, on_return=end)
        if depth + 1 < len(frames):
            self._frames(frames, depth + 1, scope)
        self._block(frame.block, frame.position, scope)
        end.position = len(self.program)
        if frame.kind == "base":
            self._policy(scope)

    def _policy(self, scope: _Scope) -> None:
        policy = scope.frames[-1].policy
        assert policy is not None  # noqa: S101 - every base frame has one
        if policy.policy == "drop":
            self._append(scope.box, self._question.outcome("drop", (), policy))
        else:
            self._accept(policy, scope)
        _required(scope.on_accept).position = len(self.program)

    def _accept(self, origin: Origin, scope: _Scope) -> None:
        """On to the next base chain; where origins were asked for, with a note of what let the packet through."""
        if not self._question.traced:
            self._append(scope.box, _required(scope.on_accept))
            return
        at = max(index for index, frame in enumerate(scope.frames) if frame.kind == "base")
        policy = scope.frames[at].policy
        assert policy is not None  # noqa: S101 - every base frame has one
        accepted = self._accepted.then(origin, policy, self._question.hook)
        self._continue(scope, scope.frames[:at], self._environment, accepted)

    def _block(self, block: Block, start: int, scope: _Scope) -> None:
        here = scope.frames[-1]
        if len(scope.frames) > _DEEPEST_CALL:
            raise InputError("jumps lead in a circle", "give a ruleset that the kernel accepts")
        rule = -1
        leave: _Label | None = None
        entries = block.entries
        candidates = (
            range(start, len(entries))
            if here.kind in {"way", "group"}
            else block.candidates(start, lambda of: self._bounds(of, scope.region))
        )
        for position in candidates:
            entry = entries[position]
            if entry.rule != rule:
                if leave is not None:
                    leave.position = len(self.program)
                    leave = None
                rule = entry.rule
            asked = self._narrow(entry.box, scope.region, here.visit)
            if asked is None:
                continue
            if isinstance(entry.action, Leave):
                leave = leave or _Label()
                self._append({**scope.box, **asked}, leave)
            elif isinstance(entry.action, Assign) and not self._kept(entry.action.changes):
                rest = entry.action.rest
                frame = _Frame("rest", rest, 0, visit=here.visit)
                self._block(rest, 0, scope.narrowed(asked).at(block, block.following(position)).inside(frame))
                leave = leave or _Label()
                self._append({**scope.box, **asked}, leave)
            else:
                self._act(entry, block, position, scope, asked)
        if leave is not None:
            leave.position = len(self.program)

    def _act(
        self, entry: Entry, block: Block, position: int, scope: _Scope, asked: dict[Dimension, IntervalSet]
    ) -> None:
        match entry.action:
            case Final(verdict):
                self._append({**scope.box, **asked}, self._question.outcome(verdict, (), entry.origin))
            case Return():
                self._append({**scope.box, **asked}, _required(scope.on_return))
            case Accept():
                self._accept(entry.origin, scope.narrowed(asked))
            case Track():
                if self._environment.get(d.CT_STATE) == _INVALID:
                    del self._environment[d.CT_STATE]
            case _:
                self._enter(entry, block, position, scope.narrowed(asked))

    def _enter(self, entry: Entry, block: Block, position: int, scope: _Scope) -> None:
        following = scope.at(block, block.following(position))
        match entry.action:
            case Call(chain, last):
                called = self._compiled.blocks[chain]
                end = _required(scope.on_return) if last else _Label()
                back = scope.at(block, len(block.entries)) if last else following
                inside = replace(back.inside(self._frame("chain", called)), on_return=end)
                self._block(called, 0, inside)
                if last:
                    self._append(scope.box, end)
                else:
                    end.position = len(self.program)
            case Base(chain, policy):
                called = self._compiled.blocks[chain]
                frame = replace(self._frame("base", called), policy=policy)
                inside = replace(following.inside(frame), on_return=_Label(), on_accept=_Label())
                self._block(called, 0, inside)
                _required(inside.on_return).position = len(self.program)
                self._policy(inside)
            case Group(inner):
                self._block(inner, 0, following.inside(_Frame("group", inner, 0)))
            case Assign(changes, rest):
                frame = _Frame("rest", rest, 0, visit=scope.frames[-1].visit)
                self._assign(entry, changes, following.inside(frame).frames, scope)
            case Translate(changes):
                frames = following.frames
                groups = [index for index, one in enumerate(frames) if one.kind == "group"]
                self._assign(entry, changes, frames[: groups[-1]] if groups else frames, scope)

    def _frame(self, kind: Literal["base", "chain"], block: Block) -> _Frame:
        """A call; a chain with chances in it counts its visits, for each visit has its own chances."""
        if not block.chancy:
            return _Frame(kind, block, 0)
        self._visits[block] += 1
        return _Frame(kind, block, 0, visit=self._visits[block])

    def _kept(self, changes: Mapping[Dimension, Change]) -> Mapping[Dimension, Change]:
        """The changes that some rule, or the answer, reads."""
        return {of: change for of, change in changes.items() if of in self._compiled.read}

    def _assign(
        self, entry: Entry, changes: Mapping[Dimension, Change], frames: tuple[_Frame, ...], scope: _Scope
    ) -> None:
        environment = dict(self._environment)
        region = dict(scope.region)
        for of, change in self._kept(changes).items():
            if isinstance(change, Alias):
                environment[of] = _resolved(self._environment, change)
            elif change.size == 1:
                environment[of] = change
            else:
                chosen = d.hidden(f"{of.name} as set by {_place(entry.origin)}", of.bits)
                while chosen in region:
                    chosen = d.hidden(f"{chosen.name} again", of.bits)
                environment[of] = Alias(chosen)
                region[chosen] = change
        self._continue(replace(scope, region=region), frames, environment, self._accepted)

    def _bounds(self, of: Dimension, region: Mapping[Dimension, IntervalSet]) -> tuple[int, int] | None:
        binding = self._environment.get(of)
        if isinstance(binding, IntervalSet):
            return (binding.first, binding.last)
        if binding is not None:
            if binding.flipped:
                return None
            of = binding.of
        values = region.get(of)
        return None if values is None else (values.first, values.last)

    def _narrow(
        self, box: Box, region: Mapping[Dimension, IntervalSet], visit: int
    ) -> dict[Dimension, IntervalSet] | None:
        """What an entry's box asks beyond the region; ``None`` when they do not meet."""
        asked: dict[Dimension, IntervalSet] = {}
        environment = self._environment
        for of, values in box.items():
            read = of
            binding = environment.get(of)
            if binding is not None:
                if isinstance(binding, IntervalSet):
                    if binding.first not in values:
                        return None
                    continue
                read, values = binding.of, values.complement(1) if binding.flipped else values  # noqa: PLW2901
            elif visit > 1 and of.notation == "chance":
                read = d.chance(f"{of.name} at visit {visit}", of.bits)
            known = asked.get(read) or region.get(read)
            if known is None:
                if values.starts[0] == 0 and values.ends[0] >= read.maximum:
                    continue
                asked[read] = values
                continue
            common = values.intersection(known)
            if common != known:
                asked[read] = common
        return asked if all(asked.values()) else None


def _required(label: _Label | None) -> _Label:
    assert label is not None, "a verdict outside of any base chain"  # noqa: S101 - the way's own blocks hold none
    return label


def _resolved(environment: Mapping[Dimension, Binding], change: Alias) -> Binding:
    current = environment.get(change.of)
    if current is None:
        return change
    if isinstance(current, IntervalSet):
        return IntervalSet.single(1 - current.first) if change.flipped else current
    return Alias(current.of, current.flipped != change.flipped)


def _place(origin: Origin) -> str:
    if origin is None:
        return "an earlier packet"
    return f"{origin.family} {origin.table} {origin.chain} {origin.handle} [{origin.text}]"


class _Sweep:
    """Turns an unrolled program into a diagram, one dimension after the other."""

    def __init__(self, diagrams: Diagrams, program: list[tuple[dict[Dimension, IntervalSet], _Step]]) -> None:
        self._diagrams = diagrams
        self._order = sorted({of for box, _ in program for of in box}, key=lambda of: of.order)
        index = {of: position for position, of in enumerate(self._order)}
        self._boxes: list[dict[int, IntervalSet]] = [
            {index[of]: values for of, values in box.items()} for box, _ in program
        ]
        self._last = [max(box, default=-1) for box in self._boxes]
        self._dimensions = [sorted(box) for box in self._boxes]
        self._targets: list[int] = []
        self._terminals: list[Node | None] = []
        self._pending: dict[int, tuple[_Continuation, dict[Dimension, IntervalSet]]] = {}
        self._memo: dict[tuple[int, tuple[int, ...]], Node] = {}
        for _, step in program:
            self._add_step(step)
        self._size = len(program)

    def _add_step(self, step: _Step) -> None:
        if isinstance(step, _Label):
            self._targets.append(step.position)
            self._terminals.append(None)
            return
        self._targets.append(-1)
        if isinstance(step, Outcome):
            self._terminals.append(self._diagrams.terminal(step))
        else:
            key = _Pending()
            self._pending[id(key)] = step
            self._terminals.append(self._diagrams.terminal(key, pending=True))

    def result(self) -> tuple[Node, dict["_Pending", tuple[_Continuation, dict[Dimension, IntervalSet]]]]:
        """The diagram, and what is still to be put into it."""
        node = self._build(self._settle(range(self._size), -1), -1)
        pending: dict[_Pending, tuple[_Continuation, dict[Dimension, IntervalSet]]] = {}
        for value in pending_values(node):
            if isinstance(value, _Pending):
                pending[value] = self._pending[id(value)]
        return node, pending

    def _settle(self, entries: Iterable[int], depth: int) -> tuple[int, ...]:
        """Leave out entries that no packet reaches, given that all dimensions up to ``depth`` hold."""
        kept: list[int] = []
        landings: set[int] = set()
        live = True
        last, targets = self._last, self._targets
        for entry in entries:
            if landings and not live:
                reached = [landing for landing in landings if landing <= entry]
                if reached:
                    live = True
                    landings.difference_update(reached)
            if not live:
                if not landings:
                    break
                continue
            kept.append(entry)
            target = targets[entry]
            if target >= 0:
                landings.add(target)
            if last[entry] <= depth:
                live = False
                landings = {landing for landing in landings if landing > entry}
        return tuple(kept)

    def _build(self, entries: tuple[int, ...], depth: int) -> Node:
        while self._last[entries[0]] <= depth:
            terminal = self._terminals[entries[0]]
            if terminal is not None:
                return terminal
            target = self._targets[entries[0]]
            entries = self._settle([entry for entry in entries if entry >= target], depth)
        at = self._next_dimension(entries, depth)
        key = (at, entries)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._cut(entries, at)
        return found

    def _next_dimension(self, entries: tuple[int, ...], depth: int) -> int:
        nearest = len(self._order)
        for entry in entries:
            if self._last[entry] <= depth:
                continue
            for at in self._dimensions[entry]:
                if at > depth:
                    nearest = min(nearest, at)
                    break
            if nearest == depth + 1:
                break
        return nearest

    def _cut(self, entries: tuple[int, ...], at: int) -> Node:
        of = self._order[at]
        boxes = self._boxes
        free: list[int] = []
        arriving: dict[int, list[int]] = {}
        leaving: dict[int, list[int]] = {}
        for entry in entries:
            values = boxes[entry].get(at)
            if values is None:
                free.append(entry)
                continue
            for low, high in zip(values.starts, values.ends, strict=True):
                arriving.setdefault(low, []).append(entry)
                leaving.setdefault(high + 1, []).append(entry)
        cuts = sorted({0, *arriving, *leaving})
        if cuts[-1] > of.maximum:
            cuts.pop()
        uppers = [cut - 1 for cut in cuts[1:]]
        uppers.append(of.maximum)
        children: list[Node] = []
        known: dict[tuple[int, ...], Node] = {}
        present: list[int] = []
        for cut in cuts:
            for entry in leaving.get(cut, ()):
                present.remove(entry)
            for entry in arriving.get(cut, ()):
                insort(present, entry)
            key = tuple(present)
            child = known.get(key)
            if child is None:
                child = known[key] = self._build(self._settle(sorted(present + free), at), at)
            children.append(child)
        return self._diagrams.inner(of, uppers, children)


class _Pending:
    """The name of something still to be put into a diagram."""

    __slots__ = ()
