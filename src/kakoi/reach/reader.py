"""``nft -j list ruleset`` read into ``syntax``: every rule kept, whatever is not understood named.

Quirks of nft 1.0.6 that are answered here: a table's ``flags`` string is garbage (the table may be dormant), the device
of an ingress chain and the ``dynamic`` flag of a set are missing.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from kakoi.errors import InputError
from kakoi.reach import syntax
from kakoi.reach.memory import no_collection
from kakoi.reach.render import render_expression, render_statement

type Json = Mapping[str, Any]

_KNOWN_TABLE_FLAGS = {"dormant", "owner", "persist"}
_PASSIVE = {"counter", "log", "comment", "last", "secmark", "ct helper", "ct timeout", "ct expectation", "tunnel"}
_MATCHES_SOMETIMES = ("next", "leave")
_ANYTHING = ("next", "leave", "accept", "drop", "return")
_UNCERTAIN = {
    "limit": _MATCHES_SOMETIMES,
    "quota": _MATCHES_SOMETIMES,
    "ct count": _MATCHES_SOMETIMES,
    "meter": _MATCHES_SOMETIMES,
    "flow": _MATCHES_SOMETIMES,
    "queue": ("accept", "drop"),
    "synproxy": ("next", "leave", "accept", "drop"),
    "tproxy": ("next", "leave", "drop"),
    "dup": ("next", "accept"),
    "fwd": ("accept", "drop"),
}
"""What each statement may do to a packet, as far as the packet alone can tell."""

_XT_PASSIVE = {
    "LOG",
    "NFLOG",
    "ULOG",
    "TCPMSS",
    "TRACE",
    "CHECKSUM",
    "AUDIT",
    "CLASSIFY",
    "TCPOPTSTRIP",
    "SECMARK",
    "CONNSECMARK",
    "IDLETIMER",
    "RATEEST",
}
_XT_MANGLE = {"MARK": ("meta", "mark"), "CONNMARK": ("ct", "mark"), "CT": ("ct", "state"), "NOTRACK": ("ct", "state")}
_XT_TRANSLATION = {"DNAT": "dnat", "REDIRECT": "dnat", "NETMAP": "dnat", "SNAT": "snat", "MASQUERADE": "snat"}


def read_ruleset(text: str, origin: str) -> syntax.Ruleset:
    """Read the output of ``nft -j list ruleset``.

    Args:
        text: the JSON.
        origin: where it came from, for messages.

    Raises:
        InputError: it is not JSON of nftables.
    """
    try:
        with no_collection():
            objects = json.loads(text)["nftables"]
            return _Reader(objects).read()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{origin}: not a listing of nftables in JSON ({type(error).__name__}: {error})",
            "give the whole output of: nft -j list ruleset",
        ) from error


class _Reader:
    def __init__(self, objects: list[Json]) -> None:
        self._objects = objects
        self._unknown: list[syntax.UnknownConstruct] = []
        self._place = ("", "", "", 0)

    def read(self) -> syntax.Ruleset:
        tables = {(body["family"], body["name"]): body for body in self._bodies("table")}
        missing = {
            (body["family"], body["table"]): {"family": body["family"], "name": body["table"]}
            for kind in ("chain", "rule", "set", "map")
            for body in self._bodies(kind)
            if (body["family"], body["table"]) not in tables
        }
        read = tuple(self._table(body) for body in [*tables.values(), *missing.values()])
        return syntax.Ruleset(tables=read, unknown=tuple(dict.fromkeys(self._unknown)))

    def _bodies(self, *kinds: str) -> Iterable[Json]:
        for item in self._objects:
            entry = item.get("add", item)
            for kind in kinds:
                if kind in entry:
                    yield entry[kind]

    def _of(self, table: Json, *kinds: str) -> Iterable[Json]:
        key = (table["family"], table["name"])
        return [body for body in self._bodies(*kinds) if (body["family"], body["table"]) == key]

    def _table(self, body: Json) -> syntax.Table:
        family, name = str(body["family"]), str(body["name"])
        rules: dict[str, list[syntax.Rule]] = {}
        updated: set[str] = set()
        for raw in self._of(body, "rule"):
            rule = self._rule(raw)
            rules.setdefault(rule.chain, []).append(rule)
            updated |= {statement.name for statement in rule.statements if isinstance(statement, syntax.SetUpdate)}
        chains = {}
        for raw in self._of(body, "chain"):
            chain_name = str(raw["name"])
            chains[chain_name] = syntax.Chain(
                family, name, chain_name, int(raw.get("handle", 0)), _base_hook(raw), tuple(rules.pop(chain_name, ()))
            )
        for chain_name, orphans in rules.items():
            chains[chain_name] = syntax.Chain(family, name, chain_name, 0, None, tuple(orphans))
        sets = {str(raw["name"]): self._set_definition(raw, updated) for raw in self._of(body, "set", "map")}
        return syntax.Table(family, name, int(body.get("handle", 0)), self._dormant(body), chains, sets)

    def _dormant(self, body: Json) -> bool | None:
        flags = body.get("flags", [])
        listed = {flags} if isinstance(flags, str) else set(flags)
        if "dormant" in listed:
            return True
        if listed <= _KNOWN_TABLE_FLAGS:
            return False
        self._place = (str(body["family"]), str(body["name"]), "", 0)
        self._note(f"flags {flags!r}", "the table may be dormant (nft 1.0.6 does not print its flags as JSON)")
        return None

    def _set_definition(self, body: Json, updated: set[str]) -> syntax.SetDefinition:
        name = str(body["name"])
        self._place = (str(body["family"]), str(body["table"]), "", int(body.get("handle", 0)))
        flags = body.get("flags", [])
        dynamic = name in updated or "dynamic" in ([flags] if isinstance(flags, str) else flags)
        if dynamic:
            self._note(f"set {name}", "traffic changes its members: anything may be in it or not")
        contents = self._set_literal(body.get("elem", []))
        if any(isinstance(element, syntax.Element) and element.expires for element in contents.elements):
            self._note(f"set {name}", "members with a timeout may be in it or not")
        return syntax.SetDefinition(
            str(body["family"]), str(body["table"]), name, int(body.get("handle", 0)), contents, dynamic
        )

    def _rule(self, body: Json) -> syntax.Rule:
        self._place = (str(body["family"]), str(body["table"]), str(body["chain"]), int(body.get("handle", 0)))
        source = tuple(body.get("expr", ()))
        return syntax.Rule(
            *self._place,
            statements=tuple(self._statement(item) for item in source),
            source=source,
            comment=str(body.get("comment", "")),
        )

    def _note(self, text: str, effect: str) -> None:
        family, table, chain, handle = self._place
        self._unknown.append(syntax.UnknownConstruct(family, table, chain, handle or None, text, effect))

    def _uncertain(self, text: str, outcomes: tuple[str, ...], *, opaque: bool = False) -> syntax.Uncertain:
        self._note(text, f"may do any of: {', '.join(outcomes)}")
        return syntax.Uncertain(text, outcomes, opaque)

    def _statement(self, item: Json) -> syntax.Statement:  # noqa: C901, PLR0911 - one line for each kind
        (kind, body), *_ = item.items()
        match kind:
            case "match":
                left, right = self._expression(body["left"]), self._expression(body["right"])
                return syntax.Match(body.get("op", "=="), left, right, item)
            case "accept" | "drop" | "continue" | "return":
                return syntax.Verdict(kind)
            case "jump" | "goto":
                return syntax.Verdict(kind, str(body["target"]))
            case "vmap":
                return syntax.VerdictMap(self._expression(body["key"]), self._expression(body["data"]), item)
            case "mangle":
                return syntax.Assignment(self._expression(body["key"]), self._expression(body["value"]), item)
            case "dnat" | "snat" | "masquerade" | "redirect":
                return self._translation(kind, body or {}, item)
            case "reject":
                return syntax.Reject(str((body or {}).get("type", "")), str((body or {}).get("family", "")))
            case "notrack":
                return syntax.NoTrack()
            case "set" | "map" if isinstance(body, Mapping) and "op" in body:
                return self._set_update(body, render_statement(item))
            case "xt":
                return self._extension(body or {}, item)
            case _ if kind in _PASSIVE:
                return syntax.Passive(render_statement(item))
            case _:
                return self._uncertain(render_statement(item), _UNCERTAIN.get(kind, _ANYTHING))

    def _set_update(self, body: Json, text: str) -> syntax.Statement:
        name = str(body.get("set", body.get("map", ""))).removeprefix("@")
        self._note(text, "may fail (full set, limit), and then the rule does not match")
        return syntax.SetUpdate(str(body["op"]), name, text)

    def _translation(self, kind: str, body: Json, source: Json) -> syntax.Translation:
        flags = body.get("flags", [])
        kinds = body.get("type_flags", [])
        return syntax.Translation(
            kind,
            str(body.get("family", "")),
            self._expression(body["addr"]) if "addr" in body else None,
            self._expression(body["port"]) if "port" in body else None,
            (*([flags] if isinstance(flags, str) else flags), *([kinds] if isinstance(kinds, str) else kinds)),
            source,
        )

    def _extension(self, body: Json, source: Json) -> syntax.Statement:  # noqa: PLR0911 - one line for each kind
        """An iptables extension: nft prints its name and hides its arguments."""
        text = render_statement(source)
        kind, name = body.get("type"), str(body.get("name", ""))
        if (kind == "match" and name == "comment") or (kind in {"target", "watcher"} and name in _XT_PASSIVE):
            return syntax.Passive(text)
        if kind == "match":
            return self._uncertain(text, _MATCHES_SOMETIMES, opaque=True)
        if kind == "target" and name == "REJECT":
            return syntax.Reject("")
        if kind == "target" and name in _XT_MANGLE:
            scope, key = _XT_MANGLE[name]
            self._note(text, f"sets {scope} {key} to a value that nft does not print")
            return syntax.Assignment(syntax.Selector(scope, "", key, f"{scope} {key}"), syntax.Unreadable(text), source)
        if kind == "target" and name in _XT_TRANSLATION:
            self._note(text, "translates to an address that nft does not print")
            unreadable = syntax.Unreadable(text)
            return syntax.Translation(_XT_TRANSLATION[name], "", unreadable, unreadable, (), source)
        if kind == "target" and name == "NFQUEUE":
            return self._uncertain(text, ("accept", "drop"), opaque=True)
        return self._uncertain(text, _ANYTHING, opaque=True)

    def _expression(self, value: Any) -> syntax.Expression:  # noqa: ANN401, C901, PLR0911, PLR0912 - one line for each kind
        if isinstance(value, int):
            return syntax.Constant(value)
        if isinstance(value, str):
            if value.startswith("@"):
                return syntax.SetReference(value[1:])
            return syntax.Wildcard() if value == "*" else syntax.Constant(value)
        if isinstance(value, list):
            return syntax.FlagList(tuple(self._expression(item) for item in value))
        if not isinstance(value, Mapping) or len(value) != 1:
            return self._unreadable(value)
        ((kind, body),) = value.items()
        match kind:
            case "payload" if "protocol" in body:
                return _payload(str(body["protocol"]), str(body["field"]))
            case "meta":
                return _meta(str(body["key"]))
            case "ct":
                return syntax.Selector(kind, str(body.get("dir", "")), str(body["key"]), render_expression(value))
            case "payload" | "fib" | "rt" | "socket" | "osf" | "exthdr" | "tcp option" | "ip option" | "sctp chunk":
                return syntax.Selector(
                    kind, "", str(body.get("result", body.get("field", ""))), render_expression(value)
                )
            case "concat":
                return syntax.Concatenation(tuple(self._expression(part) for part in body))
            case "prefix":
                return syntax.Prefix(self._expression(body["addr"]), int(body["len"]))
            case "range":
                return syntax.Range(self._expression(body[0]), self._expression(body[1]))
            case "set":
                return self._set_literal(body)
            case "elem":
                timed = "timeout" in body or "expires" in body
                return syntax.Element(self._expression(body["val"]), timed, str(body.get("comment", "")))
            case "map":
                return syntax.MapLookup(self._expression(body["key"]), self._expression(body["data"]))
            case "&" | "|" | "^" | "<<" | ">>":
                parts = [self._expression(part) for part in body]
                joined = parts[0]
                for part in parts[1:]:
                    joined = syntax.Binary(kind, joined, part)
                return joined
            case _:
                return self._unreadable(value)

    def _unreadable(self, value: Any) -> syntax.Unreadable:  # noqa: ANN401
        text = render_expression(value)
        self._note(text, "may have any value")
        return syntax.Unreadable(text)

    def _set_literal(self, items: Any) -> syntax.SetLiteral:  # noqa: ANN401
        elements: list[syntax.Expression] = []
        data: list[syntax.Expression | syntax.Verdict] = []
        for item in items if isinstance(items, list) else [items]:
            if isinstance(item, list) and len(item) == 2:  # noqa: PLR2004 - key and data of a map
                elements.append(self._expression(item[0]))
                data.append(self._data(item[1]))
            else:
                elements.append(self._expression(item))
        return syntax.SetLiteral(tuple(elements), tuple(data))

    def _data(self, value: Any) -> syntax.Expression | syntax.Verdict:  # noqa: ANN401
        if isinstance(value, Mapping) and len(value) == 1:
            ((kind, body),) = value.items()
            if kind in {"accept", "drop", "continue", "return", "jump", "goto"}:
                return syntax.Verdict(kind, str(body["target"]) if isinstance(body, Mapping) else "")
        return self._expression(value)


@cache
def _payload(protocol: str, name: str) -> syntax.Selector:
    return syntax.Selector("payload", protocol, name, f"{protocol} {name}")


@cache
def _meta(key: str) -> syntax.Selector:
    return syntax.Selector("meta", "", key, f"meta {key}")


def _base_hook(body: Json) -> syntax.BaseHook | None:
    if "hook" not in body:
        return None
    devices = body.get("dev", body.get("devices", []))
    return syntax.BaseHook(
        str(body.get("type", "filter")),
        str(body["hook"]),
        int(body.get("prio", 0)),
        str(body.get("policy", "accept")),
        (devices,) if isinstance(devices, str) else tuple(devices),
    )
