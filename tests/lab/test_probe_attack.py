"""The attack view and the single enforcement points find planted holes, each where nothing else would show it."""

from collections.abc import Iterator
from typing import Any

import pytest
from probe_namespaces import Net

pytestmark = pytest.mark.lab

CLOSED_GATEWAY = """
ct state established,related accept
ct state invalid drop
ip daddr 10.66.2.2 tcp dport 80 accept
ip6 daddr fd66:2::2 tcp dport 80 accept
ip saddr 10.66.2.2 tcp dport 5432 accept
ip6 saddr fd66:2::2 tcp dport 5432 accept
drop
"""
CLOSED_STORE = """
icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
ct state established,related accept
ip saddr 10.66.2.2 tcp dport 5432 accept
ip6 saddr fd66:2::2 tcp dport 5432 accept
drop
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """An attacker, a store and a client of it around one gateway."""
    with Net(["attacker", "store", "client"]) as built:
        # Its neighbours must go on finding it, as they do any host.
        neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
        built.filter("attacker", "output", f"{neighbours}drop")
        yield built


@pytest.fixture(autouse=True)
def closed(net: Net) -> None:
    """Gateway and store let nothing of the attacker pass."""
    net.filter("router", "forward", CLOSED_GATEWAY)
    net.filter("store", "input", CLOSED_STORE)


def attack(net: Net) -> dict[str, Any]:
    """Attack both families on all ports through the gateway and at the door; give what the store saw."""
    through, door, knock = [], [], []
    for family in ("ipv4", "ipv6"):
        target = {"target": net.address("store", family), "protocols": ["tcp", "udp"], "ports": [[1, 65535]]}
        control = [net.address("client", family), 80]
        through.append({"kind": "attack", **target, "via": net.router_address("attacker", family), "control": control})
        door.append(
            {"kind": "door", **target, "via": net.address("store", family), "source": net.address("attacker", family)}
        )
        knock.append({"kind": "client", **target, "protocols": ["tcp"], "ports": [[5432, 5432]], "repeat": 5})
    listening = [["tcp", net.address("client", family), 80] for family in ("ipv4", "ipv6")]
    store = [["tcp", net.address("store", family), 5432] for family in ("ipv4", "ipv6")]
    with net.listening("client", listening), net.listening("store", store, wire="all") as seen:
        running = [
            net.start("attacker", {"action": "attack", "assaults": through}),
            net.start("router", {"action": "attack", "assaults": door}),
            net.start("client", {"action": "attack", "assaults": knock}),
        ]
        seen["assaults"] = [row for agent in running for row in agent.answer()["assaults"]]
    return seen


def reached(seen: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Who saw what: observer, kind, protocol, family and ports; allowed clients left out."""
    return {
        (observer, kind, protocol, "ipv6" if ":" in target else "ipv4", tuple(map(tuple, ranges)))
        for observer, kind, protocol, _, target, ranges, _ in seen["frames"]
        if kind != "client"
    }


def test_a_closed_store_sees_nothing_while_every_control_arrives(net: Net) -> None:
    """Over half a million frames, none at the store, none accepted at its door, and none lost on the way."""
    seen = attack(net)
    assert reached(seen) == set()
    assert seen["door_frames"] == 4 * 65535
    for row in seen["assaults"]:
        assert row["lost"] == []
        if row["kind"] == "attack":
            assert (row["sent"], row["pulse"], row["answers"]) == (2 * 65535, "flow", [])
    clients = [row for row in seen["frames"] if row[1] == "client"]
    assert sorted((row[0], row[6]) for row in clients) == [("accepted", 5), ("accepted", 5), ("wire", 5), ("wire", 5)]


@pytest.mark.parametrize(
    ("rule", "protocol", "family", "port"),
    [
        ("ip saddr 10.66.0.2 tcp dport 51413 accept", "tcp", "ipv4", 51413),
        ("ip6 saddr fd66::2 tcp dport 22 accept", "tcp", "ipv6", 22),
        ("ip saddr 10.66.0.2 udp dport 65535 accept", "udp", "ipv4", 65535),
        ("ip6 saddr fd66::2 udp dport 1 accept", "udp", "ipv6", 1),
    ],
)
def test_a_hole_in_the_gateway_alone(net: Net, rule: str, protocol: str, family: str, port: int) -> None:
    """One port of one protocol and family that the gateway lets pass stands on the store's wire, though it holds."""
    net.filter("router", "forward", rule + CLOSED_GATEWAY)
    assert reached(attack(net)) == {("wire", "attack", protocol, family, ((port, port),))}


@pytest.mark.parametrize(
    ("rule", "protocol", "family", "port"),
    [
        ("ip saddr 10.66.0.2 tcp dport 51413 accept", "tcp", "ipv4", 51413),
        ("ip6 saddr fd66::2 udp dport 500 accept", "udp", "ipv6", 500),
    ],
)
def test_a_hole_in_the_store_alone(net: Net, rule: str, protocol: str, family: str, port: int) -> None:
    """What the store's own filter would accept shows at its door, though no gateway lets it come that far."""
    net.filter("store", "input", rule + CLOSED_STORE)
    assert reached(attack(net)) == {("accepted", "door", protocol, family, ((port, port),))}


def test_a_hole_in_both_is_answered(net: Net) -> None:
    """A way through gateway and store ends in a SYN-ACK that the attacker sees, past its own filters."""
    hole = "ip saddr 10.66.0.2 tcp dport 5432 accept"
    net.filter("router", "forward", hole + CLOSED_GATEWAY)
    net.filter("store", "input", hole + CLOSED_STORE)
    seen = attack(net)
    assert ("accepted", "attack", "tcp", "ipv4", ((5432, 5432),)) in reached(seen)
    assert [row["answers"] for row in seen["assaults"] if row["kind"] == "attack"] == [[["tcp", 5432, "open"]], []]


def test_a_lost_stretch_is_sent_again(net: Net) -> None:
    """A gateway that loses half of the control frames slows the attack down and makes it repeat, never skip."""
    net.filter("router", "forward", "tcp sport 61100-62123 numgen random mod 2 == 0 drop" + CLOSED_GATEWAY)
    order = {
        "kind": "attack",
        "target": net.address("store"),
        "via": net.router_address("attacker"),
        "protocols": ["tcp"],
        "ports": [[1, 320]],
        "control": [net.address("client"), 80],
    }
    with net.listening("client", [["tcp", net.address("client"), 80]]):
        row = net.ask("attacker", {"action": "attack", "assaults": [order]})["assaults"][0]
    assert row["repeated"] > 0
    assert row["sent"] == 320
    assert row["lost"] == []


def test_a_dead_control_is_told(net: Net) -> None:
    """An attacker whose allowed connection does not answer says so; the judge then believes nothing."""
    order = {
        "kind": "attack",
        "target": net.address("store"),
        "via": net.router_address("attacker"),
        "protocols": ["tcp"],
        "ports": [[1, 64]],
        "control": [net.address("client"), 81],
    }
    row = net.ask("attacker", {"action": "attack", "assaults": [order]})["assaults"][0]
    assert (row["pulse"], bool(row["flow_error"])) == ("link", True)


def test_a_next_hop_that_is_not_there_is_told(net: Net) -> None:
    """Frames without anybody to carry them are not sent into nothing."""
    order = {
        "kind": "attack",
        "target": net.address("store"),
        "via": "10.66.0.99",
        "protocols": ["tcp"],
        "ports": [[1, 64]],
    }
    row = net.ask("attacker", {"action": "attack", "assaults": [order]})["assaults"][0]
    assert "does not answer" in row["error"]


def test_departures_are_seen_behind_the_output_filter(net: Net) -> None:
    """What the output filter lets go is recorded, what it drops is not; raw frames of the probe itself never count."""
    net.filter("client", "output", "tcp dport 443 drop")
    target = net.address("store")
    cells = [["tcp", target, 443], ["tcp", target, 5432], ["udp", target, 443]]
    with net.listening("store", [["tcp", target, 5432]]), net.listening("client", [], wire="points") as seen:
        net.ask("client", {"action": "connect", "cells": cells, "controls": [1]})
        knock = {"kind": "client", "target": target, "protocols": ["tcp"], "ports": [[22, 22]], "repeat": 1}
        net.ask("client", {"action": "attack", "assaults": [knock]})
    net.filter("client", "output", "accept")
    assert {(row[0], row[3]) for row in seen["departures"]} == {("tcp", 5432), ("udp", 443)}
