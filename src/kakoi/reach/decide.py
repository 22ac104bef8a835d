"""One packet put to a ruleset: what may and must become of it, and which rule says so."""

from dataclasses import dataclass

from kakoi.reach.diagram import BudgetExceededError, Diagrams, values_of
from kakoi.reach.dimensions import Box
from kakoi.reach.engine import CompiledRuleset, Hook, Outcome, Question, piece_budget
from kakoi.reach.packet import plain_packet
from kakoi.reach.program import Origin


@dataclass(frozen=True, slots=True)
class Decision:
    """What a ruleset does with a packet."""

    may: bool
    """Some value of what is not known lets it through: use it to show that nothing gets through."""
    must: bool
    """Every value of what is not known lets it through: use it to show that something does."""
    verdict: str
    """``accept``, ``drop``, ``reject``, or ``unknown`` when what is not known makes the difference."""
    origin: Origin
    """The rule or policy that decides; of an unknown verdict, one that may let the packet through. ``None`` when no rule
    matched and no chain has a policy of its own."""
    translations: tuple[tuple[str, str], ...] = ()
    """Header fields the accepted packet gets anew, with their values."""


def decide(compiled: CompiledRuleset, hook: Hook, packet: Box) -> Decision:
    """Decide one packet, or one region in which all unsaid things may have any value."""
    question = Question(compiled, hook, Diagrams(piece_budget()), traced=True)
    try:
        node = question.answer(plain_packet(packet))
    except BudgetExceededError:
        return Decision(may=True, must=False, verdict="unknown", origin=None)
    outcomes = sorted(
        (value for value in values_of(node) if isinstance(value, Outcome)),
        key=lambda outcome: (outcome.verdict != "accept", outcome.origin),
    )
    verdicts = {outcome.verdict for outcome in outcomes}
    first = outcomes[0]
    return Decision(
        may="accept" in verdicts,
        must=verdicts == {"accept"},
        verdict=first.verdict if len(verdicts) == 1 else "unknown",
        origin=question.origins[first.origin],
    )
