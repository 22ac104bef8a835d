"""Small networks of namespaces for the probe's tests: hosts, a router between them, nothing of the machine's own."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import kakoi.probe.agent

AGENT = Path(kakoi.probe.agent.__file__)


def run(*command: str, text: str = "") -> str:
    """Run a system program that must succeed, with text on its standard input."""
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout


class Running:
    """An agent at work in a namespace."""

    def __init__(self, namespace: str, order: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-I", AGENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order))
        self._process.stdin.close()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer."""
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.read())
        assert self._process.wait() == 0
        return answer


class Net:
    """Hosts around one router (``router``), each on a link of its own: host n has 10.66.n.2 and fd66:n::2."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._prefix = f"kp{uuid4().hex[:6]}"
        self.hosts = tuple(hosts)

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for name in ("router", *self.hosts):
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)

    def _build(self) -> None:
        lines = [f"netns add {self.namespace(name)}" for name in ("router", *self.hosts)]
        run("ip", "-batch", "-", text="\n".join(lines))
        for name in ("router", *self.hosts):
            self.sysctl(name, "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        self.ip("router", "link set lo up")
        self.sysctl("router", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for number, name in enumerate(self.hosts):
            self.ip("router", f"link add to{number} type veth peer name wire netns {self.namespace(name)}")
            self.ip(
                "router",
                f"addr add 10.66.{number}.1/24 dev to{number}",
                f"addr add fd66:{number}::1/64 dev to{number} nodad",
                f"link set to{number} up",
            )
            self.ip(
                name,
                "link set lo up",
                f"addr add 10.66.{number}.2/24 dev wire",
                f"addr add fd66:{number}::2/64 dev wire nodad",
                "link set wire up",
                f"route add default via 10.66.{number}.1",
                f"route add default via fd66:{number}::1",
            )

    def namespace(self, name: str) -> str:
        """The namespace of a host or of the router."""
        return f"{self._prefix}-{name}"

    def address(self, name: str, family: str = "ipv4") -> str:
        """A host's address."""
        number = self.hosts.index(name)
        return f"10.66.{number}.2" if family == "ipv4" else f"fd66:{number}::2"

    def router_address(self, name: str, family: str = "ipv4") -> str:
        """The router's address on a host's link."""
        number = self.hosts.index(name)
        return f"10.66.{number}.1" if family == "ipv4" else f"fd66:{number}::1"

    def ip(self, name: str, *lines: str) -> None:
        """Run lines of ip(8) in a namespace."""
        run("ip", "-n", self.namespace(name), "-batch", "-", text="\n".join(lines))

    def sysctl(self, name: str, *settings: str) -> None:
        """Set network sysctls of a namespace."""
        run("ip", "netns", "exec", self.namespace(name), "sysctl", "-qw", *settings)

    def filter(self, name: str, hook: str, rules: str) -> None:
        """Load rules into one hook of a namespace, in place of those that were there."""
        body = "; ".join(line.strip() for line in rules.strip().splitlines())
        text = (
            f"table inet test_{hook}\ndelete table inet test_{hook}\n"
            f"table inet test_{hook} {{ chain rules {{ type filter hook {hook} priority 0; policy accept; {body}; }}; }}\n"
        )
        run("ip", "netns", "exec", self.namespace(name), "nft", "-f", "-", text=text)

    def start(self, name: str, order: Mapping[str, Any]) -> Running:
        """Give an agent an order without waiting."""
        return Running(self.namespace(name), order)

    def ask(self, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give an agent an order and wait for its answer."""
        return self.start(name, order).answer()

    def socket(self, name: str) -> str:
        """Where a host's listening process takes its orders."""
        return f"/run/kakoi-probe-test/{self.namespace(name)}.sock"

    @contextmanager
    def listening(self, name: str, listeners: list[list[Any]], **more: object) -> Iterator[dict[str, Any]]:
        """A listening process on a host; its report is filled with the arrivals at the end of the block."""
        order = {"socket": self.socket(name), "lifetime_seconds": 300, "listeners": listeners, **more}
        report = self.ask(name, {"action": "listen", **order})
        try:
            yield report
        finally:
            report.update(self.ask(name, {"action": "stop", "socket": self.socket(name)}))
