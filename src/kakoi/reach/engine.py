"""What a whole ruleset does to every packet of a region: all hooks on the way, exactly.

A question is a region (a box) and a hook. What the region can meet is unrolled into one list of boxes with actions and
swept into a diagram; the parts of the way that follow an assignment are questions of their own, put in their places.
"""

import os
import sys
from collections.abc import Hashable
from dataclasses import dataclass
from typing import final

from kakoi.reach import dimensions as d
from kakoi.reach.compiled import HOOKS, CompiledRuleset, Hook
from kakoi.reach.diagram import Diagrams, Node, pending_values
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.lowering import LOCAL
from kakoi.reach.program import Origin
from kakoi.reach.sweep import sweep
from kakoi.reach.unrolling import INVALID, Accepted, Binding, Continuation, Deferred, Frame, Translation, Unrolling

__all__ = ["HOOKS", "CompiledRuleset", "Hook", "Outcome", "Question", "piece_budget"]

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
    translation: Translation = ()
    """Header fields that the accepted packet has anew, with the values they may have."""
    origin: int = 0
    """The place of the deciding rule in the engine's list of origins; 0 when it was not asked for."""


_PLAIN = {verdict: Outcome(verdict) for verdict in ("accept", "drop", "reject")}


class Question:
    """One region and one hook put to one ruleset; ``diagrams`` may be shared to compare answers."""

    def __init__(self, compiled: CompiledRuleset, hook: Hook, diagrams: Diagrams, *, traced: bool = False) -> None:
        self._compiled = compiled
        self.hook: Hook = hook
        self._diagrams = diagrams
        self.traced = traced
        self.budget = diagrams.budget
        self.origins: list[Origin] = [None]
        self._origin_numbers: dict[int, int] = {}
        self._outcomes: dict[Outcome, Outcome] = {}

    def answer(self, region: Box) -> Node:
        """The function from packets of the region to outcomes; outside of the region it means nothing.

        Raises:
            BudgetExceededError: it takes too many pieces.
        """
        environment: dict[Dimension, Binding] = {LOCAL: d.ZERO, d.CT_STATE: INVALID}
        environment[d.IIF if self.hook == "output" else d.OIF] = _NO_DEVICE
        start = (Frame("way", self._compiled.way(self.hook), 0),)
        return self._function(Continuation(start, tuple(environment.items()), Accepted(), ()), region)

    def _function(self, continuation: Continuation, region: Box) -> Node:
        unrolled = Unrolling(self, self._compiled, continuation, region)
        unrolled.resume(continuation.frames)
        node = sweep(self._diagrams, unrolled.program, region)
        replacements: dict[Hashable, Node] = {
            value: self._function(value.continuation, value.region)
            for value in pending_values(node)
            if isinstance(value, Deferred)
        }
        return self._diagrams.substitute(node, replacements) if replacements else node

    def outcome(self, verdict: str, translation: Translation, origin: Origin) -> Outcome:
        """One outcome, with its origin only when origins were asked for."""
        if not translation and not self.traced:
            return _PLAIN[verdict]
        number = 0
        if self.traced and origin is not None:
            number = self._origin_numbers.get(id(origin), 0)
            if not number:
                number = self._origin_numbers[id(origin)] = len(self.origins)
                self.origins.append(origin)
        outcome = Outcome(verdict, translation, number)
        return self._outcomes.setdefault(outcome, outcome)
