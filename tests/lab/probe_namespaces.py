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
from kakoi.compile.names import names_text
from kakoi.compile.network import plan_network
from kakoi.compile.nftables import ruleset
from kakoi.compile.truth import truth_table
from kakoi.policy import Policy
from kakoi.policy.sets import managed_hosts
from kakoi.probe.judge import Judgement, judge
from kakoi.probe.plan import Scope, plan_probe

AGENT = Path(kakoi.probe.agent.__file__)


def run(*command: str, text: str = "") -> str:
    """Run a system program that must succeed, with text on its standard input."""
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout


class Running:
    """An agent at work in a namespace."""

    def __init__(
        self, namespace: str, order: Mapping[str, Any], hosts_file: Path | None = None, before: str = ""
    ) -> None:
        # ip-netns(8) gives the command a mount namespace of its own, so another /etc/hosts stays in there.
        names = f"mount --bind {hosts_file} /etc/hosts && " if hosts_file else ""
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "sh", "-c", f"{names}{before}exec {sys.executable} -I {AGENT}"],
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
        """Give lines to the program ip in a namespace."""
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

    def ask(self, name: str, order: Mapping[str, Any], descriptors: int = 0) -> dict[str, Any]:
        """Give an agent an order and wait for its answer; with ``descriptors`` it may open only so many."""
        before = f"ulimit -n {descriptors} && " if descriptors else ""
        return Running(self.namespace(name), order, before=before).answer()

    @contextmanager
    def python(self, name: str, script: str) -> Iterator[None]:
        """A program in a namespace, from the moment it prints that it is ready to the end of the block."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(name), sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            yield
        finally:
            process.kill()
            process.wait()

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


class PolicyNet:
    """The whole network of a policy in bare namespaces, as compiled: bridges, addresses, routes, names and rulesets."""

    def __init__(self, policy: Policy, folder: Path) -> None:
        self.policy = policy
        self._prefix = f"kp{uuid4().hex[:6]}"
        self._network = plan_network(policy)
        self._hosts_file = folder / "names.hosts"
        self._hosts_file.write_text(names_text(policy), encoding="utf-8")

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
        for host in self.policy.hosts:
            Path(f"/run/kakoi-probe/{self.namespace(host)}.sock").unlink(missing_ok=True)
        self._remove()

    def namespace(self, host: str) -> str:
        """The namespace of a host."""
        return f"{self._prefix}-{host}"

    def _remove(self) -> None:
        for name in ("fabric", *self.policy.hosts):
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)

    def _build(self) -> None:
        run(
            "ip",
            "-batch",
            "-",
            text="\n".join(f"netns add {self.namespace(n)}" for n in ("fabric", *self.policy.hosts)),
        )
        bridges = {zone: f"z{number}" for number, zone in enumerate(self.policy.zones)}
        lines = [line for name in bridges.values() for line in (f"link add {name} type bridge", f"link set {name} up")]
        for number, host in enumerate(self._network.values()):
            for leg in host.interfaces:
                port = f"p{number}x{bridges[leg.zone]}"
                lines.append(f"link add {port} type veth peer name {leg.device} netns {self.namespace(host.host)}")
                lines.append(f"link set {port} master {bridges[leg.zone]} up")
        for host in self.policy.hosts:
            settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"]
            if self._network[host].forwarding:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            run("ip", "netns", "exec", self.namespace(host), "sysctl", "-qw", *settings)
        run("ip", "-n", self.namespace("fabric"), "-batch", "-", text="\n".join(lines))
        for host in self._network.values():
            lines = ["link set lo up"]
            for leg in host.interfaces:
                lines += [
                    f"addr add {address} dev {leg.device}{' nodad' if address.version == 6 else ''}"
                    for address in leg.addresses
                ]
                lines.append(f"link set {leg.device} up")
            lines += [f"route add {route.destination} via {route.via}" for route in host.routes]
            run("ip", "-n", self.namespace(host.host), "-batch", "-", text="\n".join(lines))
        for host in managed_hosts(self.policy):
            self.nft(host, ruleset(self.policy, host))

    def nft(self, host: str, text: str) -> None:
        """Load nftables statements on a host."""
        run("ip", "netns", "exec", self.namespace(host), "nft", "-f", "-", text=text)

    def probe(self, scope: Scope = "quick", hosts: Iterable[str] | None = None) -> Judgement:
        """Run all phases from the given hosts (all of them by default) and judge."""
        plan = plan_probe(
            self.policy, truth_table(self.policy), self.policy.hosts if hosts is None else tuple(hosts), scope
        )
        answers: dict[str, dict[str, Any]] = {host: {} for host in plan.hosts}
        for action in ("listen", "connect", "attack", "stop"):
            running = {
                host: Running(self.namespace(host), self._order(host, own.orders[action]), self._hosts_file)
                for host, own in plan.hosts.items()
            }
            for host, agent in running.items():
                answers[host][action] = agent.answer()
        return judge(plan, answers)

    def _order(self, host: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """All namespaces share one file system: each host's control socket gets a name of its own."""
        return {**order, "socket": f"/run/kakoi-probe/{self.namespace(host)}.sock"} if "socket" in order else order
