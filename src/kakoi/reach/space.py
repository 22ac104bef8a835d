"""The space of packets that a ruleset accepts, as disjoint boxes."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from kakoi.errors import InputError
from kakoi.reach import dimensions as d
from kakoi.reach.diagram import Diagrams, Inner, Node, Terminal, boxes_of
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.engine import CompiledRuleset, Hook, Outcome, Question, piece_budget
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.memory import no_collection
from kakoi.reach.names import CT_STATES
from kakoi.reach.packet import first_packet

type Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AcceptedBox:
    """A product of sets of packets that may get through, in the coordinates of the packet as it arrives."""

    box: Box
    certain: bool
    """All of them get through, whatever is not known about the machine."""
    translations: tuple[tuple[tuple[Dimension, IntervalSet], ...], ...] = field(default=((),))
    """The header fields they may have afterwards, one alternative for each; an empty one is the packet as it was."""


def region_of(source: Network | None, destination: Network | None, state: str = "new") -> Box:
    """The region of packets from and to networks.

    Args:
        source: network of the sender, or any.
        destination: network of the packet's destination as it arrives, or any.
        state: a connection state, or ``any``.

    Raises:
        InputError: the networks are of different families.
    """
    box: dict[Dimension, IntervalSet] = {}
    for network, side in ((source, 0), (destination, 1)):
        if network is None:
            continue
        family = d.IPV4 if network.version == 4 else d.IPV6  # noqa: PLR2004 - the IP version
        if box.get(d.FAMILY, family) != family:
            raise InputError(f"{source} and {destination}: two address families", "give two networks of one family")
        box[d.FAMILY] = family
        box[d.ADDRESSES[network.version][side]] = network_interval(network)
    if state != "any":
        box[d.CT_STATE] = IntervalSet.single(CT_STATES.index(state))
    return box


def network_interval(network: Network) -> IntervalSet:
    """The addresses of a network as numbers."""
    return IntervalSet.single(int(network.network_address), int(network.broadcast_address))


def accepted_space(
    compiled: CompiledRuleset,
    hook: Hook,
    source: Network | None = None,
    destination: Network | None = None,
    state: str = "new",
) -> Iterator[AcceptedBox]:
    """What gets through from a source to a destination, both as an engineer means them.

    The source is the sender's address as it arrives, the destination the address the packet has when it leaves the
    hooks: what destination NAT leads to a protected address counts as reaching it. Only first packets of connections are
    asked about unless ``state`` says otherwise; packets come unmarked.

    Raises:
        InputError: the networks are of different families.
        BudgetExceededError: the space takes too many pieces.
    """
    region = region_of(source, destination, state)
    translated = destination is not None and _rewrites_destination(compiled)
    asked = dict(region)
    if translated and destination is not None:
        del asked[d.ADDRESSES[destination.version][1]]
    assumed = {**on_the_wire(hook), **first_packet(asked), **asked}
    with no_collection():
        node = Question(compiled, hook, Diagrams(piece_budget())).answer(assumed)
    yield from boxes_in(node, asked, None if not translated else destination)


def on_the_wire(hook: Hook) -> Box:
    """What holds of every packet before the ruleset sees it: no mark yet, and interfaces have names."""
    box: dict[Dimension, IntervalSet] = dict.fromkeys(d.MARK, d.ZERO)
    if hook != "output":
        box[d.IIF] = IntervalSet.single(1, d.IIF.maximum)
    if hook != "input":
        box[d.OIF] = IntervalSet.single(1, d.OIF.maximum)
    return box


def _rewrites_destination(compiled: CompiledRuleset) -> bool:
    return any(of in compiled.assigned for of in (d.DADDR4, d.DADDR6))


def boxes_in(node: Node, region: Box, destination: Network | None = None) -> Iterator[AcceptedBox]:
    """The accepted boxes of an answer within its region; hidden dimensions become certain or not."""
    diagrams = Diagrams(piece_budget())
    lead = hidden_outcomes(node, diagrams, _Fate.of)
    for box, fate in boxes_of(lead, lambda value: isinstance(value, _Fate) and value.may):
        whole = within(box, region)
        if whole is None or not isinstance(fate, _Fate):
            continue
        yield from _delivered(whole, fate, destination)


def _delivered(box: Box, fate: "_Fate", destination: Network | None) -> Iterator[AcceptedBox]:
    """Split a box by where its packets end up, when only some destinations count."""
    if destination is None:
        yield AcceptedBox(box, fate.must, fate.translations)
        return
    of = d.ADDRESSES[destination.version][1]
    wanted = network_interval(destination)
    kept = box.get(of, d.everything(of)).intersection(wanted)
    moved = tuple(one for one in fate.translations if dict(one).get(of) is not None)
    arriving = tuple(one for one in moved if dict(one)[of].intersection(wanted))
    staying = tuple(one for one in fate.translations if dict(one).get(of) is None)
    surely = fate.must and all(wanted.covers(dict(one)[of]) for one in moved)
    other = box.get(of, d.everything(of)).intersection(wanted.complement(of.maximum))
    if kept and (staying or arriving):
        yield AcceptedBox({**box, of: kept}, surely, (*staying, *arriving))
    if other and arriving:
        yield AcceptedBox({**box, of: other}, surely and not staying, arriving)


@dataclass(frozen=True, slots=True)
class _Fate:
    may: bool
    must: bool
    translations: tuple[tuple[tuple[Dimension, IntervalSet], ...], ...]

    @classmethod
    def of(cls, outcomes: frozenset[Outcome]) -> "_Fate":
        accepted = [outcome for outcome in outcomes if outcome.verdict == "accept"]
        translations = {outcome.translation for outcome in accepted}
        ordered = tuple(sorted(translations, key=lambda one: [(of.order, values.starts) for of, values in one]))
        return cls(bool(accepted), len(accepted) == len(outcomes), ordered)


def hidden_outcomes(node: Node, diagrams: Diagrams, judge: Callable[[frozenset[Outcome]], Hashable]) -> Node:
    """The same function with hidden dimensions taken away: each point gets the judgement of all outcomes it may have."""
    outcomes: dict[int, frozenset[Outcome]] = {}
    memo: dict[int, Node] = {}

    def collect(of: Node) -> frozenset[Outcome]:
        found = outcomes.get(id(of))
        if found is None:
            if isinstance(of, Terminal):
                found = frozenset((of.value,)) if isinstance(of.value, Outcome) else frozenset()
            else:
                found = frozenset().union(*(collect(child) for child in of.children))
            outcomes[id(of)] = found
        return found

    def walk(of: Node) -> Node:
        found = memo.get(id(of))
        if found is None:
            if isinstance(of, Inner) and not of.of.hidden:
                found = diagrams.inner(of.of, of.uppers, [walk(child) for child in of.children])
            else:
                found = diagrams.terminal(judge(collect(of)))
            memo[id(of)] = found
        return found

    return walk(node)


def restrict(node: Node, region: Box, diagrams: Diagrams) -> Node:
    """The same function where it matters: what lies outside of the region is filled with what lies beside it."""
    memo: dict[int, Node] = {}

    def walk(of: Node) -> Node:
        if isinstance(of, Terminal):
            return of
        found = memo.get(id(of))
        if found is None:
            values = region.get(of.of)
            if values is None:
                found = diagrams.inner(of.of, of.uppers, [walk(child) for child in of.children])
            else:
                kept = [
                    (upper, walk(child))
                    for low, upper, child in zip(
                        (0, *(one + 1 for one in of.uppers)), of.uppers, of.children, strict=False
                    )
                    if values.clip(low, upper)
                ]
                uppers = [*(upper for upper, _ in kept[:-1]), of.of.maximum]
                found = diagrams.inner(of.of, uppers, [child for _, child in kept])
            memo[id(of)] = found
        return found

    return walk(node)


def within(box: Box, region: Box) -> Box | None:
    """A box restricted to a region; ``None`` when nothing is left."""
    whole = dict(box)
    for of, values in region.items():
        if of.hidden:
            continue
        known = whole.get(of)
        whole[of] = values if known is None else known.intersection(values)
        if not whole[of]:
            return None
    return whole
