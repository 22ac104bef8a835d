"""Random small networks: the same answers as an SMT solver, and as enumerating every packet, every host and every loss.

A network is drawn as plain data. The engine gets it as nft text read through the kernel's own tool; the oracles get the data
and share nothing with the engine. Both ways are compared: what the engine calls reachable is, and nothing else.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from itertools import combinations, product

import pytest
import z3

from kakoi.reach.network.attack import Attacker
from kakoi.reach.network.model import Leg, Machine, NetworkModel, Route
from kakoi.reach.network.reading import read_texts

pytestmark = pytest.mark.lab

NETWORKS = 13
WIRES = (1, 2, 3)
GATEWAYS: Mapping[str, tuple[int, ...]] = {"g12": (1, 2), "g23": (2, 3)}
HOSTS: Mapping[str, int] = {"a1": 1, "b1": 1, "a2": 2, "a3": 3, "b3": 3}
PORTS = (1, 2, 3)
PROTOCOLS = (6, 17)
STRANGER = int(ip_interface("192.0.2.1/32").ip)


def number(name: str, wire: int) -> int:
    """The address of a machine on a wire: 10.0.<wire>.<one for each machine>."""
    return (10 << 24) | (wire << 8) | ([*GATEWAYS, *HOSTS].index(name) + 1)


def written(address: int) -> str:
    """Dotted."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


ADDRESSES = {
    **{name: tuple(number(name, wire) for wire in wires) for name, wires in GATEWAYS.items()},
    **{name: (number(name, wire),) for name, wire in HOSTS.items()},
}


@dataclass(frozen=True)
class Rule:
    """One rule: what is asked (``None``: anything), and the verdict."""

    source: tuple[int, int] | None
    destination: tuple[int, int] | None
    protocol: int | None
    ports: tuple[int, int] | None
    iif: int | None
    accept: bool

    def text(self) -> str:
        """As nft writes it."""
        words = []
        if self.iif is not None:
            words.append(f'iifname "w{self.iif}"')
        if self.source:
            words.append(f"ip saddr {written(self.source[0])}-{written(self.source[1])}")
        if self.destination:
            words.append(f"ip daddr {written(self.destination[0])}-{written(self.destination[1])}")
        if self.ports:
            words.append(f"{'tcp' if self.protocol == 6 else 'udp'} dport {self.ports[0]}-{self.ports[1]}")
        elif self.protocol:
            words.append(f"meta l4proto {self.protocol}")
        return " ".join([*words, "accept" if self.accept else "drop"])


@dataclass(frozen=True)
class Box:
    """A machine's filter: anti-spoofing or not, two chains, their policies."""

    anti_spoofing: bool
    chains: Mapping[str, tuple[Rule, ...]]
    policies: Mapping[str, bool]

    def text(self) -> str:
        """As nft reads it."""
        lines = ["table inet kakoi", "delete table inet kakoi", "table inet kakoi {"]
        if self.anti_spoofing:
            lines += [
                " chain p { type filter hook prerouting priority raw;",
                "  fib saddr . iif oif missing drop",
                " }",
            ]
        for hook, rules in self.chains.items():
            policy = "accept" if self.policies[hook] else "drop"
            lines += [f" chain {hook} {{ type filter hook {hook} priority 0; policy {policy};"]
            lines += [f"  {rule.text()}" for rule in rules] + [" }"]
        return "\n".join([*lines, "}\n"])


def drawn(chance: random.Random) -> Mapping[str, Box]:
    """A filter for every machine."""
    known = sorted(address for own in ADDRESSES.values() for address in own)

    def span() -> tuple[int, int] | None:
        if chance.random() < 0.4:
            return None
        low, high = sorted(chance.choices(known, k=2))
        return (low, low) if chance.random() < 0.5 else (low, high)

    def rule(wires: tuple[int, ...]) -> Rule:
        protocol = chance.choice((None, 6, 17))
        ports = tuple(sorted(chance.choices(PORTS, k=2))) if protocol and chance.random() < 0.6 else None
        iif = chance.choice(wires) if chance.random() < 0.3 else None
        return Rule(span(), span(), protocol, ports, iif, chance.random() < 0.45)  # type: ignore[arg-type]

    found = {}
    for name in ADDRESSES:
        wires = GATEWAYS.get(name) or (HOSTS[name],)
        chains = {hook: tuple(rule(wires) for _ in range(chance.randrange(5))) for hook in ("input", "forward")}
        policies = {hook: chance.random() < 0.2 for hook in chains}
        found[name] = Box(chance.random() < 0.5, chains, policies)
    return found


# ----------------------------------------------------------------------------------- the engine's network


def legs(name: str) -> tuple[Leg, ...]:
    """A machine's legs: device ``w<wire>``."""
    wires = GATEWAYS.get(name) or (HOSTS[name],)
    return tuple(
        Leg(f"w{wire}", str(wire), (ip_interface(f"{written(address)}/24"),))
        for wire, address in zip(wires, ADDRESSES[name], strict=True)
    )


def next_hops(name: str) -> dict[int, tuple[int, str]]:
    """Wire of the destination -> own wire to send on, and the gateway to send to."""
    if name == "g12":
        return {3: (2, "g23")}
    if name == "g23":
        return {1: (2, "g12")}
    wire = HOSTS[name]
    return {1: {2: (1, "g12"), 3: (1, "g12")}, 2: {1: (2, "g12"), 3: (2, "g23")}, 3: {1: (3, "g23"), 2: (3, "g23")}}[
        wire
    ]


def machine(name: str) -> Machine:
    """A machine without rules."""
    routes = tuple(
        Route(ip_network(f"10.0.{wire}.0/24"), f"w{out}", number(via, out))
        for wire, (out, via) in next_hops(name).items()
    )
    forwards = frozenset((4,)) if name in GATEWAYS else frozenset[int]()
    return Machine(name, legs(name), routes, forwards, None, "compiled")


# ------------------------------------------------------------------------------------- the oracles' network


@dataclass(frozen=True)
class Packet:
    """One packet, in numbers or in z3's terms."""

    source: int
    destination: int
    protocol: int
    port: int


def both(*conditions: object) -> object:
    """And, for truth values and for z3's terms."""
    plain = [condition for condition in conditions if isinstance(condition, bool)]
    terms = [condition for condition in conditions if not isinstance(condition, bool)]
    if not all(plain):
        return False
    return z3.And(*terms) if terms else True


def either(*conditions: object) -> object:
    """Or, likewise."""
    if any(condition is True for condition in conditions):
        return True
    terms = [condition for condition in conditions if condition is not False]
    return z3.Or(*terms) if terms else False


def negated(condition: object) -> object:
    """Not, likewise."""
    return not condition if isinstance(condition, bool) else z3.Not(condition)


def inside(value: object, span: tuple[int, int]) -> object:
    """Whether a number lies in a closed interval."""
    return both(value >= span[0], value <= span[1])  # type: ignore[operator]


def routed_back(name: str, source: object, wire: int) -> object:
    """Whether a source's own route leads out of a wire; an own address never does."""
    wires = GATEWAYS.get(name) or (HOSTS[name],)
    others = [target for target, (out, _) in next_hops(name).items() if out == wire]
    networks = [inside(source, ((10 << 24) | (one << 8), (10 << 24) | (one << 8) | 255)) for one in (wire, *others)]
    own = either(*(source == address for address in ADDRESSES[name]))  # type: ignore[comparison-overlap]
    return both(wire in wires, either(*networks), negated(own))


def heard(name: str, destination: object) -> object:
    """Whether a machine takes a destination as its own: its addresses, its wires' broadcast, multicast."""
    wires = GATEWAYS.get(name) or (HOSTS[name],)
    alone = [*ADDRESSES[name], *((10 << 24) | (wire << 8) | 255 for wire in wires), (1 << 32) - 1]
    multicast = inside(destination, (0xE0000000, 0xEFFFFFFF))
    return either(multicast, *(destination == address for address in alone))  # type: ignore[comparison-overlap]


def lets_through(name: str, box: Box, hook: str, wire: int, packet: Packet) -> object:
    """First match wins."""
    verdict: object = box.policies[hook]
    for rule in reversed(box.chains[hook]):
        asked = [
            rule.iif is None or rule.iif == wire,
            rule.source is None or inside(packet.source, rule.source),
            rule.destination is None or inside(packet.destination, rule.destination),
            rule.protocol is None or packet.protocol == rule.protocol,
            rule.ports is None or inside(packet.port, rule.ports),
        ]
        match = both(*asked)
        verdict = either(both(match, rule.accept), both(negated(match), verdict))
    return both(verdict, not box.anti_spoofing or routed_back(name, packet.source, wire))


def arrives(
    boxes: Mapping[str, Box], lost: frozenset[str], target: str, at: str, wire: int, packet: Packet, hops: int = 4
) -> object:
    """Whether a packet that is at a machine gets to the target."""
    if not hops:
        return False
    ways = []
    if at == target:
        ways.append(
            both(heard(at, packet.destination), at in lost or lets_through(at, boxes[at], "input", wire, packet))
        )
    if at in GATEWAYS:
        passes = at in lost or lets_through(at, boxes[at], "forward", wire, packet)
        mine = heard(at, packet.destination)
        for out in GATEWAYS[at]:
            for name, own in ADDRESSES.items():
                for address in own:
                    if address >> 8 & 255 == out and name != at:
                        there = both(passes, packet.destination == address, negated(mine))
                        ways.append(both(there, arrives(boxes, lost, target, name, out, packet, hops - 1)))
        for other, (out, via) in next_hops(at).items():
            away = inside(packet.destination, ((10 << 24) | (other << 8), (10 << 24) | (other << 8) | 255))
            ways.append(both(passes, away, negated(mine), arrives(boxes, lost, target, via, out, packet, hops - 1)))
    return either(*ways)


def on_wire(wire: int) -> Iterator[str]:
    """Machines with a leg on a wire."""
    yield from (name for name, own in ADDRESSES.items() if any(address >> 8 & 255 == wire for address in own))


def reachable(boxes: Mapping[str, Box], lost: frozenset[str], wire: int, target: str, packet: Packet) -> object:
    """Whether a packet put on a wire gets to the target."""
    return either(*(arrives(boxes, lost, target, at, wire, packet) for at in on_wire(wire)))


BROADCASTS = [*((10 << 24) | (wire << 8) | 255 for wire in WIRES), 0xE0000001, (1 << 32) - 1]
EVERY_PACKET = [
    Packet(*values)
    for values in product(
        [*(address for own in ADDRESSES.values() for address in own), STRANGER],
        [*(address for own in ADDRESSES.values() for address in own), *BROADCASTS],
        PROTOCOLS,
        PORTS,
    )
]


def taken_by_enumeration(edges: Mapping[int, set[str]], start: str) -> set[str]:
    """Everything that falls after a start."""
    taken, wires = {start}, set()
    while True:
        held = {wire for name in taken for wire in (GATEWAYS.get(name) or (HOSTS[name],))}
        if held == wires:
            return taken - {start}
        wires = held
        taken |= {target for wire in wires for target in edges[wire]}


# ------------------------------------------------------------------------------------------ the comparison


@pytest.fixture(scope="module")
def networks() -> list[tuple[Mapping[str, Box], Attacker]]:
    """Random networks and an engine for each, with at most one loss."""
    chance = random.Random(20261123)  # noqa: S311 - drawn networks, no secrets
    found = [drawn(chance) for _ in range(NETWORKS)]
    texts = {f"{index} {name}": box.text() for index, boxes in enumerate(found) for name, box in boxes.items()}
    read = read_texts(texts)
    engines = []
    for index, boxes in enumerate(found):
        machines = {}
        for name in boxes:
            bare = machine(name)
            rules = read[f"{index} {name}"]
            machines[name] = Machine(name, bare.legs, bare.routes, bare.forwards, rules, "compiled")
        engines.append((boxes, Attacker(NetworkModel(machines, {str(wire): {} for wire in WIRES}), outside=())))
    return engines


def test_isolated_is_what_an_smt_solver_says(networks: list[tuple[Mapping[str, Box], Attacker]]) -> None:
    """From every wire to every machine: a packet gets through exactly when the solver finds one."""
    source, destination, protocol, port = z3.Ints("source destination protocol port")
    packet = Packet(source, destination, protocol, port)  # type: ignore[arg-type]
    header = z3.And(source >= 0, source < 1 << 32, destination >= 0, destination < 1 << 32, protocol >= 0, protocol < 256,
                    port >= 0, port < 1 << 16)  # fmt: skip
    answers = {True: 0, False: 0}
    for boxes, attacker in networks[:12]:
        for wire in WIRES:
            found = attacker.edges(attacker.footholds(str(wire))[0])
            for target in ADDRESSES:
                condition = reachable(boxes, frozenset(), wire, target, packet)
                solver = z3.Solver()
                solver.add(header, condition)
                possible = solver.check() == z3.sat
                assert (target in found) == possible, (wire, target)
                answers[possible] += 1
    assert min(answers.values()) > 20


def test_the_closure_and_every_single_loss_are_what_enumeration_says(
    networks: list[tuple[Mapping[str, Box], Attacker]],
) -> None:
    """Every packet sent from every wire, with every machine's filter lost in turn; then every chain of captures."""
    checked = 0
    for boxes, attacker in networks[12:]:
        for lost in map(frozenset, ((), *combinations(ADDRESSES, 1))):
            edges = {
                wire: {
                    target
                    for target in ADDRESSES
                    if any(reachable(boxes, lost, wire, target, packet) for packet in EVERY_PACKET
                           if packet.destination in ADDRESSES[target] or packet.destination in BROADCASTS)
                }
                for wire in WIRES
            }  # fmt: skip
            for start in HOSTS:
                engine = set(attacker.closure([start], lost, most_opened=1))
                assert engine == taken_by_enumeration(edges, start), (start, lost)
                checked += 1
    assert checked == (NETWORKS - 12) * (len(ADDRESSES) + 1) * len(HOSTS)
