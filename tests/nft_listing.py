# ruff: noqa: ANN401 - JSON may be anything
"""Listings as ``nft -j list ruleset`` prints them, built without nft for tests that need no root."""

import json
import re
from collections.abc import Sequence
from typing import Any

from kakoi.reach.compiled import CompiledRuleset, Hook
from kakoi.reach.decide import Decision, decide
from kakoi.reach.packet import parse_packet
from kakoi.reach.reader import read_ruleset

_MATCH = re.compile(
    r"(?P<scope>ip6?|tcp|udp|th|icmp|icmpv6|meta|ct) (?P<name>[a-z0-9]+) (?:(?P<op>!=|<=|>=|<|>|!) )?(?P<value>\S.*)"
)


def value(text: str) -> Any:
    """``22``, ``10.0.0.0/8``, ``1-5``, ``@name``, ``{ a, b }`` or ``a . b`` as JSON."""
    text = text.strip()
    if text.startswith("{"):
        return {"set": [value(part) for part in text.strip("{} ").split(",")]}
    if " . " in text:
        return {"concat": [value(part) for part in text.split(" . ")]}
    if found := re.fullmatch(r"([0-9a-f.:]+)/(\d+)", text):
        return {"prefix": {"addr": found[1], "len": int(found[2])}}
    if found := re.fullmatch(r"([0-9a-f.:]+)-([0-9a-f.:]+)", text):
        return {"range": [value(found[1]), value(found[2])]}
    return int(text) if text.isdigit() else text


def selector(text: str) -> Any:
    """``ip saddr``, ``meta mark`` or ``ip saddr . tcp dport`` as JSON."""
    if " . " in text:
        return {"concat": [selector(part) for part in text.split(" . ")]}
    scope, name = text.split()
    if scope in {"meta", "ct"}:
        return {scope: {"key": name}}
    return {"payload": {"protocol": scope, "field": name}}


def match(text: str) -> Any:
    """``tcp dport 22`` or ``ip saddr != 10.0.0.0/8`` as JSON."""
    found = _MATCH.fullmatch(text)
    assert found is not None, text
    right = value(found["value"])
    if found["scope"] == "ct" and isinstance(right, str) and "," in right:
        right = right.split(",")
    flags = found["scope"] == "ct" and found["name"] == "state" and not isinstance(right, dict)
    operator = found["op"] or ("in" if flags else "==")
    return {"match": {"op": operator, "left": selector(f"{found['scope']} {found['name']}"), "right": right}}


def verdict(text: str) -> Any:
    """``accept``, ``jump chain``... as JSON."""
    kind, _, target = text.partition(" ")
    return {kind: {"target": target} if target else None}


def statement(item: str | dict[str, Any]) -> Any:
    """A statement: JSON as it is, text as a match or a verdict."""
    if not isinstance(item, str):
        return item
    return (
        verdict(item)
        if item.split()[0] in {"accept", "drop", "return", "continue", "jump", "goto", "reject", "notrack"}
        else match(item)
    )


type Rule = Sequence[str | dict[str, Any]]


def chain(
    name: str, *rules: Rule, hook: str = "", priority: int = 0, policy: str = "accept", kind: str = "filter"
) -> list[Any]:
    """A chain with its rules; without a hook, one to jump to."""
    base = {"type": kind, "hook": hook, "prio": priority, "policy": policy} if hook else {}
    head = {"chain": {"name": name, "handle": 1, **base}}
    return [head, *({"rule": {"chain": name, "handle": 0, "expr": [statement(one) for one in rule]}} for rule in rules)]


def named_set(name: str, *elements: Any, **more: Any) -> list[Any]:
    """A named set; elements are text, or JSON."""
    return [
        {
            "set": {
                "name": name,
                "handle": 9,
                "type": "x",
                "elem": [value(one) if isinstance(one, str) else one for one in elements],
                **more,
            }
        }
    ]


def named_map(name: str, **elements: str) -> list[Any]:
    """A named verdict map."""
    items = [[value(key.replace("_", ".")), verdict(data)] for key, data in elements.items()]
    return [{"map": {"name": name, "handle": 9, "type": "x", "map": "verdict", "elem": items}}]


def table(*parts: list[Any], family: str = "inet", name: str = "t", **more: Any) -> list[Any]:
    """A table; handles are numbered in order of the rules."""
    objects: list[Any] = [{"table": {"family": family, "name": name, "handle": 1, **more}}]
    number = 1
    for item in (one for part in parts for one in part):
        ((key, body),) = item.items()
        number += 1
        handle = {"handle": number} if key == "rule" else {}
        objects.append({key: {"family": family, "table": name, **body, **handle}})
    return objects


def listing(*tables: list[Any]) -> str:
    """The whole listing as text."""
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *(one for part in tables for one in part)]})


def compiled(*tables: list[Any]) -> CompiledRuleset:
    """The listing read and compiled."""
    return CompiledRuleset(read_ruleset(listing(*tables), "test"))


def forward(
    *rules: Rule, policy: str = "drop", also: Sequence[list[Any]] = (), family: str = "inet"
) -> CompiledRuleset:
    """One forward chain of these rules."""
    return compiled(table(*also, chain("f", *rules, hook="forward", policy=policy), family=family))


PACKET = "iif=eth0 oif=eth1 saddr=192.0.2.1 daddr=198.51.100.7 proto=tcp sport=40000 dport=22 ct=new"


def packet(**changes: str) -> str:
    """An ordinary SSH connection's first packet, with changes."""
    words = dict(word.split("=") for word in PACKET.split()) | changes
    return " ".join(f"{key}={one}" for key, one in words.items() if one)


def ask(ruleset: CompiledRuleset, spec: str = PACKET, hook: Hook = "forward") -> Decision:
    """Decide one packet."""
    return decide(ruleset, hook, parse_packet(spec))
