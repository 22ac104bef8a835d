"""What a proof says: one verdict for each guarantee, with its witness, reason and margin."""

from dataclasses import dataclass, field
from typing import Any, Literal

from kakoi.policy.problem import Bilingual
from kakoi.reach.network.witness import Witness

type Holds = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Attack:
    """One step of a breach: who sends, and what arrives."""

    by: str
    """The machine or zone that sends."""
    witness: Witness
    forged: bool
    """The source address is another machine's, or nobody's."""
    certain: bool

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        shown = {"from": self.by, "to": self.witness.target, "forged_source": self.forged, "certain": self.certain}
        return {**shown, **self.witness.as_json()}


@dataclass(frozen=True, slots=True)
class Margin:
    """How many enforcement points must fail before a guarantee breaks."""

    failures: int
    """The smallest number known to break it, or the largest that was shown not to, plus one."""
    points: tuple[str, ...]
    """Which; empty when no set of fewer than ``failures`` breaks it."""
    exact: bool
    """False: it takes at least ``failures``."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"failures": self.failures, "exact": self.exact, "points": list(self.points)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guarantee judged."""

    id: str
    kind: str
    holds: Holds
    why: str
    reason: Bilingual
    attacks: tuple[Attack, ...] = ()
    """The breach, step by step."""
    failed: tuple[str, ...] = ()
    """Enforcement points whose loss opens it."""
    missing: tuple[dict[str, Any], ...] = ()
    """Of ``exactly``: what flows promise and the network does not give."""
    margin: Margin | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    """How much was looked at: starts, targets."""

    def as_json(self) -> dict[str, Any]:
        """The shape that ``kakoi prove --json`` prints."""
        witness: dict[str, Any] = {}
        if self.attacks:
            witness["steps"] = [attack.as_json() for attack in self.attacks]
        if self.failed:
            witness["failed"] = list(self.failed)
        if self.missing:
            witness["missing"] = list(self.missing)
        return {
            "id": self.id,
            "kind": self.kind,
            "holds": {"yes": True, "no": False, "unknown": "unknown"}[self.holds],
            "reason": {"en": self.reason.en, "ja": self.reason.ja},
            "witness": witness or None,
            "margin": self.margin.as_json() if self.margin else None,
            **self.sizes,
        }
