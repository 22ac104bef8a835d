"""The guarantees of a policy judged over a network: held or broken, by which packets, and by how much.

- ``isolated``: no packet from where the attacker stands reaches the target; ``by: pivot``, through whatever falls.
- ``no_internet_path``: no packet from any untrusted zone reaches it, none from it reaches an untrusted zone.
- ``only_via``: with the guards untakeable nothing behind them falls.
- ``exactly``: what is gained and what is missing against the flows.
- ``survives``: another guarantee with every choice of so many enforcement points accepting everything.

What is not understood may let packets through: a breach that rests on such a thing alone is *unknown*, never held.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from kakoi.policy.model import Exactly, Guarantee, Isolated, NoInternetPath, OnlyVia, Policy, Survives
from kakoi.policy.problem import Bilingual
from kakoi.policy.sets import untrusted_zones
from kakoi.reach import dimensions as d
from kakoi.reach.dimensions import Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.answer import Attack, Holds, Margin, Verdict
from kakoi.reach.network.attack import NOBODY, Attacker, Capture, Foothold
from kakoi.reach.network.boxes import one_packet
from kakoi.reach.network.exact import Exactness, Gained
from kakoi.reach.network.filters import MachineFilter
from kakoi.reach.network.model import VERSIONS, NetworkModel
from kakoi.reach.network.references import References
from kakoi.reach.network.travel import Delivery
from kakoi.reach.network.witness import packet_json, witness_of

LARGEST_MARGIN = 2
"""So many failures at once are tried for the margin; beyond, it is *at least one more*."""


@dataclass(frozen=True, slots=True)
class Breach:
    """How a guarantee breaks: the steps, each by its sender."""

    steps: tuple[tuple[str, Foothold, Delivery], ...]
    certain: bool


class Prover:
    """Judges guarantees over one network; journeys are shared between them."""

    def __init__(
        self,
        policy: Policy,
        model: NetworkModel,
        bound: Iterable[str] = (),
        filters: Mapping[str, MachineFilter] | None = None,
    ) -> None:
        """Prepare.

        Args:
            policy: whose guarantees and flows.
            model: the network.
            bound: wires on which nobody can use another's address.
            filters: passages worked out before; those of machines that are still the same are used again.
        """
        self.policy = policy
        self.model = model
        self.attacker = Attacker(model, untrusted_zones(policy), bound)
        self.attacker.filters.update(filters or {})
        self.references = References(policy, self.attacker)
        self._exactness = Exactness(policy, self.attacker)

    def judge_all(self, *, margins: bool = True) -> tuple[Verdict, ...]:
        """Every guarantee of the policy, in its order."""
        return tuple(self.judge(guarantee, margins=margins) for guarantee in self.policy.guarantees.values())

    def judge(self, guarantee: Guarantee, *, margins: bool = True) -> Verdict:
        """One guarantee.

        Raises:
            InputError: it is about nothing.
        """
        if isinstance(guarantee, Survives):
            return self._survives(guarantee)
        found = self.breach(guarantee)
        missing = []
        if isinstance(guarantee, Exactly):
            for target in self.references.machines(guarantee.to, guarantee.id):
                missing += list(self._exactness.missing(target))
        holds: Holds = "yes"
        if found is not None or missing:
            surely = (found is not None and found.certain) or any(not one.may for one in missing)
            holds = "no" if surely else "unknown"
        margin = None
        if margins:
            margin = Margin(0, (), exact=True) if found is not None else self._margin(guarantee)
        return Verdict(
            guarantee.id,
            guarantee.kind,
            holds,
            guarantee.why,
            _reason(guarantee, found, len(missing)),
            self._attacks(found),
            missing=tuple(
                {
                    "flow": one.flow,
                    "from": one.sender,
                    "to": one.target,
                    "direction": one.direction,
                    "packet": packet_json(one_packet(one.box)),
                }
                for one in missing
            ),
            margin=margin,
        )

    # ------------------------------------------------------------------------------------- breaches

    def breach(  # noqa: PLR0911 - one line for each kind
        self, guarantee: Guarantee, failed: frozenset[str] = NOBODY, most_opened: int | None = None
    ) -> Breach | None:
        """How a guarantee breaks with some enforcement points accepting everything; a certain way if there is one."""
        size = len(failed) if most_opened is None else most_opened
        match guarantee:
            case Isolated(by="direct"):
                starts = self.references.starts(guarantee.from_, guarantee.id, failed, size)
                return self._direct(starts, self.references.targets(guarantee.to, guarantee.id), failed, size)
            case Isolated():
                starts = self.references.starts(guarantee.from_, guarantee.id, failed, size)
                targets = self.references.targets(guarantee.to, guarantee.id)
                return self._pivot(starts, targets, failed, NOBODY, size)
            case NoInternetPath():
                targets = self.references.targets(guarantee.of, guarantee.id)
                inwards = self._direct(self.references.outside_zones, targets, failed, size)
                if inwards is not None and inwards.certain:
                    return inwards
                starts = self.references.starts(guarantee.of, guarantee.id)
                outwards = self._direct(starts, sorted(self.references.outside_targets), failed, size)
                return outwards if outwards is not None and (inwards is None or outwards.certain) else inwards
            case OnlyVia():
                guards = frozenset(self.references.machines(guarantee.via, guarantee.id))
                starts = self.references.starts(guarantee.from_, guarantee.id, failed, size)
                starts = tuple(start for start in starts if start not in guards)
                targets = self.references.targets(guarantee.to, guarantee.id)
                return self._pivot(starts, [one for one in targets if one not in guards], failed, guards, size)
            case Exactly():
                return self._gained(guarantee, failed, size)
            case Survives():
                return self.breach(self.policy.guarantees[guarantee.guarantee], failed, most_opened)

    def _direct(
        self, starts: Iterable[str], targets: Iterable[str], failed: frozenset[str], size: int
    ) -> Breach | None:
        found: Breach | None = None
        wanted = list(targets)
        for start in starts:
            for target in wanted:
                capture = self.attacker.direct(start, target, failed, size)
                if capture is not None and (capture.certain or found is None):
                    found = Breach(((start, capture.foothold, capture.delivery),), capture.certain)
                    if found.certain:
                        return found
        return found

    def _pivot(
        self,
        starts: Iterable[str],
        targets: Iterable[str],
        failed: frozenset[str],
        never: frozenset[str],
        size: int,
    ) -> Breach | None:
        own = tuple(starts)
        wanted = [target for target in targets if target not in own]
        for certain_only in (True, False):
            taken = self.attacker.closure(own, failed, never, certain_only=certain_only, most_opened=size)
            fallen = [target for target in wanted if target in taken]
            if fallen:
                chains = [self._chain(own, taken, target) for target in fallen]
                return Breach(min(chains, key=len), certain_only)
        return None

    def _chain(
        self, starts: Iterable[str], taken: Mapping[str, Capture], target: str
    ) -> tuple[tuple[str, Foothold, Delivery], ...]:
        own = tuple(starts)
        order = {name: number for number, name in enumerate(taken)}
        steps: list[tuple[str, Foothold, Delivery]] = []
        while True:
            capture = taken[target]
            earlier = {name: taken[name] for name in taken if order[name] < order[target]}
            holder = self.attacker.holders(own, earlier, capture.foothold)
            steps.append((holder, capture.foothold, capture.delivery))
            if holder in own or holder not in taken:
                return tuple(reversed(steps))
            target = holder

    def _gained(self, guarantee: Exactly, failed: frozenset[str], size: int) -> Breach | None:
        found: Gained | None = None
        for target in self.references.machines(guarantee.to, guarantee.id):
            for gained in self._exactness.gained(target, failed, size):
                if found is None or (gained.delivery.certain and not found.delivery.certain):
                    found = gained
        if found is None:
            return None
        return Breach(((found.sender, Foothold(found.wire), found.delivery),), found.delivery.certain)

    # ------------------------------------------------------------------------------------- failures

    def _survives(self, guarantee: Survives) -> Verdict:
        base = self.policy.guarantees[guarantee.guarantee]
        broken = self.breach(base)
        worst: tuple[tuple[str, ...], Breach] | None = None if broken is None else ((), broken)
        size = min(guarantee.failures, len(self.attacker.points))
        if broken is None or not broken.certain:
            for failed in combinations(self.attacker.points, size):
                found = self.breach(base, frozenset(failed), size)
                if found is not None and (worst is None or (found.certain and not worst[1].certain)):
                    needed = frozenset().union(*(delivery.opened for _, _, delivery in found.steps)) or frozenset(
                        failed
                    )
                    worst = (tuple(sorted(needed)), found)
                    if found.certain:
                        break
        holds: Holds = "yes" if worst is None else "no" if worst[1].certain else "unknown"
        margin = Margin(len(worst[0]), worst[0], exact=True) if worst is not None else self._margin(base)
        return Verdict(
            guarantee.id,
            guarantee.kind,
            holds,
            guarantee.why,
            _survival_reason(guarantee, worst, len(self.attacker.points)),
            self._attacks(worst[1] if worst else None),
            failed=worst[0] if worst else (),
            margin=margin,
        )

    def _margin(self, guarantee: Guarantee) -> Margin:
        cut = self.attacker.smallest_cut(
            lambda failed: self.breach(guarantee, failed, len(failed)) is not None, LARGEST_MARGIN
        )
        if cut is None:
            return Margin(LARGEST_MARGIN + 1, (), exact=False)
        return Margin(len(cut), cut, exact=True)

    # ------------------------------------------------------------------------------------- witnesses

    def _attacks(self, breach: Breach | None) -> tuple[Attack, ...]:
        if breach is None:
            return ()
        return tuple(self._attack(*step) for step in breach.steps)

    def _attack(self, holder: str, foothold: Foothold, delivery: Delivery) -> Attack:
        preferred = self._preferred(holder, foothold)
        witness = witness_of(self.model, foothold.wire, delivery, preferred)
        version = 6 if witness.packet[d.FAMILY] else 4
        own = preferred.get(d.ADDRESSES[version][0])
        forged = own is None or witness.packet[d.ADDRESSES[version][0]] not in own
        return Attack(holder, witness, forged, delivery.certain)

    def _preferred(self, holder: str, foothold: Foothold) -> Mapping[Dimension, IntervalSet]:
        """The sender's own addresses, or those of its wire."""
        found: dict[Dimension, IntervalSet] = {}
        for version in VERSIONS:
            if holder in self.model.machines:
                own = self.model.machines[holder].own(version)
            else:
                own = self.model.space(foothold.wire, version)
                listed = [machine.own(version) for machine, _ in self.model.neighbours.get(foothold.wire, ())]
                on_wire = [values for values in listed if values and values.intersection(own)]
                own = on_wire[-1] if on_wire else own
            if own:
                found[d.ADDRESSES[version][0]] = own
        return found


def _reason(guarantee: Guarantee, found: Breach | None, missing: int) -> Bilingual:
    if found is None and not missing:
        return Bilingual(*_HELD[guarantee.kind])
    if found is None:
        return Bilingual(
            f"{missing} connection(s) that flows promise do not surely work",
            f"許可通信のうち {missing} 件が確実には通らない",
        )
    names = [found.steps[0][0], *(delivery.target for _, _, delivery in found.steps)]
    if not found.certain:
        return Bilingual(
            f"{' -> '.join(names)} may be possible: it rests on something that is not understood",
            f"{' → '.join(names)} の可能性を否定できない（解釈しきれない構文による）",
        )
    english, japanese = _BROKEN[guarantee.kind]
    return Bilingual(f"{' -> '.join(names)}: {english}", f"{' → '.join(names)}：{japanese}")


def _survival_reason(guarantee: Survives, worst: tuple[tuple[str, ...], Breach] | None, points: int) -> Bilingual:
    if worst is None:
        return Bilingual(
            f"{guarantee.guarantee} holds whichever {guarantee.failures} of {points} enforcement points fail",
            f"{points} か所のうちどの {guarantee.failures} か所が効かなくなっても {guarantee.guarantee} は守られる",
        )
    if not worst[0]:
        return Bilingual(
            f"{guarantee.guarantee} does not hold even without a failure",
            f"{guarantee.guarantee} は故障がなくても守られていない",
        )
    names = ", ".join(worst[0])
    return Bilingual(
        f"{guarantee.guarantee} breaks when {names} fails", f"{names} が効かなくなると {guarantee.guarantee} が破れる"
    )


_HELD = {
    "isolated": (
        "no packet gets there, IPv4 or IPv6, whatever protocol and source",
        "どのパケットも届かない（IPv4・IPv6、全プロトコル、送信元詐称を含む）",
    ),
    "no_internet_path": ("no packet in either direction", "どちらの向きにも通る通信がない"),
    "only_via": ("nothing falls as long as the guards stand", "関門が破られない限り、その先には届かない"),
    "exactly": (
        "open to the flows and to nothing else, there and back",
        "許可通信のとおりに開き、それ以外は閉じている（往復とも）",
    ),
}
_BROKEN = {
    "isolated": ("a new connection gets through", "新しい接続が通る"),
    "no_internet_path": ("a connection with the internet gets through", "インターネットとの接続が通る"),
    "only_via": ("a way around the guards", "関門を通らない経路がある"),
    "exactly": ("a connection that no flow allows", "許可通信にない接続が通る"),
}
