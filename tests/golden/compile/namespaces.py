"""The machines of a small policy as network namespaces, wired with veth pairs, for sending real packets.

Zones with two machines only: one pair of devices is the wire. Everything lies in namespaces with a name of this
process; the machine's own network is not touched.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kakoi.compile.network import plan_network
from kakoi.compile.nftables import rulesets
from kakoi.policy.model import Policy

_CLONE_NEWNET = 0x40000000
PATIENCE_SECONDS = 0.5
"""How long a packet may take before it counts as dropped; on the way there is nothing but veth."""


class Network:
    """Namespaces of one policy's machines."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._names = {host: f"kakoi-test-{os.getpid()}-{host}" for host in policy.hosts}

    def load(self, policy: Policy | None = None, *, without: str = "") -> None:
        """Load every machine's compiled ruleset, but for one machine if told so."""
        for host, text in rulesets(policy or self.policy):
            if host != without:
                self.run(host, "nft", "-f", "-", text=text)

    def run(self, host: str, *command: str, text: str = "") -> str:
        """Run a command inside a machine."""
        return self.run_in(self._names[host], *command, text=text)

    @staticmethod
    def run_in(name: str, *command: str, text: str = "") -> str:
        """Run a command inside a namespace."""
        whole = ["ip", "netns", "exec", name, *command]
        return subprocess.run(whole, input=text, check=True, capture_output=True, text=True).stdout

    def dropped(self, host: str, chain: str) -> int:
        """Packets that the last rule of a chain has dropped."""
        listing = self.run(host, "nft", "list", "chain", "inet", "kakoi", chain)
        return int(listing.rpartition("counter packets ")[2].split()[0])

    def inside[T](self, host: str, work: Callable[[], T]) -> T:
        """Do something inside a machine; sockets opened there stay there."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._enter_and, host, work).result()

    def _enter_and[T](self, host: str, work: Callable[[], T]) -> T:
        with Path("/run/netns", self._names[host]).open("rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter the namespace")
        return work()

    # ------------------------------------------------------------------------------------ sockets

    def listen(self, host: str, address: str, port: int) -> socket.socket:
        """A TCP listener; the kernel completes connections to it by itself."""
        return self.inside(host, lambda: socket.create_server((address, port), family=_family(address)))

    def receive(self, host: str, address: str, port: int) -> socket.socket:
        """A UDP socket that waits for datagrams."""
        return self.inside(host, lambda: _datagram(address, port))

    def connect(self, host: str, address: str, port: int, source: str = "") -> socket.socket | None:
        """A TCP connection, or None where nothing answers."""
        origin = (source, 0) if source else None
        try:
            return self.inside(host, lambda: socket.create_connection((address, port), PATIENCE_SECONDS, origin))
        except TimeoutError:
            return None

    # -------------------------------------------------------------------------------- up and down

    def build(self) -> None:
        """Make the namespaces, the wires, addresses and routes."""
        for name in self._names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            self.run_in(name, "sysctl", "-q", "net.ipv6.conf.default.accept_dad=0")  # nobody else is on these wires
        for place, zone in enumerate(self.policy.zones):
            # Both ends with one index would look like no pair to the kernel, which then reports the carrier a second late.
            here, there = (host for host in self.policy.hosts.values() if zone in host.interfaces)
            _ip("-n", self._names[here.id], "link", "add", here.device(zone), "index", f"{10 + 2 * place}", "type", "veth",
                "peer", "name", there.device(zone), "index", f"{11 + 2 * place}", "netns", self._names[there.id])  # fmt: skip
        for host, plan in plan_network(self.policy).items():
            for leg in plan.interfaces:
                for address in leg.addresses:
                    _ip("-n", self._names[host], "address", "add", str(address), "dev", leg.device)
                _ip("-n", self._names[host], "link", "set", leg.device, "up")
            if plan.forwarding:
                self.run(host, "sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for host, plan in plan_network(self.policy).items():
            for route in plan.routes:
                _ip("-n", self._names[host], "route", "add", str(route.destination), "via", str(route.via))

    def remove(self) -> None:
        """Delete the namespaces, and with them everything inside."""
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def network(policy: Policy) -> Iterator[Network]:
    """The machines of a policy, up and without any rules; removed at the end."""
    built = Network(policy)
    try:
        built.build()
        yield built
    finally:
        built.remove()


def _datagram(address: str, port: int) -> socket.socket:
    opened = socket.socket(_family(address), socket.SOCK_DGRAM)
    opened.settimeout(PATIENCE_SECONDS)
    opened.bind((address, port))
    return opened


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
