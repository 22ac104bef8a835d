"""Real packets through the compiled rulesets of case 02: client - gateway - server, each with its own firewall."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from golden.compile.cases import golden_policy
from golden.compile.namespaces import PATIENCE_SECONDS, Network, network

pytestmark = pytest.mark.lab

_CLIENT = {"ipv4": "10.1.0.10", "ipv6": "fd00:1::10"}
_GATEWAY = {"ipv4": "10.1.0.1", "ipv6": "fd00:1::1"}
_SERVER = {"ipv4": "10.2.0.10", "ipv6": "fd00:2::10"}
_SPOOFED = {"ipv4": "10.2.0.77", "ipv6": "fd00:2::77"}
_SSH, _TELNET, _LOG = 22, 23, 514


@pytest.fixture
def machines() -> Iterator[Network]:
    """Case 02, up and without rules."""
    with network(golden_policy("02_gateway_and_ping")) as built:
        yield built


@pytest.fixture(params=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> str:
    """Each address family in turn."""
    return str(request.param)


def test_an_allowed_connection_passes_and_another_does_not(machines: Network, family: str) -> None:
    """Through three firewalls ssh passes; telnet, which passed before they were loaded, does not."""
    listeners = [machines.listen("server", _SERVER[family], port) for port in (_SSH, _TELNET)]
    assert machines.connect("client", _SERVER[family], _TELNET)
    machines.load()
    assert machines.connect("client", _SERVER[family], _SSH)
    assert machines.connect("client", _SERVER[family], _TELNET) is None
    assert len(listeners) == 2


@pytest.mark.parametrize("alone", ["client", "gateway", "server"])
def test_each_firewall_suffices_alone(machines: Network, family: str, alone: str) -> None:
    """With the rules of two machines flushed, the third still drops what no flow allows."""
    listeners = [machines.listen("server", _SERVER[family], port) for port in (_SSH, _TELNET)]
    machines.load()
    for other in {"client", "gateway", "server"} - {alone}:
        machines.run(other, "nft", "delete", "table", "inet", "kakoi")
    assert machines.connect("client", _SERVER[family], _SSH)
    assert machines.connect("client", _SERVER[family], _TELNET) is None
    assert len(listeners) == 2


def test_a_flow_opens_one_direction_only(machines: Network, family: str) -> None:
    """The server may not open to the client what the client may open to the server."""
    listener = machines.listen("client", _CLIENT[family], _SSH)
    assert machines.connect("server", _CLIENT[family], _SSH)
    machines.load()
    assert machines.connect("server", _CLIENT[family], _SSH) is None
    assert listener.fileno() >= 0


def test_the_gateway_is_reached_at_the_address_that_faces_the_client(machines: Network, family: str) -> None:
    """ssh to the gateway's near leg passes; its far leg stays shut."""
    far = {"ipv4": "10.2.0.1", "ipv6": "fd00:2::1"}[family]
    listeners = [machines.listen("gateway", address, _SSH) for address in (_GATEWAY[family], far)]
    assert machines.connect("client", far, _SSH)
    machines.load()
    assert machines.connect("client", _GATEWAY[family], _SSH)
    assert machines.connect("client", far, _SSH) is None
    assert len(listeners) == 2


def test_datagrams_pass_with_their_answers(machines: Network, family: str) -> None:
    """A log datagram from server to client passes, and so does what the client answers to that very port."""
    machines.load()
    client, server = machines.receive("client", _CLIENT[family], _LOG), machines.receive("server", _SERVER[family], 0)
    server.sendto(b"log", (_CLIENT[family], _LOG))
    log, origin = client.recvfrom(16)
    client.sendto(b"seen", origin)
    assert (log, server.recv(16)) == (b"log", b"seen")


def test_an_unasked_datagram_does_not_pass_as_an_answer(machines: Network, family: str) -> None:
    """The client cannot write to the server from the log port unless the server wrote first."""
    machines.load()
    client, server = (
        machines.receive("client", _CLIENT[family], _LOG),
        machines.receive("server", _SERVER[family], 4000),
    )
    with pytest.raises(PermissionError):  # the client's own output chain drops it, and the kernel says so
        client.sendto(b"unasked", (_SERVER[family], 4000))
    machines.run("client", "nft", "delete", "table", "inet", "kakoi")
    client.sendto(b"unasked", (_SERVER[family], 4000))
    with pytest.raises(TimeoutError):
        server.recv(16)


def test_an_error_about_an_allowed_datagram_comes_back(machines: Network, family: str) -> None:
    """Where nobody listens, the sender is told (RFC 792, RFC 4443): the error is related to an allowed flow."""
    machines.load()
    server = machines.receive("server", _SERVER[family], 0)
    server.connect((_CLIENT[family], _LOG))
    server.send(b"log")
    with pytest.raises(ConnectionRefusedError):
        server.recv(16)


def test_ping_passes_where_it_is_allowed(machines: Network, family: str) -> None:
    """The client may ping the server; the server may not ping the client."""
    machines.load()
    machines.run("client", "ping", "-c1", "-W1", _SERVER[family])
    with pytest.raises(subprocess.CalledProcessError):
        machines.run("server", "ping", "-c1", "-W1", _CLIENT[family])


def test_a_forged_source_is_dropped_before_anything_else(machines: Network, family: str) -> None:
    """A client without firewall that borrows an address of the far zone gets no further than the gateway's first hook."""
    listener = machines.listen("server", _SERVER[family], _SSH)
    machines.load(without="client")
    assert machines.connect("client", _SERVER[family], _SSH)
    before = machines.dropped("gateway", "spoofed")
    prefix = "32" if family == "ipv4" else "128"
    machines.run("client", "ip", "address", "add", f"{_SPOOFED[family]}/{prefix}", "dev", "lo")
    assert machines.connect("client", _SERVER[family], _SSH, source=_SPOOFED[family]) is None
    assert before == 0
    assert machines.dropped("gateway", "spoofed") > before
    assert listener.fileno() >= 0


def test_a_session_survives_reloads(machines: Network, family: str) -> None:
    """A living session keeps talking, both ways, while every machine loads its rules anew."""
    machines.load()
    client, server = _session(machines, family)
    for _ in range(3):
        machines.load()
        server.sendall(b"from the server")
        assert client.recv(32) == b"from the server"
        client.sendall(b"from the client")
        assert server.recv(32) == b"from the client"


def test_a_session_older_than_the_rules_goes_on_with_the_clients_next_packet(machines: Network, family: str) -> None:
    """Rules that are loaded for the first time under a living session let it go on once the client speaks."""
    client, server = _session(machines, family)
    machines.load()
    client.sendall(b"from the client")
    assert server.recv(32) == b"from the client"
    server.sendall(b"from the server")
    assert client.recv(32) == b"from the server"


def test_a_withdrawn_flow_ends_its_living_sessions(machines: Network, family: str) -> None:
    """What a flow no longer allows stops at once, also inside a connection that it once opened."""
    machines.load()
    client, server = _session(machines, family)
    flows = {"logs": machines.policy.flows["logs"]}
    machines.load(machines.policy.model_copy(update={"flows": flows}))
    client.sendall(b"still there?")
    with pytest.raises(TimeoutError):
        server.recv(32)


def _session(machines: Network, family: str) -> tuple[socket.socket, socket.socket]:
    with machines.listen("server", _SERVER[family], _SSH) as listener:
        client = machines.connect("client", _SERVER[family], _SSH)
        assert client is not None
        server, _ = listener.accept()
    server.settimeout(PATIENCE_SECONDS)
    return client, server
