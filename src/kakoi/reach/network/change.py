"""Two networks compared: which connections are gained and which are lost, in the words of the policy.

Compared is what each host can really open: through its own output rules, by its own routes, with its own addresses; and
what the untrusted zone can send. Hosts are compared by name; one that exists on one side only gains or loses everything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kakoi.compile.placement import Pair, Placement
from kakoi.policy.model import Exactly, Isolated, NoInternetPath, OnlyVia, Policy
from kakoi.policy.sets import expand, my_number_stores, untrusted_zones
from kakoi.reach import dimensions as d
from kakoi.reach.conditions import merge
from kakoi.reach.dimensions import Box
from kakoi.reach.network.boxes import remainder
from kakoi.reach.network.exact import grant_box
from kakoi.reach.network.model import FAMILY_BOX, VERSIONS, NetworkModel
from kakoi.reach.network.travel import Traveller

_PROTOCOL_NAMES = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6"}


@dataclass(frozen=True, slots=True)
class State:
    """One side of a comparison."""

    policy: Policy
    model: NetworkModel


@dataclass(frozen=True, slots=True)
class Change:
    """A kind of connection between two ends that is there on one side only."""

    source: str
    destination: str
    what: str
    """``tcp/5432``, ``udp/1024-65535``, ``any protocol``..."""
    families: tuple[str, ...]
    flows: tuple[str, ...]
    """Flows of the side that has it; empty when no flow says so."""
    guarded: tuple[str, ...]
    """Assets and guarantees that the destination belongs to."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "from": self.source,
            "to": self.destination,
            "what": self.what,
            "families": list(self.families),
            "flows": list(self.flows),
            "guarded_by": list(self.guarded),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything gained and lost."""

    gained: tuple[Change, ...]
    lost: tuple[Change, ...]

    @property
    def touches_guarded(self) -> bool:
        """Whether a gained connection reaches something that is guarded."""
        return any(change.guarded for change in self.gained)

    def as_json(self) -> dict[str, Any]:
        """The shape that ``kakoi diff --json`` prints."""
        return {
            "gained": [change.as_json() for change in self.gained],
            "lost": [change.as_json() for change in self.lost],
            "gained_touches_guarded": self.touches_guarded,
        }


def compare(old: State, new: State) -> Difference:
    """What the new state lets through and the old did not, and the other way round."""
    before, after = _relation(old), _relation(new)
    guarded = _guarded((old.policy, new.policy))
    return Difference(
        tuple(_changes(after, before, new, old, guarded)), tuple(_changes(before, after, old, new, guarded))
    )


type _Relation = Mapping[tuple[str, str], tuple[Box, ...]]


def _relation(state: State) -> _Relation:
    traveller = Traveller(state.model)
    outside = untrusted_zones(state.policy)
    found: dict[tuple[str, str], list[Box]] = {}
    for name in state.model.machines:
        for delivery in traveller.from_machine(name):
            found.setdefault((name, delivery.target), []).append(delivery.box)
    for zone in outside:
        for version in VERSIONS:
            space = state.model.space(zone, version)
            if space:
                region = {**FAMILY_BOX[version], d.ADDRESSES[version][0]: space}
                for delivery in traveller.from_wire(zone, region):
                    found.setdefault((zone, delivery.target), []).append(delivery.box)
    return {pair: tuple(boxes) for pair, boxes in found.items()}


def _changes(
    here: _Relation, there: _Relation, state: State, other: State, guarded: Mapping[str, tuple[str, ...]]
) -> Iterator[Change]:
    placement = Placement(state.policy)
    for (source, destination), boxes in sorted(here.items()):
        same = all(_own(state.model, end) == _own(other.model, end) for end in (source, destination))
        mine = boxes if same else tuple(map(_without_addresses, boxes))
        theirs = there.get((source, destination), ())
        left = remainder(mine, theirs if same else tuple(map(_without_addresses, theirs)))
        kinds: dict[str, tuple[set[str], set[str]]] = {}
        for box in left:
            for what, piece in _kinds(box):
                families, flows = kinds.setdefault(what, (set(), set()))
                families.add("ipv6" if piece[d.FAMILY] == d.IPV6 else "ipv4")
                flows.update(_flows(placement, state.policy, source, destination, piece))
        for what, (families, flows) in sorted(kinds.items()):
            yield Change(
                source, destination, what, tuple(sorted(families)), tuple(sorted(flows)), guarded.get(destination, ())
            )


def _own(model: NetworkModel, name: str) -> object:
    if name in model.machines:
        return tuple(model.machines[name].own(version) for version in VERSIONS)
    return tuple(model.space(name.removeprefix("unlisted:"), version) for version in VERSIONS)


def _without_addresses(box: Box) -> Box:
    return {of: values for of, values in box.items() if of not in {*d.ADDRESSES[4], *d.ADDRESSES[6]}}


def _kinds(box: Box) -> Iterator[tuple[str, Box]]:
    """A box in words, one for each protocol it holds."""
    protocols = box.get(d.PROTOCOL, d.everything(d.PROTOCOL))
    if protocols == d.everything(d.PROTOCOL):
        ports = box.get(d.DPORT)
        yield "any protocol" if ports is None else f"any protocol, port {_ranges(ports)}", box
        return
    for low, high in protocols:
        for number in range(low, high + 1) if high - low < len(_PROTOCOL_NAMES) else (low,):
            name = _PROTOCOL_NAMES.get(number, f"protocol {number}")
            if high - low >= len(_PROTOCOL_NAMES):
                name = f"protocols {low}-{high}"
            of = {1: d.ICMP_TYPE, 58: d.ICMPV6_TYPE}.get(number, d.DPORT)
            values = box.get(of)
            yield name if values is None else f"{name}/{_ranges(values)}", box


def _ranges(values: Iterable[tuple[int, int]]) -> str:
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in values)


def _flows(placement: Placement, policy: Policy, source: str, destination: str, box: Box) -> Iterator[str]:
    version = 6 if box[d.FAMILY] == d.IPV6 else 4
    for start in (source, *_zones(policy, source)):
        for end in (destination, *_zones(policy, destination)):
            for grant in placement.grants.get(Pair(start, end), ()):
                ports = grant_box(grant, version)
                if ports is not None and merge(ports, box) is not None:
                    yield placement.flow_ids[grant.order]


def _zones(policy: Policy, name: str) -> tuple[str, ...]:
    if name.startswith("unlisted:"):
        return (name.removeprefix("unlisted:"),)
    host = policy.hosts.get(name)
    return () if host is None or host.kind == "gateway" else tuple(host.interfaces)


def _guarded(policies: Iterable[Policy]) -> Mapping[str, tuple[str, ...]]:
    """Target -> the guarantees and the kind of asset that guard it."""
    found: dict[str, dict[str, None]] = {}
    for policy in policies:
        for store in my_number_stores(policy):
            found.setdefault(store, {})["my_number_stores"] = None
        for guarantee in policy.guarantees.values():
            match guarantee:
                case NoInternetPath():
                    names = guarantee.of
                case Isolated() | OnlyVia() | Exactly():
                    names = guarantee.to
                case _:
                    continue
            for name in expand(policy, names):
                members = [
                    host.id for host in policy.hosts.values() if name in host.interfaces and host.kind != "gateway"
                ]
                for member in [*members, f"unlisted:{name}"] if name in policy.zones else [name]:
                    found.setdefault(member, {})[guarantee.id] = None
    return {name: tuple(by) for name, by in found.items()}
