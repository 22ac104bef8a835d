"""What an nftables ruleset says, as frozen data: tables, chains, rules, sets, and the expressions inside rules.

Nothing is interpreted here. A construct the reader does not know becomes ``Uncertain`` or ``Unreadable`` with its text,
so that later parts can widen *may*, narrow *must*, and name the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kakoi.reach.render import render_rule, render_statement

type Expression = (
    Constant
    | Selector
    | Concatenation
    | Prefix
    | Range
    | SetLiteral
    | SetReference
    | Wildcard
    | Element
    | FlagList
    | Binary
    | MapLookup
    | Unreadable
)
type Statement = (
    Match | Verdict | VerdictMap | Assignment | Translation | Reject | NoTrack | SetUpdate | Passive | Uncertain
)


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal value as nft prints it: number, name, address or truth value."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Selector:
    """Something that is read from the packet or its surroundings, e.g. ``ip saddr`` or ``meta mark``."""

    kind: str
    """``payload``, ``meta``, ``ct``, ``fib``, ``exthdr``, ``tcp option``..."""
    scope: str
    """The protocol of a payload field, the direction of a ct key, otherwise empty."""
    name: str
    """The field or key."""
    text: str
    """The whole selector in nft's words: its identity."""


@dataclass(frozen=True, slots=True)
class Concatenation:
    """``a . b . c``."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Prefix:
    """``address/length``."""

    address: Expression
    length: int


@dataclass(frozen=True, slots=True)
class Range:
    """``low-high``, both inclusive."""

    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The catch-all element ``*`` of a set or map."""


@dataclass(frozen=True, slots=True)
class Element:
    """A set element that carries more than its value."""

    value: Expression
    expires: bool
    """It has a timeout: it is a member now and may not be one at the next packet."""
    comment: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``accept``, ``drop``, ``continue``, ``return``, ``jump`` or ``goto``."""

    kind: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class SetLiteral:
    """``{ ... }``: elements, or pairs of key and data for a map."""

    elements: tuple[Expression, ...]
    data: tuple[Expression | Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class SetReference:
    """``@name``."""

    name: str


@dataclass(frozen=True, slots=True)
class FlagList:
    """``syn,ack``: bits of a flag field."""

    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """Bit arithmetic: ``&``, ``|``, ``^``, ``<<``, ``>>``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class MapLookup:
    """``key map { ... }``: the data of the element that the key selects."""

    key: Expression
    data: Expression


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An expression whose value this program cannot compute."""

    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """``left operator right``; a packet that does not match leaves the rule."""

    operator: str
    left: Expression
    right: Expression
    source: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The statement in nft's words."""
        return render_statement(self.source)


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """``key vmap { ... }``; without an element for the key the packet leaves the rule."""

    key: Expression
    data: Expression
    source: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The statement in nft's words."""
        return render_statement(self.source)


@dataclass(frozen=True, slots=True)
class Assignment:
    """``selector set value``."""

    target: Expression
    value: Expression
    source: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The statement in nft's words."""
        return render_statement(self.source)


@dataclass(frozen=True, slots=True)
class Translation:
    """``dnat``, ``snat``, ``masquerade`` or ``redirect``."""

    kind: str
    family: str
    """``ip``, ``ip6`` or empty for that of the table."""
    address: Expression | None
    port: Expression | None
    flags: tuple[str, ...]
    source: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The statement in nft's words."""
        return render_statement(self.source)


@dataclass(frozen=True, slots=True)
class Reject:
    """Drop and tell the sender."""

    kind: str
    """``icmp``, ``icmpv6``, ``icmpx``, ``tcp reset`` or empty."""
    family: str = ""
    """``ip``, ``ip6`` or ``any``; empty where only the rule's matches tell. Before ``reject with tcp reset`` nft (1.0.6 to
    1.1.3 seen) does not list a match of the address family: without the rule's bytecode nobody knows."""


@dataclass(frozen=True, slots=True)
class NoTrack:
    """Leave this packet out of connection tracking."""


@dataclass(frozen=True, slots=True)
class SetUpdate:
    """``add @set { ... }``: from now on the members of the set depend on traffic."""

    operation: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Passive:
    """A statement that never decides: counter, log, nftrace..."""

    text: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A statement whose result is not in the packet: each of the listed outcomes must be reckoned with."""

    text: str
    outcomes: tuple[str, ...]
    """Out of ``next`` (go on in the rule), ``leave`` (the rule does not match), ``accept``, ``drop``, ``return``."""
    opaque: bool = False
    """Two statements with the same text may still mean different things (iptables extensions hide their arguments)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one chain."""

    family: str
    table: str
    chain: str
    handle: int
    statements: tuple[Statement, ...]
    source: tuple[Mapping[str, Any], ...] = field(repr=False, compare=False, default=())
    comment: str = ""

    @property
    def text(self) -> str:
        """The rule in nft's words."""
        return render_rule(self.source, self.comment)


@dataclass(frozen=True, slots=True)
class BaseHook:
    """Where a base chain hangs in the kernel's packet path."""

    type: str
    """``filter``, ``nat`` or ``route``."""
    hook: str
    priority: int
    policy: str
    devices: tuple[str, ...]
    """Of an ingress or egress chain; empty where the listing does not tell (nft 1.0.6)."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules in order; ``base`` is ``None`` for a chain that is only jumped to."""

    family: str
    table: str
    name: str
    handle: int
    base: BaseHook | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class SetDefinition:
    """A named set or map."""

    family: str
    table: str
    name: str
    handle: int
    contents: SetLiteral = field(repr=False)
    dynamic: bool
    """Rules or timeouts change it: the listed members are those of one moment."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table; ``dormant`` is ``None`` where the listing does not tell (nft 1.0.6 prints garbage there)."""

    family: str
    name: str
    handle: int
    dormant: bool | None
    chains: Mapping[str, Chain]
    sets: Mapping[str, SetDefinition]


@dataclass(frozen=True, slots=True)
class UnknownConstruct:
    """Something that was not understood, and where it stands."""

    family: str
    table: str
    chain: str
    handle: int | None
    text: str
    effect: str
    """What is assumed instead, in one sentence."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything one machine filters with."""

    tables: tuple[Table, ...]
    unknown: tuple[UnknownConstruct, ...]
    """Constructs the reader did not understand."""

    @property
    def rule_count(self) -> int:
        """How many rules were read."""
        return sum(len(chain.rules) for table in self.tables for chain in table.chains.values())
