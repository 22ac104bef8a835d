"""The engine's speed: CPU time of questions on large rulesets, against reading them in the same run where one is the measure."""

import itertools
import time
from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from random import Random
from statistics import median
from typing import Any

import pytest

from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.decide import decide
from kakoi.reach.difference import difference
from kakoi.reach.packet import parse_packet
from kakoi.reach.reader import read_ruleset
from kakoi.reach.space import accepted_space
from nft_listing import Rule, chain, listing, packet, table

pytestmark = pytest.mark.benchmark

_KEY = {"concat": [{"payload": {"protocol": scope, "field": name}} for scope, name in (("ip", "saddr"), ("ip", "daddr"), ("tcp", "dport"))]}  # fmt: skip
_BUSY = 3.0
"""How much longer CPU time may take on a machine that others keep busy (shared caches) than on a quiet one."""


def _seconds[T](work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _flows(number: int) -> list[tuple[str, str, int]]:
    random = Random(1)  # noqa: S311 - repeatable, nothing secret
    flows: set[tuple[str, str, int]] = set()
    while len(flows) < number:
        source, target = (
            IPv4Address(10 << 24 | random.randrange(1 << 16)),
            IPv4Address((10 << 24 | 16 << 16) + random.randrange(1 << 12)),
        )
        flows.add((str(source), str(target), random.choice((22, 53, 80, 443, 5432, 8080))))
    return sorted(flows)


def _compiled(parts: list[Any], rules: list[Rule]) -> CompiledRuleset:
    established: Rule = ["ct state established,related", "accept"]
    text = listing(table(parts, chain("f", established, *rules, hook="forward", policy="drop")))
    return CompiledRuleset(read_ruleset(text, "benchmark"))


def _linear(flows: list[tuple[str, str, int]]) -> CompiledRuleset:
    return _compiled([], [[f"ip saddr {a}", f"ip daddr {b}", f"tcp dport {port}", "accept"] for a, b, port in flows])


def _by_set(flows: list[tuple[str, str, int]]) -> CompiledRuleset:
    elements = [{"concat": list(flow)} for flow in flows]
    lookup = {"match": {"op": "==", "left": _KEY, "right": "@s"}}
    return _compiled([{"set": {"name": "s", "handle": 9, "type": "x", "elem": elements}}], [[lookup, "accept"]])


def _by_map(flows: list[tuple[str, str, int]]) -> CompiledRuleset:
    elements = [[{"concat": list(flow)}, {"accept": None}] for flow in flows]
    lookup = {"vmap": {"key": _KEY, "data": "@m"}}
    return _compiled([{"map": {"name": "m", "handle": 9, "type": "x", "map": "verdict", "elem": elements}}], [[lookup]])


@pytest.mark.parametrize("other", [_by_set, _by_map])
def test_ten_thousand_rules_said_differently_are_equal_within_two_seconds(
    other: Callable[[list[tuple[str, str, int]]], CompiledRuleset],
) -> None:
    """Equivalence of 10,000 linear rules and one look-up, every hook and both families; one lost element is found too."""
    flows = _flows(10_000)
    linear, looked_up, one_less = _linear(flows), other(flows), other(flows[1:])
    seconds, changes = _seconds(lambda: list(difference(linear, looked_up)))
    assert changes == []
    assert seconds < 2 * _BUSY
    (change,) = difference(linear, one_less)
    assert change.kind == "closed"


def _tiles(number: int) -> list[Rule]:
    """Denials that tile one question's space, in random order, above a permit of everything: no shortcut helps."""
    side = round(number**0.5)
    edges = [round(index * 65536 / side) for index in range(side + 1)]
    spans = [(low, high - 1) for low, high in itertools.pairwise(edges)]
    sources = [f"ip saddr 10.20.{low >> 8}.{low & 255}-10.20.{high >> 8}.{high & 255}" for low, high in spans]
    targets = [f"ip daddr 10.10.{low >> 8}.{low & 255}-10.10.{high >> 8}.{high & 255}" for low, high in spans]
    rules: list[Rule] = [[source, target, "drop"] for source in sources for target in targets]
    Random(2).shuffle(rules)  # noqa: S311 - repeatable, nothing secret
    return rules


def test_isolation_over_a_hundred_thousand_adversarial_rules_within_one_second() -> None:
    """With all tiles the question's space is isolated; with one tile missing, the leak is found."""
    tiles = _tiles(100_000)
    question = ip_network("10.20.0.0/16"), ip_network("10.10.0.0/16")
    closed = _compiled([], [*tiles, ["ip saddr 10.0.0.0/8", "accept"]])
    seconds, leaks = _seconds(lambda: list(accepted_space(closed, "forward", *question)))
    assert leaks == []
    assert seconds < 1 * _BUSY
    leaking = _compiled([], [*tiles[1:], ["ip saddr 10.0.0.0/8", "accept"]])
    assert len(list(accepted_space(leaking, "forward", *question))) == 1


@pytest.mark.parametrize("build", [_linear, _by_set, _by_map])
def test_one_packet_on_a_hundred_thousand_elements_within_a_millisecond(
    build: Callable[[list[tuple[str, str, int]]], CompiledRuleset],
) -> None:
    """Deciding one packet costs next to nothing once the ruleset is read, accepted or dropped."""
    flows = _flows(100_000)
    ruleset = build(flows)
    source, target, port = flows[50_000]
    asked = [parse_packet(packet(saddr=source, daddr=target, dport=str(one))) for one in (port, 1)]
    assert [decide(ruleset, "forward", one).verdict for one in asked] == ["accept", "drop"]
    times = [_seconds(lambda one=one: decide(ruleset, "forward", one))[0] for one in asked * 20]  # type: ignore[misc]
    assert median(times) < 0.001 * _BUSY
