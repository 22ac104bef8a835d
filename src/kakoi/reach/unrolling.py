"""The part of a ruleset that a region of packets can meet, unrolled into one list.

Jumps are opened where they stand, for the packets that take them. Where a rule gives a field a new value (a mark, NAT,
notrack), the rest of the way becomes a ``Deferred`` question: what rules read from there on is no longer what arrived.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, final

from kakoi.errors import InputError
from kakoi.reach import dimensions as d
from kakoi.reach.compiled import CompiledRuleset, Hook
from kakoi.reach.diagram import BudgetExceededError
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.names import CT_STATES
from kakoi.reach.program import (
    Accept,
    Alias,
    Assign,
    Base,
    BasePolicy,
    Block,
    Call,
    Change,
    Entry,
    Final,
    Group,
    Leave,
    Origin,
    Return,
    Route,
    Track,
    Translate,
)
from kakoi.reach.sweep import Label, Program, Step, Unfinished

type Binding = IntervalSet | Alias
"""What a rule reads in a dimension now: a constant, or the value of a dimension."""
type Environment = Mapping[Dimension, Binding]
type Translation = tuple[tuple[Dimension, IntervalSet], ...]

INVALID = IntervalSet.single(CT_STATES.index("invalid"))
_DEEPEST_CALL = 64


class Asker(Protocol):
    """The question an unrolling works for."""

    hook: Hook
    traced: bool
    budget: int

    def outcome(self, verdict: str, translation: Translation, origin: Origin) -> Step:
        """The terminal for a verdict."""


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """A place to go on from."""

    kind: Literal["way", "group", "base", "chain", "rest"]
    block: Block
    position: int
    policy: BasePolicy | None = None
    visit: int = 0


@final
@dataclass(frozen=True, slots=True)
class Continuation:
    """The rest of a packet's way with fields that have new values."""

    frames: tuple[Frame, ...]
    environment: tuple[tuple[Dimension, Binding], ...]
    accepted: "Accepted"
    visits: tuple[tuple[Block, int], ...]


class Accepted:
    """What let the packet through so far, and how much that says: the hook asked for before others, rules before policies."""

    __slots__ = ("origin", "weight")

    def __init__(self, origin: Origin = None, weight: int = 0) -> None:
        self.origin = origin
        self.weight = weight

    def then(self, origin: Origin, base: BasePolicy, hook: Hook) -> "Accepted":
        """After one more base chain let it through."""
        main = base.hook == hook and base.type != "nat"
        weight = 1 + 2 * main + (not isinstance(origin, BasePolicy))
        return Accepted(origin, weight) if weight >= self.weight else self


@final
@dataclass(frozen=True, slots=True, eq=False)
class Deferred(Unfinished):
    """The rest of a packet's way as a question of its own, and the packets that ask it."""

    continuation: Continuation
    region: dict[Dimension, IntervalSet]


@final
@dataclass(frozen=True, slots=True)
class _Scope:
    """Where the walk is: the packets it is about, the way back, and where verdicts lead."""

    region: dict[Dimension, IntervalSet]
    """The packets that can be here."""
    box: dict[Dimension, IntervalSet]
    """What that asks beyond the question's region."""
    frames: tuple[Frame, ...]
    on_return: Label | None = None
    on_accept: Label | None = None

    def narrowed(self, asked: dict[Dimension, IntervalSet]) -> "_Scope":
        """Inside of an entry's box."""
        if not asked:
            return self
        return replace(self, region={**self.region, **asked}, box={**self.box, **asked})

    def at(self, block: Block, position: int) -> "_Scope":
        """The same walk, to be gone on with at another place of its block."""
        here = self.frames[-1]
        return replace(self, frames=(*self.frames[:-1], replace(here, block=block, position=position)))

    def finished(self) -> "_Scope":
        """The chain the walk is in is done with, the rest of its rule included: nothing comes back to it."""
        frames = self.frames
        while frames[-1].kind == "rest":
            frames = frames[:-1]
        return replace(self, frames=(*frames[:-1], replace(frames[-1], position=len(frames[-1].block.entries))))

    def inside(self, frame: Frame) -> "_Scope":
        """One level deeper."""
        return replace(self, frames=(*self.frames, frame))


class Unrolling:
    """Lists, for one region, every entry that a packet can meet, jumps opened, in the order of the walk."""

    def __init__(self, question: Asker, compiled: CompiledRuleset, continuation: Continuation, region: Box) -> None:
        self._question = question
        self._compiled = compiled
        self._environment = dict(continuation.environment)
        self._accepted = continuation.accepted
        self._visits = Counter(dict(continuation.visits))
        self._question_region = dict(region)
        self.program: Program = []
        self._budget = question.budget

    def resume(self, frames: tuple[Frame, ...]) -> None:
        """Unroll from a place on to the end of the way."""
        self._frames(frames, 0, _Scope(self._question_region, {}, ()))
        self._append({}, self._question.outcome("accept", self._translation(), self._accepted.origin))

    def _translation(self) -> Translation:
        changed = []
        for of in d.HEADER:
            binding = self._environment.get(of)
            if isinstance(binding, IntervalSet):
                changed.append((of, binding))
            elif isinstance(binding, Alias):
                changed.append((of, self._question_region.get(binding.of, d.everything(of))))
        return tuple(changed)

    def _append(self, box: dict[Dimension, IntervalSet], step: Step) -> None:
        if len(self.program) >= self._budget:
            raise BudgetExceededError(self._budget)
        self.program.append((box, step))

    def _continue(self, scope: _Scope, frames: tuple[Frame, ...], environment: Environment, accepted: Accepted) -> None:
        """The packets of a scope go on by themselves, as a question of their own."""
        rest = Continuation(frames, tuple(environment.items()), accepted, tuple(self._visits.items()))
        self._append(scope.box, Deferred(rest, scope.region))

    def _frames(self, frames: tuple[Frame, ...], depth: int, outer: _Scope) -> None:
        """Go on at the innermost frame, then at each one around it."""
        frame = frames[depth]
        end = Label()
        scope = outer.inside(frame)
        if frame.kind == "base":
            scope = replace(scope, on_accept=Label(), on_return=end)
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
        leave: Label | None = None
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
                leave = leave or Label()
                self._append({**scope.box, **asked}, leave)
            elif isinstance(entry.action, Assign) and not self._kept(entry.action.changes):
                rest = entry.action.rest
                frame = Frame("rest", rest, 0, visit=here.visit)
                self._block(rest, 0, scope.narrowed(asked).at(block, block.following(position)).inside(frame))
                leave = leave or Label()
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
                if self._environment.get(d.CT_STATE) == INVALID:
                    del self._environment[d.CT_STATE]
            case Route():
                del self._environment[d.OIF]
            case _:
                self._enter(entry, block, position, scope.narrowed(asked))

    def _enter(self, entry: Entry, block: Block, position: int, scope: _Scope) -> None:
        following = scope.at(block, block.following(position))
        match entry.action:
            case Call(chain, last):
                called = self._compiled.blocks[chain]
                end = _required(scope.on_return) if last else Label()
                back = scope.finished() if last else following
                inside = replace(back.inside(self._frame("chain", called)), on_return=end)
                self._block(called, 0, inside)
                if last:
                    self._append(scope.box, end)
                else:
                    end.position = len(self.program)
            case Base(chain, policy):
                called = self._compiled.blocks[chain]
                frame = replace(self._frame("base", called), policy=policy)
                inside = replace(following.inside(frame), on_return=Label(), on_accept=Label())
                self._block(called, 0, inside)
                _required(inside.on_return).position = len(self.program)
                self._policy(inside)
            case Group(inner):
                self._block(inner, 0, following.inside(Frame("group", inner, 0)))
            case Assign(changes, rest):
                frame = Frame("rest", rest, 0, visit=scope.frames[-1].visit)
                self._assign(entry, changes, following.inside(frame).frames, scope)
            case Translate(changes):
                frames = following.frames
                groups = [index for index, one in enumerate(frames) if one.kind == "group"]
                self._assign(entry, changes, frames[: groups[-1]] if groups else frames, scope)

    def _frame(self, kind: Literal["base", "chain"], block: Block) -> Frame:
        """A call; a chain with chances in it counts its visits, for each visit has its own chances."""
        if not block.chancy:
            return Frame(kind, block, 0)
        self._visits[block] += 1
        return Frame(kind, block, 0, visit=self._visits[block])

    def _kept(self, changes: Mapping[Dimension, Change]) -> Mapping[Dimension, Change]:
        """The changes that some rule, or the answer, reads."""
        return {of: change for of, change in changes.items() if of in self._compiled.read}

    def _assign(
        self, entry: Entry, changes: Mapping[Dimension, Change], frames: tuple[Frame, ...], scope: _Scope
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

    def _derived(self, of: Dimension, region: Mapping[Dimension, IntervalSet]) -> int | Dimension:
        """The value of a masked comparison where its base is one value; elsewhere a dimension of its own."""
        base, mask, value = d.DERIVED[of]
        binding = self._environment.get(base)
        if isinstance(binding, IntervalSet):
            return int(binding.first & mask == value)
        read = base if binding is None else binding.of
        known = region.get(read)
        if known is not None and known.size == 1:
            return int(known.first & mask == value)
        return of if read is base else d.hidden(f"{of.name} of {read.name}")

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

    def _narrow(  # noqa: C901, PLR0912 - the innermost loop: calls would double its time
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
            elif of in d.DERIVED:
                derived = self._derived(of, region)
                if isinstance(derived, int):
                    if derived not in values:
                        return None
                    continue
                read = derived
            known = asked.get(read) or region.get(read)
            if known is None:
                if values.starts[0] == 0 and values.ends[0] >= read.maximum:
                    continue
                asked[read] = values
                continue
            if known is values:
                continue
            common = values.intersection(known)
            if not common:
                return None
            if common is not known and common != known:
                asked[read] = common
        return asked


def _required(label: Label | None) -> Label:
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
