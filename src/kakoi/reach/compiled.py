"""A ruleset lowered once: its chains as blocks, and the way of a packet through them for each hook.

The way of a packet (netfilter, as nftables drives it):

- ``input``: ingress, prerouting, input; ``forward``: ingress, prerouting, forward, postrouting, egress;
  ``output``: output, postrouting, egress.
- Chains of one hook run in the order of their priority, of equal priority the one registered last first; *accept* ends only its own chain, *drop* ends everything.
- Chains of type nat see only the first packet of a connection, at one fixed place for each hook, whatever their priority.
- Connection tracking looks at the packet at priority -200 of prerouting and output: before, every packet reads as
  ``ct state invalid``.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from kakoi.errors import InputError
from kakoi.reach import dimensions as d
from kakoi.reach import syntax
from kakoi.reach.dimensions import Box, Dimension
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.lowering import LOCAL, Lowering
from kakoi.reach.memory import no_collection
from kakoi.reach.names import CT_STATES
from kakoi.reach.program import (
    Action,
    Alias,
    Assign,
    Base,
    BasePolicy,
    Block,
    Call,
    ChainKey,
    Change,
    Entry,
    Final,
    Group,
    Origin,
    Route,
    Track,
    Translate,
)

type Hook = Literal["input", "forward", "output"]

HOOKS: tuple[Hook, ...] = ("input", "forward", "output")
_WAYS: Mapping[Hook, tuple[str, ...]] = {
    "input": ("ingress", "prerouting", "input"),
    "forward": ("ingress", "prerouting", "forward", "postrouting", "egress"),
    "output": ("output", "postrouting", "egress"),
}
_TRACKING_PRIORITY = -200
_NAT_PRIORITY = {"prerouting": -100, "output": -100, "postrouting": 100, "input": 100}
_TRACKED_HOOKS = {"prerouting", "output"}
_NEW = IntervalSet.single(CT_STATES.index("new"))
_RELATED = IntervalSet.single(CT_STATES.index("related"))
_MAPPED_STATES = IntervalSet.single(CT_STATES.index("established"), CT_STATES.index("related"))


class CompiledRuleset:
    """A ruleset ready for questions. Make one and ask it many."""

    def __init__(self, ruleset: syntax.Ruleset) -> None:
        """Lower every chain.

        Raises:
            InputError: a jump leads to a chain that does not exist.
        """
        self.ruleset = ruleset
        lowering = Lowering(ruleset)
        with no_collection():
            self.blocks: dict[ChainKey, Block] = {
                (table.family, table.name, chain.name): lowering.chain(chain)
                for table in ruleset.tables
                for chain in table.chains.values()
            }
        self.assigned = {of for block in self.blocks.values() for of in _assigned_dimensions(block)}
        self.read = {d.CT_STATE, LOCAL, *d.HEADER}
        for block in self.blocks.values():
            self.read.update(_read_dimensions(block))
        self._tracked = _tracked_families(ruleset)
        self._ways: dict[Hook, Block] = {}
        self._check_calls()
        for hook in HOOKS:
            self._ways[hook] = self._way(hook, lowering.unknown)
        self.unknown = tuple(dict.fromkeys(lowering.unknown))

    def way(self, hook: Hook) -> Block:
        """The base chains that a packet of a hook meets, in order."""
        return self._ways[hook]

    def _check_calls(self) -> None:
        for key, block in self.blocks.items():
            for entry in block.entries:
                if isinstance(entry.action, Call) and entry.action.chain not in self.blocks:
                    raise InputError(
                        f"table {key[0]} {key[1]}, chain {key[2]}: jump to chain {entry.action.chain[2]!r}, which does not exist",
                        "give the whole output of: nft -j list ruleset",
                    )

    def _way(self, hook: Hook, unknown: list[syntax.UnknownConstruct]) -> Block:
        entries: list[Entry] = []

        def add(box: Box, action: Action, origin: Origin = None) -> None:
            entries.append(Entry(box, action, origin, len(entries)))

        translates = any(
            chain.base is not None and chain.base.type == "nat" and not table.dormant
            for table in self.ruleset.tables
            for chain in table.chains.values()
        )
        for step in _WAYS[hook]:
            chains = self._base_chains(step)
            fixed = [(_TRACKING_PRIORITY, "track")] if step in _TRACKED_HOOKS else []
            if translates and step in _NAT_PRIORITY:
                fixed.append((_NAT_PRIORITY[step], "translate"))
            filters = [chain for chain in chains if _base(chain).type != "nat"]
            nat = [chain for chain in chains if _base(chain).type == "nat"]
            for priority in sorted({_base(chain).priority for chain in filters} | {at for at, _ in fixed}):
                equals = [chain for chain in filters if _base(chain).priority == priority]
                beside = [kind for at, kind in fixed if at == priority]
                self._add_equals(entries, equals, unknown, before=d.ONE if beside else None)
                if "track" in beside:
                    add({}, Track())
                if "translate" in beside:
                    self._add_nat(entries, step, sorted(nat, key=lambda chain: _base(chain).priority), unknown)
                if beside:
                    self._add_equals(entries, equals, unknown, before=d.ZERO)
            if step == "prerouting" and hook == "forward":
                add({LOCAL: d.ONE}, Final("drop"))
                add({}, Route())
        for chain in self._base_chains(None):
            self._add_bridge(entries, chain, unknown)
        return Block(tuple(entries), hook)

    def _base_chains(self, hook: str | None) -> list[syntax.Chain]:
        """Base chains of a hook that see IP packets of this host, the last registered first; with ``None``, bridges'."""
        found: list[syntax.Chain] = []
        for table in self.ruleset.tables:
            if table.dormant or table.family == "arp" or (table.family == "bridge") != (hook is None):
                continue
            chains = table.chains.values()
            found.extend(chain for chain in chains if chain.base and (hook is None or chain.base.hook == hook))
        return found[::-1]

    def _add_equals(
        self,
        entries: list[Entry],
        chains: list[syntax.Chain],
        unknown: list[syntax.UnknownConstruct],
        before: IntervalSet | None,
    ) -> None:
        """Chains of equal priority.

        Beside connection tracking or translation of the same priority, whichever was registered last comes first, and no
        listing tells: both orders are reckoned with.
        """
        if len(chains) > 1 and len({(chain.family, chain.table) for chain in chains}) > 1:
            for chain in chains:
                if any(isinstance(entry.action, (Assign, Call)) for entry in self.blocks[_key(chain)].entries):
                    effect = "another table's chain has the same priority: the one listed last is taken to come first"
                    unknown.append(
                        syntax.UnknownConstruct(*_key(chain), chain.handle, f"priority {_base(chain).priority}", effect)
                    )
        for chain in chains:
            added: list[Entry] = []
            self._add_base(added, chain, unknown)
            for entry in added:
                box = entry.box
                if before is not None:
                    choice = d.hidden(f"chain {' '.join(_key(chain))} comes before what has the same priority")
                    box = {**box, choice: before}
                entries.append(Entry(box, entry.action, entry.origin, len(entries)))

    def _add_base(self, entries: list[Entry], chain: syntax.Chain, unknown: list[syntax.UnknownConstruct]) -> None:
        base = _base(chain)
        key = _key(chain)
        if not self.blocks[key].entries and base.policy == "accept":
            return
        box: dict[Dimension, IntervalSet] = {}
        if chain.family in {"ip", "ip6"}:
            box[d.FAMILY] = d.IPV4 if chain.family == "ip" else d.IPV6
        if base.hook in {"ingress", "egress"}:
            of = d.IIF if base.hook == "ingress" else d.OIF
            if base.devices:
                box[of] = IntervalSet.of((number, number) for number in map(d.name_number, base.devices))
            else:
                box[d.hidden(f"device of {base.hook} chain {' '.join(key)}")] = d.ONE
                unknown.append(
                    syntax.UnknownConstruct(
                        *key, chain.handle, f"hook {base.hook}", "its device is not listed: any or none"
                    )
                )
        if self._dormant(chain) is None:
            box[d.hidden(f"table {chain.family} {chain.table} is awake")] = d.ONE
        policy = BasePolicy(*key, chain.handle, base.policy, base.hook, base.type)
        entries.append(Entry(box, Base(key, policy), policy, len(entries)))

    def _dormant(self, chain: syntax.Chain) -> bool | None:
        return next(
            table.dormant for table in self.ruleset.tables if (table.family, table.name) == (chain.family, chain.table)
        )

    def _add_nat(
        self, entries: list[Entry], hook: str, chains: list[syntax.Chain], unknown: list[syntax.UnknownConstruct]
    ) -> None:
        """The nat chains of one hook, for the first packet of a connection; what comes later follows its mapping."""
        group: list[Entry] = []
        for chain in chains:
            self._add_base(group, chain, unknown)
        consulted = d.hidden(f"nat chains of {hook} are consulted for a related connection")
        mapped = d.hidden(f"an earlier packet made a translation of this connection at {hook}")
        if group:
            block = Block(tuple(group), "nat")
            tracking = d.hidden("something tracks connections though no rule needs it")
            sure = IntervalSet.of((family, family) for family in self._tracked)
            for families, more in ((sure, {}), (sure.complement(1), {tracking: d.ONE})):
                if families:
                    box = {d.CT_STATE: _NEW, d.FAMILY: families, **more}
                    entries.append(Entry(box, Group(block), None, len(entries)))
            entries.append(Entry({d.CT_STATE: _RELATED, consulted: d.ONE}, Group(block), None, len(entries)))
        rewritten = (d.DADDR4, d.DADDR6, d.DPORT) if hook in _TRACKED_HOOKS else (d.SADDR4, d.SADDR6, d.SPORT)
        changes: dict[Dimension, Change] = {of: d.everything(of) for of in rewritten}
        box = {d.CT_STATE: _MAPPED_STATES, mapped: d.ONE}
        entries.append(Entry(box, Assign(changes, Block(())), None, len(entries)))

    def _add_bridge(self, entries: list[Entry], chain: syntax.Chain, unknown: list[syntax.UnknownConstruct]) -> None:
        """A bridge's own chains may keep a frame from ever reaching the IP hooks; they let none through."""
        base = _base(chain)
        key = _key(chain)
        if not self.blocks[key].entries and base.policy == "accept":
            return
        effect = "frames of a bridge: may be dropped before the IP hooks see them"
        unknown.append(syntax.UnknownConstruct(*key, chain.handle, f"bridge hook {base.hook}", effect))
        policy = BasePolicy(*key, chain.handle, base.policy, base.hook, base.type)
        choice = d.hidden(f"bridge chain {' '.join(key)} drops the frame")
        entries.append(Entry({choice: d.ONE}, Final("drop"), policy, len(entries)))


def _tracked_families(ruleset: syntax.Ruleset) -> set[int]:
    """Families (0 IPv4, 1 IPv6) whose connections are tracked because some rule needs it; without, nat chains sleep."""
    found: set[int] = set()
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                for statement in rule.statements:
                    found |= _FAMILIES.get(_needs_tracking(statement, table.family), set())
    return found


_FAMILIES = {"ip": {0}, "ip6": {1}, "inet": {0, 1}}


def _needs_tracking(statement: syntax.Statement, family: str) -> str:
    """The family a statement turns tracking on for; ``dnat ip`` and ``snat ip`` do so for their own family only."""
    match statement:
        case syntax.Translation("dnat" | "snat"):
            return statement.family or family
        case syntax.Translation():
            return family
        case syntax.Match(_, left, right):
            needed = _reads_connection(left) or _reads_connection(right)
        case syntax.VerdictMap(key, _):
            needed = _reads_connection(key)
        case syntax.Assignment(target, value):
            needed = _reads_connection(target) or _reads_connection(value)
        case _:
            needed = False
    return family if needed else ""


def _reads_connection(expression: syntax.Expression) -> bool:
    match expression:
        case syntax.Selector("ct"):
            return True
        case syntax.Concatenation(parts):
            return any(_reads_connection(part) for part in parts)
        case syntax.Binary(_, left, right):
            return _reads_connection(left) or _reads_connection(right)
        case syntax.MapLookup(key, _):
            return _reads_connection(key)
        case _:
            return False


def _base(chain: syntax.Chain) -> syntax.BaseHook:
    assert chain.base is not None  # noqa: S101 - asked of base chains only
    return chain.base


def _key(chain: syntax.Chain) -> ChainKey:
    return (chain.family, chain.table, chain.name)


def _read_dimensions(block: Block) -> Iterable[Dimension]:
    for entry in block.entries:
        yield from entry.box
        if isinstance(entry.action, Assign):
            yield from _read_dimensions(entry.action.rest)
            for change in entry.action.changes.values():
                if isinstance(change, Alias):
                    yield change.of


def _assigned_dimensions(block: Block) -> Iterable[Dimension]:
    for entry in block.entries:
        if isinstance(entry.action, (Assign, Translate)):
            yield from entry.action.changes
        if isinstance(entry.action, Assign):
            yield from _assigned_dimensions(entry.action.rest)
