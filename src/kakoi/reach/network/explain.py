"""One connection explained: the way it takes and the rule at each hook, or what stops it first and what else would."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kakoi.compile.network import endpoint_address
from kakoi.compile.placement import Grant, Pair, Placement
from kakoi.errors import InputError
from kakoi.policy.model import Family, Policy
from kakoi.policy.sets import address_space
from kakoi.reach import dimensions as d
from kakoi.reach.dimensions import Box
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.boxes import point, remainder
from kakoi.reach.network.exact import grant_box
from kakoi.reach.network.model import VERSIONS, NetworkModel
from kakoi.reach.network.travel import Delivery, Step, Traveller
from kakoi.reach.network.witness import Passed, Witness, decide_at, rule_place, witness_of

type Answer = Literal["open", "blocked", "no_route", "unknown", "no_reply"]

_MOST_WALLS = 8
_PROTOCOLS = {"tcp", "udp"}
_ECHO = {"icmp": 8, "icmpv6": 128}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of one connection in one address family."""

    family: Family
    answer: Answer
    witness: Witness | None
    """Its packet and way; of a blocked one, the way it would take if nothing stopped it."""
    walls: tuple[Passed, ...]
    """The hooks that stop it, the first one first."""
    flows: tuple[str, ...]
    """Flows that allow it."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "family": self.family,
            "answer": self.answer,
            "flows": list(self.flows),
            "blocked_by": [wall.as_json() for wall in self.walls],
            "witness": self.witness.as_json() if self.witness else None,
        }


def parse_service(text: str) -> Grant:
    """``tcp/5432``, ``udp/53``, ``icmp`` or ``icmpv6`` (an echo request).

    Raises:
        InputError: it is none of these.
    """
    protocol, slash, port = text.lower().partition("/")
    if protocol in _ECHO and not slash:
        return Grant(protocol, _ECHO[protocol], _ECHO[protocol], 0)
    if protocol in _PROTOCOLS and port.isdigit() and 0 < int(port) <= d.DPORT.maximum:
        return Grant(protocol, int(port), int(port), 0)
    raise InputError(f"{text!r}: not a protocol and port", "write tcp/5432, udp/53, icmp or icmpv6")


def explain(
    policy: Policy, model: NetworkModel, source: str, destination: str, service: Grant
) -> tuple[Explanation, ...]:
    """Explain a connection from a host or zone to a host, for each address family that both ends have.

    Raises:
        InputError: an end does not exist, or both ends are the same.
    """
    if source not in model.machines and source not in policy.zones:
        raise InputError(f"no host or zone is called {source!r}", f"use one of: {', '.join(model.machines)}")
    if destination not in model.machines:
        raise InputError(f"no host is called {destination!r}", f"use one of: {', '.join(model.machines)}")
    if source == destination:
        raise InputError(f"{source} does not need the network to reach itself", "name two hosts")
    explainer = _Explainer(policy, model, source, destination, service)
    return tuple(found for version in VERSIONS if (found := explainer.family(version)) is not None)


class _Explainer:
    def __init__(self, policy: Policy, model: NetworkModel, source: str, destination: str, service: Grant) -> None:
        self._policy = policy
        self._model = model
        self._source = source
        self._destination = destination
        self._service = service
        self._placement = Placement(policy)
        self._whole = Traveller(model)
        self._breaking = Traveller(model, _MOST_WALLS, self._whole.filters)

    def family(self, version: int) -> Explanation | None:
        family: Family = "ipv4" if version == 4 else "ipv6"  # noqa: PLR2004 - IPv4
        ports = grant_box(self._service, version)
        end = endpoint_address(self._policy, self._destination, self._source, family)
        sources = self._sources(version, family)
        if ports is None or end is None or not sources:
            return None
        of, to = d.ADDRESSES[version]
        box = {**ports, of: sources, to: IntervalSet.single(int(end))}
        arrived = self._arriving(self._whole, box)
        if arrived:
            return self._open(family, box, arrived)
        stopped = self._arriving(self._breaking, box)
        if not stopped:
            return Explanation(family, "no_route", None, (), self._flows())
        shortest = min(stopped, key=lambda one: len(one.opened))
        witness = self._witness(shortest, box)
        steps = shortest.last.chain() if shortest.last is not None else ()
        walls = tuple(self._wall(step, witness) for step in steps if step.opened or step.machine in shortest.opened)
        walls = tuple(wall for wall in walls if wall.verdict != "accept")
        return Explanation(family, "blocked", witness, walls, self._flows())

    def _open(self, family: Family, box: Box, arrived: list[Delivery]) -> Explanation:
        sure = [one for one in arrived if one.certain]
        witness = self._witness((sure or arrived)[0], box)
        whole = self._source in self._policy.zones or not remainder([box], [one.box for one in sure])
        answer: Answer = "open" if sure and whole else "unknown"
        if answer == "open" and not self._answered(box):
            answer = "no_reply"
        return Explanation(family, answer, witness, (), self._flows())

    def _answered(self, box: Box) -> bool:
        if self._source not in self._model.machines:
            return True
        version = 6 if box[d.FAMILY].first else 4
        of, to = d.ADDRESSES[version]
        back = {d.FAMILY: box[d.FAMILY], d.PROTOCOL: box[d.PROTOCOL], of: box[to], to: box[of]}
        if d.DPORT in box:
            back[d.SPORT] = box[d.DPORT]
        arrived = self._whole.from_machine(self._destination, back, reply=True)
        return any(one.target == self._source for one in arrived)

    def _sources(self, version: int, family: Family) -> IntervalSet:
        if self._source in self._model.machines:
            start = endpoint_address(self._policy, self._source, self._destination, family)
            return IntervalSet.single(int(start)) if start is not None else IntervalSet((), ())
        zone = self._policy.zones[self._source]
        del version
        return IntervalSet.of((int(low), int(high)) for low, high in address_space(self._policy, zone, family))

    def _arriving(self, traveller: Traveller, box: Box) -> list[Delivery]:
        if self._source in self._model.machines:
            found = traveller.from_machine(self._source, box)
        else:
            found = traveller.from_wire(self._source, box)
        return [one for one in found if one.target == self._destination]

    def _witness(self, delivery: Delivery, box: Box) -> Witness:
        wire = self._source if self._source in self._policy.zones else self._model.machines[self._source].legs[0].wire
        preferred = {of: box[of] for version in VERSIONS for of in d.ADDRESSES[version][:1] if of in box}
        return witness_of(self._model, wire, delivery, preferred)

    def _wall(self, step: Step, witness: Witness) -> Passed:
        machine = self._model.machines[step.machine]
        packet = point(witness.packet)
        decision = decide_at(machine, step.hook, step.iif, step.oif, packet)
        place = rule_place(machine, decision.origin, packet, step.iif, step.oif)
        return Passed(
            machine.name,
            machine.basis,
            step.hook,
            step.iif,
            step.oif,
            opened=False,
            verdict=decision.verdict,
            rule=place,
        )

    def _flows(self) -> tuple[str, ...]:
        sources = [self._source, *self._zones(self._source)]
        ends = [self._destination, *self._zones(self._destination)]
        found: Mapping[int, None] = {
            grant.order: None
            for start in sources
            for end in ends
            for grant in self._placement.grants.get(Pair(start, end), ())
            if grant.protocol == self._service.protocol and grant.first <= self._service.first <= grant.last
        }
        return tuple(self._placement.flow_ids[order] for order in sorted(found))

    def _zones(self, name: str) -> tuple[str, ...]:
        host = self._policy.hosts.get(name)
        return () if host is None or host.kind == "gateway" else tuple(host.interfaces)
