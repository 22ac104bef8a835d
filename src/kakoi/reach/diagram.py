"""Interval decision diagrams: a function of a packet as a shared, ordered, reduced graph.

A node splits one dimension into intervals and leads to a node for each; terminals carry values. Nodes are interned, so in
one ``Diagrams`` two functions are equal exactly when they are the same object. (Binary decision diagrams with
intervals in place of bits; Strehl and Thiele 1998, Gouda and Liu's firewall decision diagrams 2004.)
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import final

from kakoi.errors import KakoiError
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet

type Node = Inner | Terminal


class BudgetExceededError(KakoiError):
    """The answer takes more pieces than the budget allows: it is unknown, and said to be."""

    def __init__(self, pieces: int) -> None:
        super().__init__(
            f"the answer takes more than {pieces} pieces: unknown",
            "ask a narrower question (--from, --to), or raise the budget with KAKOI_REACH_PIECES",
        )


@final
class Terminal:
    """A value at the end of all paths that lead here."""

    __slots__ = ("pending", "value")

    pending: bool

    def __init__(self, value: Hashable, *, pending: bool) -> None:
        self.value = value
        self.pending = pending


@final
class Inner:
    """One dimension cut into intervals: ``children[i]`` holds up to and including ``uppers[i]``."""

    __slots__ = ("children", "of", "pending", "uppers")

    pending: bool

    def __init__(self, of: Dimension, uppers: tuple[int, ...], children: tuple[Node, ...]) -> None:
        self.of = of
        self.uppers = uppers
        self.children = children
        self.pending = any(child.pending for child in children)


class Diagrams:
    """Makes and combines diagrams; only those of one manager may be combined."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._inner: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Inner] = {}
        self._terminals: dict[Hashable, Terminal] = {}

    def terminal(self, value: Hashable, *, pending: bool = False) -> Terminal:
        """The terminal of a value; ``pending`` when something is still to be put in its place."""
        found = self._terminals.get(value)
        if found is None:
            found = self._terminals[value] = Terminal(value, pending=pending)
        return found

    def inner(self, of: Dimension, uppers: Sequence[int], children: Sequence[Node]) -> Node:
        """The node with these intervals; neighbours with the same child become one."""
        kept_uppers: list[int] = []
        kept: list[Node] = []
        for upper, child in zip(uppers, children, strict=True):
            if kept and kept[-1] is child:
                kept_uppers[-1] = upper
            else:
                kept_uppers.append(upper)
                kept.append(child)
        if len(kept) == 1:
            return kept[0]
        limits = tuple(kept_uppers)
        key = (id(of), limits, tuple(map(id, kept)))
        found = self._inner.get(key)
        if found is None:
            if len(self._inner) >= self.budget:
                raise BudgetExceededError(self.budget)
            found = self._inner[key] = Inner(of, limits, tuple(kept))
        return found

    def combine(self, first: Node, second: Node, operation: Callable[[Hashable, Hashable], Hashable]) -> Node:
        """The function whose value is ``operation`` of the values of two functions, everywhere."""
        memo: dict[tuple[int, int], Node] = {}

        def walk(left: Node, right: Node) -> Node:
            key = (id(left), id(right))
            found = memo.get(key)
            if found is not None:
                return found
            if isinstance(left, Terminal) and isinstance(right, Terminal):
                result: Node = self.terminal(operation(left.value, right.value))
            else:
                result = self.split((left, right), lambda parts: walk(parts[0], parts[1]))
            memo[key] = result
            return result

        return walk(first, second)

    def split(self, nodes: Sequence[Node], walk: Callable[[Sequence[Node]], Node]) -> Node:
        """Cut all nodes along their first dimension and walk each cell."""
        of = min((node.of for node in nodes if isinstance(node, Inner)), key=lambda dimension: dimension.order)
        cutting = [node if isinstance(node, Inner) and node.of is of else None for node in nodes]
        limits = sorted({upper for node in cutting if node is not None for upper in node.uppers})
        positions = [0] * len(nodes)
        children = []
        for upper in limits:
            cell = []
            for index, (node, cut) in enumerate(zip(nodes, cutting, strict=True)):
                if cut is None:
                    cell.append(node)
                    continue
                if cut.uppers[positions[index]] < upper:
                    positions[index] += 1
                cell.append(cut.children[positions[index]])
            children.append(walk(cell))
        return self.inner(of, limits, children)

    def substitute(self, node: Node, replacements: Mapping[Hashable, Node]) -> Node:
        """Put a function in the place of each pending terminal."""
        reach: dict[int, frozenset[Hashable]] = {}

        def pending(of: Node) -> frozenset[Hashable]:
            if not of.pending:
                return frozenset()
            if isinstance(of, Terminal):
                return frozenset((of.value,))
            known = reach.get(id(of))
            if known is None:
                known = reach[id(of)] = frozenset().union(*(pending(child) for child in of.children if child.pending))
            return known

        return self._substituted(node, replacements, pending, {})

    def _substituted(
        self,
        node: Node,
        replacements: Mapping[Hashable, Node],
        pending: Callable[[Node], frozenset[Hashable]],
        memo: dict[tuple[int, ...], Node],
    ) -> Node:
        wanted = pending(node)
        if not wanted:
            return node
        if isinstance(node, Terminal):
            return replacements[node.value]
        names = sorted(wanted, key=id)
        key = (id(node), *(id(replacements[name]) for name in names))
        found = memo.get(key)
        if found is None:
            found = memo[key] = self.split(
                (node, *(replacements[name] for name in names)),
                lambda parts: self._substituted(parts[0], dict(zip(names, parts[1:], strict=True)), pending, memo),
            )
        return found


def values_of(node: Node) -> set[Hashable]:
    """All values that a function takes."""
    return _values(node, pending=False)


def pending_values(node: Node) -> set[Hashable]:
    """The values still to be replaced."""
    return _values(node, pending=True) if node.pending else set()


def _values(node: Node, *, pending: bool) -> set[Hashable]:
    seen: set[int] = set()
    found: set[Hashable] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or (pending and not current.pending):
            continue
        seen.add(id(current))
        if isinstance(current, Terminal):
            found.add(current.value)
        else:
            waiting.extend(current.children)
    return found


def meets(node: Node, box: Box, value: Hashable) -> bool:
    """Whether the function has a value somewhere in a box."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Terminal):
            if current.value == value:
                return True
            continue
        if id(current) in seen:
            continue
        seen.add(id(current))
        values = box.get(current.of)
        if values is None:
            waiting.extend(current.children)
            continue
        for low, high in values:
            first = bisect_left(current.uppers, low)
            waiting.extend(current.children[first : bisect_left(current.uppers, high) + 1])
    return False


def value_at(node: Node, point: Mapping[Dimension, int]) -> Hashable:
    """The value at one point; dimensions that the point leaves out count as 0."""
    while isinstance(node, Inner):
        node = node.children[bisect_left(node.uppers, point.get(node.of, 0))]
    return node.value


def boxes_of(node: Node, wanted: Callable[[Hashable], bool]) -> Iterator[tuple[Box, Hashable]]:
    """Disjoint boxes on which the function has a wanted value, with the value."""
    useful: dict[int, bool] = {}

    def leads(to: Node) -> bool:
        found = useful.get(id(to))
        if found is None:
            found = wanted(to.value) if isinstance(to, Terminal) else any(leads(child) for child in to.children)
            useful[id(to)] = found
        return found

    def walk(current: Node, box: dict[Dimension, IntervalSet]) -> Iterator[tuple[Box, Hashable]]:
        if isinstance(current, Terminal):
            yield dict(box), current.value
            return
        for child, values in edges(current):
            if leads(child):
                box[current.of] = values
                yield from walk(child, box)
                del box[current.of]

    if leads(node):
        yield from walk(node, {})


def edges(node: Inner) -> Iterator[tuple[Node, IntervalSet]]:
    """The different children of a node, each with all values that lead to it."""
    grouped: dict[int, tuple[Node, list[int], list[int]]] = {}
    low = 0
    for upper, child in zip(node.uppers, node.children, strict=True):
        _, starts, ends = grouped.setdefault(id(child), (child, [], []))
        starts.append(low)
        ends.append(upper)
        low = upper + 1
    for child, starts, ends in grouped.values():
        yield child, IntervalSet(tuple(starts), tuple(ends))
