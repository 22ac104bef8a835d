"""A list of boxes with actions turned into a diagram, one dimension swept after the other."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from typing import final

from kakoi.reach.diagram import Diagrams, Inner, Node, meets, pending_values
from kakoi.reach.dimensions import Box, Dimension, everything


@final
class Label:
    """A place in the list that an action leads on to; set when the list gets there."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = -1


class Unfinished:
    """A value still to be put in its place: the rest of a packet's way."""

    __slots__ = ()


type Step = Label | Hashable
"""Where packets of a box go: on to a later place, or to a value."""
type Program = list[tuple[Box, Step]]
"""The first box that holds a packet acts; the last one holds every packet and has a value."""


_FIRST_TRY = 64
_GROWTH = 16
_WORTH_FILTERING = 0.5


def sweep(diagrams: Diagrams, program: Program, region: Box) -> Node:
    """The diagram of a program over a region; outside of the region its values mean nothing.

    Neighbours in the list that lead to the same value may change places: the largest come first, and a short beginning is
    tried alone. Where it decides every packet the rest is never looked at; where it decides most, the rest is thinned out
    to what can still meet an undecided packet.
    """
    if len(program) > _FIRST_TRY:
        program = _largest_first(program)
    size = _FIRST_TRY
    while size * 2 < len(program):
        beyond = Unfinished()
        node = _Sweep(diagrams, [*program[:size], ({}, beyond)], region).result()
        if not node.pending or beyond not in pending_values(node):
            return node
        if _share(node, beyond, region) < _WORTH_FILTERING:
            program = _thinned(program, size, node, beyond)
        size *= _GROWTH
    return _Sweep(diagrams, program, region).result()


def _largest_first(program: Program) -> Program:
    """Sort each run of entries with the same value by size; places that labels lead to stay where they are."""
    targets = {step.position for _, step in program if isinstance(step, Label)}
    ordered: Program = []
    start = 0
    for position in range(1, len(program) + 1):
        if position < len(program) and position not in targets and program[position][1] is program[start][1]:
            continue
        run = program[start:position]
        ordered.extend(sorted(run, key=_smallness) if len(run) > 1 and not isinstance(run[0][1], Label) else run)
        start = position
    return ordered


def _smallness(entry: tuple[Box, Step]) -> int:
    """How many times the box halves the space."""
    total = 0
    for of, values in entry[0].items():
        starts, ends = values.starts, values.ends
        size = ends[0] - starts[0] + 1 if len(starts) == 1 else values.size
        total += of.bits - size.bit_length()
    return total


def _share(node: Node, value: Hashable, region: Box) -> float:
    """The part of the region's volume on which a function has a value."""
    memo: dict[int, float] = {}

    def walk(of: Node) -> float:
        if not isinstance(of, Inner):
            return float(of.value == value)
        found = memo.get(id(of))
        if found is None:
            limits = region.get(of.of, everything(of.of))
            low, found = 0, 0.0
            for upper, child in zip(of.uppers, of.children, strict=True):
                found += limits.clip(low, upper).size / limits.size * walk(child)
                low = upper + 1
            memo[id(of)] = found
        return found

    return walk(node)


def _thinned(program: Program, size: int, node: Node, value: Hashable) -> Program:
    """The program without those entries after its beginning that meet no packet on which the beginning has the value."""
    kept = list(range(size))
    kept.extend(position for position in range(size, len(program)) if meets(node, program[position][0], value))
    places: dict[int, Label] = {}
    thinned: Program = []
    for position in kept:
        box, step = program[position]
        if isinstance(step, Label):
            target = step.position
            step = places.get(target)
            if step is None:
                step = places[target] = Label()
                step.position = bisect_left(kept, target)
        thinned.append((box, step))
    return thinned


class _Sweep:
    def __init__(self, diagrams: Diagrams, program: Program, region: Box) -> None:
        self._diagrams = diagrams
        self._region = region
        self._order = sorted({of for box, _ in program for of in box}, key=lambda of: of.order)
        index = {of: position for position, of in enumerate(self._order)}
        known: dict[tuple[Dimension, ...], list[int]] = {}
        self._boxes = [box for box, _ in program]
        self._positions: list[list[int]] = []
        for box in self._boxes:
            key = tuple(box)
            positions = known.get(key)
            if positions is None:
                positions = known[key] = sorted(index[of] for of in key)
            self._positions.append(positions)
        self._last = [positions[-1] if positions else -1 for positions in self._positions]
        self._targets: list[int] = []
        self._terminals: list[Node | None] = []
        self._memo: dict[tuple[int, tuple[int, ...]], Node] = {}
        end = len(program) - 1
        terminals: dict[int, Node] = {}
        for _, step in program:
            if isinstance(step, Label):
                self._targets.append(min(step.position, end))
                self._terminals.append(None)
                continue
            terminal = terminals.get(id(step))
            if terminal is None:
                terminal = terminals[id(step)] = diagrams.terminal(step, pending=isinstance(step, Unfinished))
            self._targets.append(-1)
            self._terminals.append(terminal)

    def result(self) -> Node:
        return self._build(self._settle(range(len(self._boxes)), -1), -1)

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
            for at in self._positions[entry]:
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
            values = boxes[entry].get(of)
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
        limits = self._region.get(of)
        kept_uppers: list[int] = []
        children: list[Node] = []
        known: dict[tuple[int, ...], Node] = {}
        present: list[int] = []
        for cut, upper in zip(cuts, uppers, strict=True):
            for entry in leaving.get(cut, ()):
                present.remove(entry)
            for entry in arriving.get(cut, ()):
                insort(present, entry)
            if limits is not None and (
                upper < limits.starts[0] or cut > limits.ends[-1] or not limits.clip(cut, upper)
            ):
                continue
            key = tuple(present)
            child = known.get(key)
            if child is None:
                child = known[key] = self._build(self._settle(sorted(present + free), at), at)
            kept_uppers.append(upper)
            children.append(child)
        kept_uppers[-1] = of.maximum
        return self._diagrams.inner(of, kept_uppers, children)
