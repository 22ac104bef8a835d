"""Random access lists in a world small enough to try every packet: nothing isolated that is not, nothing lost."""

from ipaddress import ip_network
from random import Random

from z3 import And, BoolRef, BoolVal, Int, IntNumRef, Not, Or, Solver, sat

from kakoi.reach import dimensions as d
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.difference import difference
from kakoi.reach.dimensions import Box
from kakoi.reach.space import accepted_space
from nft_listing import Rule, chain, compiled, table

_SOURCES, _TARGETS, _PORTS = 8, 8, 4
_LISTS = 2000

type Acl = list[tuple[tuple[int, int], tuple[int, int], tuple[int, int], bool]]
"""Ranges of source, target and port, and whether they are let through; what matches none is not."""


def _random_acl(random: Random) -> Acl:
    def span(size: int) -> tuple[int, int]:
        low = random.randrange(size)
        return low, random.randrange(low, size)

    rules = random.randint(1, 10)
    return [(span(_SOURCES), span(_TARGETS), span(_PORTS), random.random() < 0.45) for _ in range(rules)]


def _permits(acl: Acl, source: int, target: int, port: int) -> bool:
    for (s, t), (u, v), (p, q), permit in acl:
        if s <= source <= t and u <= target <= v and p <= port <= q:
            return permit
    return False


def _rules(acl: Acl) -> list[Rule]:
    return [
        [
            f"ip saddr 10.0.0.{s}-10.0.0.{t}",
            f"ip daddr 10.1.0.{u}-10.1.0.{v}",
            f"tcp dport {p}-{q}",
            "accept" if permit else "drop",
        ]
        for (s, t), (u, v), (p, q), permit in acl
    ]


def _compiled(acl: Acl) -> CompiledRuleset:
    return compiled(table(chain("f", *_rules(acl), hook="forward", policy="drop")))


def _world(box: Box) -> set[tuple[int, int, int]]:
    """The packets of the small world that are in a box."""
    return {
        (source, target, port)
        for source in range(_SOURCES)
        for target in range(_TARGETS)
        for port in range(_PORTS)
        if (10 << 24 | source) in box.get(d.SADDR4, d.everything(d.SADDR4))
        and (10 << 24 | 1 << 16 | target) in box.get(d.DADDR4, d.everything(d.DADDR4))
        and port in box.get(d.DPORT, d.everything(d.DPORT))
        and 6 in box.get(d.PROTOCOL, d.everything(d.PROTOCOL))
        and 0 in box.get(d.FAMILY, d.everything(d.FAMILY))
    }


def test_no_false_isolated_in_two_thousand_access_lists() -> None:
    """The accepted boxes are exactly the packets that trying each one finds, for every one of 2,000 random lists."""
    random = Random(20261123)  # noqa: S311 - repeatable, nothing secret
    leaking = 0
    for _ in range(_LISTS):
        acl = _random_acl(random)
        truth = {
            (source, target, port)
            for source in range(_SOURCES)
            for target in range(_TARGETS)
            for port in range(_PORTS)
            if _permits(acl, source, target, port)
        }
        boxes = list(accepted_space(_compiled(acl), "forward", ip_network("10.0.0.0/29"), ip_network("10.1.0.0/29")))
        found = [packet for box in boxes for packet in _world(box.box)]
        assert len(found) == len(set(found)), "boxes overlap"
        assert set(found) == truth
        assert all(box.certain for box in boxes)
        leaking += bool(truth)
    assert leaking > _LISTS / 3


def test_equivalence_is_what_an_smt_solver_says() -> None:
    """Two access lists are equal for the engine exactly when z3 finds no packet they treat differently."""
    random = Random(7)  # noqa: S311 - repeatable, nothing secret
    equal = 0
    for _ in range(60):
        first = _random_acl(random)
        second = list(first) if random.random() < 0.5 else _random_acl(random)
        if random.random() < 0.6:
            second.insert(random.randrange(len(second) + 1), random.choice(second))
        solver = Solver()
        solver.add(_formula(first) != _formula(second))
        differs = solver.check() == sat
        changes = list(difference(_compiled(first), _compiled(second)))
        assert bool(changes) == differs
        equal += not differs
        for change in changes:
            assert {change.before.verdict, change.after.verdict} == {"accept", "drop"}
    assert 5 < equal < 55


_SOURCE, _TARGET, _PORT = Int("source"), Int("target"), Int("port")


def _formula(acl: Acl) -> BoolRef:
    permitted = BoolVal(val=False)
    for (s, t), (u, v), (p, q), permit in reversed(acl):
        here = And(_between(_SOURCE, s, t), _between(_TARGET, u, v), _between(_PORT, p, q))
        permitted = Or(here, permitted) if permit else And(Not(here), permitted)
    return permitted


def _between(variable: IntNumRef, low: int, high: int) -> BoolRef:
    return And(variable >= low, variable <= high)
