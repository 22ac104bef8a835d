"""A gateway lets nothing pass that it should not, from the first moment of its boot to the last of its shutdown.

A host outside floods the store behind the gateway with datagrams that no flow allows; what arrives is counted on the
store's wire, before any of its own rules. Debian's own nftables.service leaked tens of thousands at every shutdown.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from kakoi.errors import KakoiError
from kakoi.lab import coldboot
from kakoi.lab.fabric import in_namespace
from kakoi.lab.podman import podman_for
from lab.conftest import ClosedLab
from lab.small_lab import quietly

pytestmark = pytest.mark.lab

FLOODED = ("10.40.3.10", 9)
FLOOD_SECONDS = 30
"""The flood ends by itself after this time, should a test fail to end it."""
ETH_P_IP = 0x0800
PACKETS_PER_BURST = 20

FLOOD = f"""
import socket, time
sender, end, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic() + {FLOOD_SECONDS}, 0
while time.monotonic() < end:
    try:
        sender.sendto(b"kakoi", {FLOODED!r})
    except OSError:
        pass
    sent += 1
    if sent % {PACKETS_PER_BURST} == 0:
        time.sleep(0.002)
"""


@dataclass
class Arrivals:
    """Counts the flood's datagrams on a wire."""

    wire: socket.socket
    counted: int = field(default=0)

    def count(self) -> int:
        """Datagrams of the flood that have arrived so far."""
        with suppress(BlockingIOError):
            while True:
                packet = self.wire.recv(256)
                self.counted += packet.endswith(b"kakoi") or b"kakoi" in packet
        return self.counted


@contextmanager
def flood(closed: ClosedLab) -> Iterator[Arrivals]:
    """Flood the store from the internet while the block runs."""
    namespace = closed.lab.namespace

    def listen() -> socket.socket:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        wire.setblocking(False)  # noqa: FBT003 - its only form
        return wire

    wire = in_namespace(namespace("store"), listen)
    sender = in_namespace(namespace("internet_client"), lambda: subprocess.Popen([sys.executable, "-IS", "-c", FLOOD]))
    try:
        yield Arrivals(wire)
    finally:
        sender.kill()
        sender.wait()
        wire.close()


def wait_for(arrivals: Arrivals, at_least: int, seconds: float = 10) -> int:
    """Wait until so many datagrams have arrived, or the time is over."""
    end = time.monotonic() + seconds
    while arrivals.count() < at_least and time.monotonic() < end:
        time.sleep(0.01)
    return arrivals.counted


@pytest.fixture
def restored(closed_lab: ClosedLab) -> Iterator[ClosedLab]:
    """The closed lab; its gateway is booted afresh and provisioned again when the test is over."""
    yield closed_lab
    with suppress(KakoiError):
        podman_for(closed_lab.lab)("start", closed_lab.lab.container("gateway"))
    closed_lab.inside(
        "gateway",
        "cp /var/tmp/kakoi.nft /etc/kakoi/kakoi.nft; cp /var/tmp/lockdown.nft /etc/kakoi/lockdown.nft; systemctl restart kakoi-firewall systemd-sysctl",
    )
    coldboot(closed_lab.lab, "gateway", quietly)
    assert closed_lab.play("load_firewall").returncode == 0


@pytest.fixture(autouse=True)
def _spare_copy(closed_lab: ClosedLab) -> None:
    closed_lab.inside("gateway", "test -e /var/tmp/kakoi.nft || cp /etc/kakoi/*.nft /var/tmp/")


def test_the_flood_arrives_when_nothing_stops_it(restored: ClosedLab) -> None:
    """The control: without rules the gateway passes the flood on, so counting works."""
    restored.inside("gateway", "nft delete table inet kakoi")
    with flood(restored) as arrivals:
        assert wait_for(arrivals, 100) >= 100


def test_a_closed_gateway_passes_none(closed_lab: ClosedLab) -> None:
    """The rules in force stop the flood; what they drop is counted by the kernel, so it was there."""
    before = dropped(closed_lab)
    with flood(closed_lab) as arrivals:
        end = time.monotonic() + 10
        while dropped(closed_lab) < before + 100 and time.monotonic() < end:
            time.sleep(0.1)
        assert arrivals.count() == 0
    assert dropped(closed_lab) >= before + 100


def dropped(closed: ClosedLab) -> int:
    """Packets from the internet to the servers that the gateway's rules dropped."""
    listing = closed.inside("gateway", "nft list chain inet kakoi internet-servers")
    (line,) = (line for line in listing.splitlines() if "counter packets" in line and "drop" in line)
    return int(line.split("packets ")[1].split()[0])


@pytest.mark.parametrize("boot", range(3))
def test_a_cold_boot_passes_none(closed_lab: ClosedLab, boot: int) -> None:
    """From power-on to a running gateway under the flood, not one datagram passes; afterwards the gateway forwards."""
    with flood(closed_lab) as arrivals:
        coldboot(closed_lab.lab, "gateway", quietly)
        before = dropped(closed_lab)
        end = time.monotonic() + 10
        while dropped(closed_lab) < before + 100 and time.monotonic() < end:
            time.sleep(0.1)
        assert dropped(closed_lab) >= before + 100, "the flood did not reach the gateway"
        assert arrivals.count() == 0, f"boot {boot}"
    assert closed_lab.inside("gateway", "sysctl -n net.ipv4.ip_forward") == "1\n"


def test_a_shutdown_passes_none(restored: ClosedLab) -> None:
    """While the gateway shuts down, and after, its rules stay for as long as it could still forward."""
    with flood(restored) as arrivals:
        podman_for(restored.lab)("stop", "--time=20", restored.lab.container("gateway"))
        assert wait_for(arrivals, 1, seconds=1) == 0


@pytest.mark.parametrize(
    "damage",
    ["echo nonsense >/etc/kakoi/kakoi.nft", "rm /etc/kakoi/kakoi.nft", ": >/etc/kakoi/kakoi.nft"],
    ids=["damaged", "missing", "empty"],
)
def test_rules_that_cannot_be_loaded_leave_a_lockdown(restored: ClosedLab, damage: str) -> None:
    """A gateway whose rules are damaged, missing or empty passes nothing, does not forward, and says so."""
    restored.inside("gateway", damage)
    with flood(restored) as arrivals:
        with pytest.raises(KakoiError, match=r"kakoi-firewall\.service"):
            coldboot(restored.lab, "gateway", quietly)
        assert wait_for(arrivals, 1, seconds=1) == 0
    assert "table inet kakoi_lockdown" in restored.inside("gateway", "nft list tables")
    assert restored.inside("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"


def test_without_any_rules_at_all_nothing_is_forwarded(restored: ClosedLab) -> None:
    """Even when the lockdown cannot be loaded either, forwarding stays off."""
    restored.inside("gateway", "rm /etc/kakoi/kakoi.nft /etc/kakoi/lockdown.nft")
    with flood(restored) as arrivals:
        with pytest.raises(KakoiError, match=r"kakoi-firewall\.service"):
            coldboot(restored.lab, "gateway", quietly)
        assert wait_for(arrivals, 1, seconds=1) == 0
    assert restored.inside("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"
