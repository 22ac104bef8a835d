"""The compiled form of rules: blocks of entries, each a box of packets and what happens to a packet inside it.

A packet walks a block from the first entry; the first entry whose box holds it acts. Boxes are exact: what could not be
computed is in them as hidden dimensions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.syntax import Rule

_WORTH_AN_INDEX = 48
_FEW = 16

type ChainKey = tuple[str, str, str]
"""Family, table and chain."""
type Origin = Rule | BasePolicy | None
"""What decides: a rule, a base chain's policy, or nothing that filters."""
type Action = Final | Accept | Return | Leave | Call | Assign | Translate | Base | Group | Track | Route


@dataclass(frozen=True, slots=True)
class BasePolicy:
    """The policy of a base chain, where no rule decided."""

    family: str
    table: str
    chain: str
    handle: int
    """Of the chain."""
    policy: str
    hook: str
    type: str

    @property
    def text(self) -> str:
        """As nft writes it."""
        return f"policy {self.policy}"


@dataclass(frozen=True, slots=True)
class Final:
    """The packet's way ends: ``accept`` (it left the hooks), ``drop`` or ``reject``."""

    verdict: str


@dataclass(frozen=True, slots=True)
class Accept:
    """This base chain lets the packet on to the next one."""


@dataclass(frozen=True, slots=True)
class Return:
    """Back to the rule after the jump; in a base chain, to its policy."""


@dataclass(frozen=True, slots=True)
class Leave:
    """On to the next rule: a condition of this one does not hold."""


@dataclass(frozen=True, slots=True)
class Call:
    """``jump`` or, with ``last``, ``goto``."""

    chain: ChainKey
    last: bool


@dataclass(frozen=True, slots=True)
class Alias:
    """The value of another one-bit or equal dimension, inverted if ``flipped``."""

    of: Dimension
    flipped: bool = False


type Change = IntervalSet | Alias
"""A constant (one value), a choice out of several values, or the value of something else."""


@dataclass(frozen=True, slots=True)
class Assign:
    """Fields get new values; the rest of the rule goes on with them."""

    changes: Mapping[Dimension, Change]
    rest: "Block"


@dataclass(frozen=True, slots=True)
class Translate:
    """Network address translation: header fields get new values and the hook's other nat chains are passed over."""

    changes: Mapping[Dimension, Change]


@dataclass(frozen=True, slots=True)
class Base:
    """A base chain is walked."""

    chain: ChainKey
    policy: BasePolicy


@dataclass(frozen=True, slots=True)
class Group:
    """All nat chains of one hook, at the one place where the kernel calls them."""

    block: "Block"


@dataclass(frozen=True, slots=True)
class Track:
    """Connection tracking looks at the packet: from here on rules read its state."""


@dataclass(frozen=True, slots=True)
class Route:
    """Routing has been decided: from here on rules read the outgoing interface."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One box and its action."""

    box: Box
    action: Action
    origin: Origin
    rule: int
    """Entries of one rule share a number: ``Leave`` goes to the first entry of another."""


class Block:
    """Entries in order, with an index that finds those a region can meet."""

    __slots__ = ("_chancy", "_columns", "_following", "entries", "name")

    def __init__(self, entries: tuple[Entry, ...], name: str = "") -> None:
        self.entries = entries
        self.name = name
        self._columns: list[_Column] | None = None
        self._following: list[int] | None = None
        self._chancy: bool | None = None

    @property
    def chancy(self) -> bool:
        """Whether something in it may come out differently each time."""
        if self._chancy is None:
            self._chancy = any(
                any(of.notation == "chance" for of in entry.box)
                or (isinstance(entry.action, Assign) and entry.action.rest.chancy)
                for entry in self.entries
            )
        return self._chancy

    def following(self, index: int) -> int:
        """The first entry after those of the same rule."""
        if self._following is None:
            following = [len(self.entries)] * len(self.entries)
            for position in range(len(self.entries) - 2, -1, -1):
                same = self.entries[position].rule == self.entries[position + 1].rule
                following[position] = following[position + 1] if same else position + 1
            self._following = following
        return self._following[index]

    def candidates(self, start: int, bounds: Callable[[Dimension], tuple[int, int] | None]) -> Iterable[int]:
        """Entries from ``start`` on whose boxes may meet a region; never misses one.

        Args:
            start: the first entry to look at.
            bounds: smallest and largest value of the region in a dimension, ``None`` where it is not restricted.
        """
        if len(self.entries) - start < _WORTH_AN_INDEX:
            return range(start, len(self.entries))
        if self._columns is None:
            self._columns = _columns(self.entries)
        found: NDArray[np.intp] | None = None
        for column in self._columns:
            limits = bounds(column.of)
            if limits is None:
                continue
            low, high = limits[0] >> column.shift, limits[1] >> column.shift
            if found is None:
                found = np.flatnonzero((column.lows <= high) & (column.highs >= low))
            else:
                found = found[(column.lows[found] <= high) & (column.highs[found] >= low)]
            if len(found) < _FEW:
                break
        if found is None:
            return range(start, len(self.entries))
        chosen: list[int] = found.tolist()
        return chosen if start == 0 else [index for index in chosen if index >= start]


@dataclass(frozen=True, slots=True)
class _Column:
    of: Dimension
    shift: int
    """Wide values keep their upper bits only: the index may name too many entries, never too few."""
    lows: NDArray[np.int64]
    highs: NDArray[np.int64]


def _columns(entries: tuple[Entry, ...]) -> list[_Column]:
    counts: dict[Dimension, int] = {}
    for entry in entries:
        for of in entry.box:
            counts[of] = counts.get(of, 0) + 1
    columns = []
    for of, number in counts.items():
        if number * 4 < len(entries):
            continue
        shift = max(0, of.bits - 62)
        lows = np.zeros(len(entries), dtype=np.int64)
        highs = np.full(len(entries), of.maximum >> shift, dtype=np.int64)
        for position, entry in enumerate(entries):
            values = entry.box.get(of)
            if values is not None:
                lows[position] = values.first >> shift
                highs[position] = values.last >> shift
        columns.append(_Column(of, shift, lows, highs))
    return sorted(columns, key=lambda column: -len(np.unique(column.lows)))
