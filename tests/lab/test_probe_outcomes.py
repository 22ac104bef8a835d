"""Each outcome of a cell, against a real kernel: what the agent says about drops, rejects, dead hosts and slow answers."""

from collections.abc import Iterator
from typing import Any

import pytest
from probe_namespaces import Net, run

pytestmark = pytest.mark.lab

FAMILIES = ("ipv4", "ipv6")
OPEN_PORT = 80


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """A source, a target and a router between them."""
    with Net(["source", "target"]) as built:
        yield built


@pytest.fixture(autouse=True)
def unfiltered(net: Net) -> None:
    """No rules are left over from the test before."""
    for name, hook in (("router", "forward"), ("source", "output"), ("target", "input")):
        net.filter(name, hook, "accept")


def ask(
    net: Net, protocol: str, family: str, port: int, *, listening: bool = True, address: str = ""
) -> tuple[str, str, bool]:
    """Outcome, reason and arrival of one cell, with an open TCP port of the target as the control."""
    target = net.address("target", family)
    listeners: list[list[Any]] = [["tcp", target, OPEN_PORT]]
    if listening and protocol != "icmp":
        listeners.append([protocol, target, port])
    order = {
        "action": "connect",
        "cells": [[protocol, address or target, port], ["tcp", target, OPEN_PORT]],
        "controls": [1],
    }
    with net.listening("target", listeners) as seen:
        outcome, reason, _ = net.ask("source", order)["answers"][0]
    arrived = any(row[0] == protocol and row[3] == port for row in seen["arrivals"])
    return outcome, reason, arrived


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_open(net: Net, protocol: str, family: str) -> None:
    """What nothing filters is open, and arrives."""
    assert ask(net, protocol, family, 0 if protocol == "icmp" else 443) == ("open", "answered", True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_dropped_by_a_router(net: Net, protocol: str, family: str) -> None:
    """A drop on the way is filtered, and nothing arrives."""
    net.filter("router", "forward", f"{protocol} dport 443 drop")
    assert ask(net, protocol, family, 443) == ("filtered", "silence", False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_dropped_by_the_target(net: Net, protocol: str, family: str) -> None:
    """A drop in the target's input filter is filtered, and nothing arrives behind it."""
    net.filter("target", "input", f"{protocol} dport 443 drop")
    assert ask(net, protocol, family, 443) == ("filtered", "silence", False)


@pytest.mark.parametrize("family", FAMILIES)
def test_echo_dropped(net: Net, family: str) -> None:
    """A dropped echo request is filtered."""
    kind = "icmp type echo-request" if family == "ipv4" else "icmpv6 type echo-request"
    net.filter("router", "forward", f"{kind} drop")
    assert ask(net, "icmp", family, 0) == ("filtered", "silence", False)


@pytest.mark.parametrize("family", FAMILIES)
def test_rejected_with_a_reset(net: Net, family: str) -> None:
    """A router's reset looks like the target's own, but nothing arrived: the judge tells them apart by that."""
    net.filter("router", "forward", "tcp dport 443 reject with tcp reset")
    assert ask(net, "tcp", family, 443) == ("refused", "reset", False)


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_listens(net: Net, family: str) -> None:
    """The target's own reset comes with an arrival: no filter stood in the way."""
    assert ask(net, "tcp", family, 443, listening=False) == ("refused", "reset", True)


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_listens_for_datagrams(net: Net, family: str) -> None:
    """The target's port-unreachable names the target, and the datagram arrived."""
    outcome, reason, arrived = ask(net, "udp", family, 443, listening=False)
    assert (outcome, reason, arrived) == ("refused", f"port_unreachable from {net.address('target', family)}", True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_administratively_prohibited(net: Net, protocol: str, family: str) -> None:
    """A router that says so filters, and is named."""
    net.filter("router", "forward", f"{protocol} dport 443 reject with icmpx type admin-prohibited")
    outcome, reason, arrived = ask(net, protocol, family, 443)
    said = f"communication_prohibited from {net.router_address('source', family)}"
    # The kernel limits how many such messages it sends: silence is the same answer without the reason.
    assert (outcome, arrived) == ("filtered", False)
    assert reason in {said.replace("fd66:0::", "fd66::"), "silence"}


@pytest.mark.parametrize("family", FAMILIES)
def test_own_output_filter_refuses_datagrams(net: Net, family: str) -> None:
    """EPERM from the source's own kernel is its own policy."""
    net.filter("source", "output", "udp dport 443 drop")
    assert ask(net, "udp", family, 443) == ("filtered", "local_policy", False)


def test_own_output_filter_swallows_connections(net: Net) -> None:
    """For TCP the kernel hides the drop: it is silence, still filtered."""
    net.filter("source", "output", "tcp dport 443 drop")
    assert ask(net, "tcp", "ipv4", 443) == ("filtered", "silence", False)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("unreachable", ("no_route", "unreachable_route")),
        ("blackhole", ("no_route", "blackhole_route")),
        ("prohibit", ("filtered", "local_policy")),
    ],
)
@pytest.mark.parametrize(("family", "where"), [("ipv4", "198.51.100.0/24"), ("ipv6", "2001:db8:9::/64")])
def test_routes_that_refuse(net: Net, kind: str, expected: tuple[str, str], family: str, where: str) -> None:
    """A route that refuses is not a filter, unless it says that it is."""
    net.ip("source", f"route add {kind} {where}")
    try:
        address = where.replace("0/24", "9").replace("::/64", "::9")
        assert ask(net, "tcp", family, 443, address=address)[:2] == expected
    finally:
        net.ip("source", f"route del {kind} {where}")


@pytest.mark.parametrize(("family", "default"), [("ipv4", "10.66.0.1"), ("ipv6", "fd66:0::1")])
def test_no_route(net: Net, family: str, default: str) -> None:
    """Without any route the kernel answers at once."""
    prefix = "10.66.1.0/24" if family == "ipv4" else "fd66:1::/64"
    net.ip("source", f"route del default via {default}", f"route add {prefix} via {default}")
    try:
        elsewhere = "198.51.100.9" if family == "ipv4" else "2001:db8:9::9"
        assert ask(net, "tcp", family, 443, address=elsewhere)[:2] == ("no_route", "no_route")
    finally:
        net.ip("source", f"route del {prefix} via {default}", f"route add default via {default}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_dead_neighbour(net: Net, protocol: str, family: str) -> None:
    """A host on the same wire that does not answer ARP or neighbour discovery is not filtered."""
    dead = "10.66.0.77" if family == "ipv4" else "fd66:0::77"
    assert ask(net, protocol, family, 443, address=dead)[:2] == ("no_route", "neighbour_unresolved")


def test_dead_host_behind_a_router(net: Net) -> None:
    """The router says that the host does not answer: no filter."""
    outcome, reason, _ = ask(net, "tcp", "ipv6", 443, address="fd66:1::77")
    assert (outcome, reason) == ("no_route", "host_unreachable from fd66::1")


def test_a_real_service_is_left_alone(net: Net) -> None:
    """A port that somebody serves is noted as a service, and its arrivals are seen all the same."""
    address = net.address("target")
    script = (
        f"import socket,time; s=socket.create_server(('{address}', 443)); print('ready', flush=True); time.sleep(60)"
    )
    with (
        net.python("target", script),
        net.listening("target", [["tcp", address, 443], ["tcp", address, OPEN_PORT]]) as seen,
    ):
        order = {"action": "connect", "cells": [["tcp", address, 443]], "controls": [0]}
        assert net.ask("source", order)["answers"][0][0] == "open"
    assert ["tcp", address, 443] in seen["service"]
    assert any(row[:1] + row[3:4] == ["tcp", 443] for row in seen["arrivals"])


def test_a_full_backlog_is_an_arrival(net: Net) -> None:
    """A service too busy to answer looks like a drop to the source; the target's raw socket knows better."""
    address = net.address("target")
    script = (
        f"import socket,time; s=socket.socket(); s.bind(('{address}', 443)); s.listen(0);"
        f"c=[socket.socket() for _ in range(8)]; [x.setblocking(False) for x in c]; [x.connect_ex(('{address}', 443)) for x in c];"
        "time.sleep(0.2); print('ready', flush=True); time.sleep(60)"
    )
    with net.python("target", script), net.listening("target", [["tcp", address, OPEN_PORT]]) as seen:
        order = {"action": "connect", "cells": [["tcp", address, 443], ["tcp", address, OPEN_PORT]], "controls": [1]}
        outcome, reason, _ = net.ask("source", order)["answers"][0]
    assert (outcome, reason) == ("filtered", "silence")
    assert ["tcp", net.address("source"), address, 443] in [row[:4] for row in seen["arrivals"]]


@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_an_answer_that_takes_seconds_is_open(net: Net, seconds: float) -> None:
    """A target that answers late is slow, not filtered."""
    address = net.address("target")
    script = (
        f"import socket,time,threading; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{address}', 443));"
        "print('ready', flush=True)\n"
        "while True:\n d,a=s.recvfrom(99); threading.Timer(" + str(seconds) + ", s.sendto, (d, a)).start()"
    )
    with net.python("target", script), net.listening("target", [["tcp", address, OPEN_PORT]]):
        order = {"action": "connect", "cells": [["udp", address, 443], ["tcp", address, OPEN_PORT]], "controls": [1]}
        outcome, _, milliseconds = net.ask("source", order)["answers"][0]
    assert outcome == "open"
    assert milliseconds >= seconds * 1000


def test_slow_controls_make_the_probe_ask_again(net: Net) -> None:
    """Where even an open cell takes a second to answer, silence is not believed before a longer wait."""
    address = net.address("target")
    script = (
        f"import socket,time,threading; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{address}', 53));"
        "print('ready', flush=True)\n"
        "while True:\n d,a=s.recvfrom(99); threading.Timer(1.2, s.sendto, (d, a)).start()"
    )
    net.filter("router", "forward", "udp dport 443 drop")
    with net.python("target", script), net.listening("target", []):
        order = {"action": "connect", "cells": [["udp", address, 443], ["udp", address, 53]], "controls": [1]}
        answer = net.ask("source", order)
    assert answer["rounds"] > 1
    assert answer["answers"][0][:2] == ["filtered", "silence"]
    assert answer["answers"][0][2] >= 4 * 1200


def test_without_a_living_control_silence_is_not_filtered(net: Net) -> None:
    """Where nothing answers at all, nothing is known."""
    net.filter("router", "forward", "drop")
    assert ask(net, "tcp", "ipv4", 443)[:2] == ("probe_error", "control_silent")


def test_without_any_control_silence_is_not_filtered(net: Net) -> None:
    """A source without a control proves nothing."""
    net.filter("router", "forward", "tcp dport 443 drop")
    order = {"action": "connect", "cells": [["tcp", net.address("target"), 443]], "controls": []}
    assert net.ask("source", order)["answers"][0][:2] == ["probe_error", "control_silent"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_next_hop_serves_as_control(net: Net, family: str) -> None:
    """A source that may reach nothing is shown to be alive by its router's answer on the wire."""
    net.filter("router", "forward", "drop")
    net.filter("router", "input", "meta l4proto { tcp, udp } drop")
    link = net.router_address("source", family)
    order = {
        "action": "connect",
        "cells": [["tcp", net.address("target", family), 443]],
        "controls": [],
        "links": [link],
    }
    answer = net.ask("source", order)
    assert answer["answers"][0][:2] == ["filtered", "silence"]
    assert answer["controls"][0]["answered"] > 0


def test_names(net: Net) -> None:
    """A name has the addresses that the host's own resolver gives, or none and a reason."""
    order = {"action": "connect", "cells": [], "names": ["localhost", "no-such-host.invalid"]}
    names = net.ask("source", order)["names"]
    assert "127.0.0.1" in names["localhost"]["addresses"]
    assert names["no-such-host.invalid"]["addresses"] == []
    assert names["no-such-host.invalid"]["reason"]


def test_a_listening_process_ends_by_itself(net: Net) -> None:
    """Nobody has to stop it: after its lifetime it is gone."""
    path = net.socket("target")
    order = {
        "action": "listen",
        "socket": path,
        "lifetime_seconds": 0.5,
        "listeners": [["tcp", net.address("target"), 443]],
    }
    assert net.ask("target", order)["bound"]
    run("sh", "-c", f"for i in $(seq 100); do test -e {path} || exit 0; sleep 0.1; done; exit 1")
    assert "error" in net.ask("target", {"action": "stop", "socket": path})


def test_a_small_descriptor_limit_is_respected(net: Net) -> None:
    """With 1,024 descriptors or fewer the probe asks in turns and still answers every cell."""
    address = net.address("target")
    cells = [["tcp", address, port] for port in range(1000, 1400)]
    with net.listening("target", cells[:200]):
        order = {"action": "connect", "cells": cells, "controls": [0]}
        answers = net.ask("source", order, descriptors=160)["answers"]
    assert [row[0] for row in answers] == ["open"] * 200 + ["refused"] * 200


def test_listeners_answer_no_answers(net: Net) -> None:
    """Two listeners cannot keep each other talking: an answer is never answered."""
    address = net.address("target")
    with net.listening("target", [["udp", address, 443]]):
        script = (
            f"import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect(('{address}', 443));"
            "s.send(b'kakoi-probe!x')\n"
            "try: s.recv(99); print('answered')\n"
            "except TimeoutError: print('silent')"
        )
        assert run("ip", "netns", "exec", net.namespace("source"), "python3", "-c", script).strip() == "silent"
