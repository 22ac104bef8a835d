"""The controller reaches what it manages; what is managed reaches the mirror and the clock."""

from collections.abc import Iterator

from kakoi.policy.model import Flow, Service
from kakoi.policy.problem import Finding, quote
from kakoi.policy.rules.registry import EVERYTHING, error, rule, warning
from kakoi.policy.rules.scope import Scope

_SSH_PORT = 22
_NTP_PORT = 123
_LISTED = 5
_NEEDS = EVERYTHING - {"guarantees"}


def _allows(service: Service, protocol: str, port: int | None) -> bool:
    ranges = service.tcp if protocol == "tcp" else service.udp
    return any(port is None or ports.first <= port <= ports.last for ports in ranges)


def _flows_with(scope: Scope, protocol: str, port: int | None) -> list[Flow]:
    fitting = {service.id for service in scope.policy.services.values() if _allows(service, protocol, port)}
    return [flow for flow in scope.policy.flows.values() if not fitting.isdisjoint(flow.services)]


def _cut_off(scope: Scope, source: str, target: str) -> list[str]:
    """Families in which both ends have addresses but no gateways join them; ``["any"]`` when they share no family."""
    shared = scope.families(source) & scope.families(target)
    if not shared:
        return ["any"]
    return [family for family in sorted(shared) if scope.parts(source, family).isdisjoint(scope.parts(target, family))]


@rule(
    "The controller reaches every managed host by ssh (tcp 22), in every family that both have.",
    "運用端末は管理対象の全ホストに ssh（tcp 22）で、共通するすべてのアドレス族で届く。",
    needs=_NEEDS,
)
def controller_is_not_cut_off(scope: Scope) -> Iterator[Finding]:
    """Applying such a policy would lock its own administrators out."""
    controller = scope.policy.enclave.administration.controller
    if controller not in scope.policy.hosts:
        return
    reached: set[str] = set()
    for flow in _flows_with(scope, "tcp", _SSH_PORT):
        if controller in scope.members(flow.from_):
            reached |= scope.hosts(flow.to)
    managed = [host for host in scope.policy.hosts if host in scope.managed_hosts and host != controller]
    lost = [host for host in managed if host not in reached]
    if lost:
        yield error(
            ("enclave", "administration", "controller"),
            (
                f"the policy would cut the controller {quote(controller)} off from {_listed(lost)}: no flow allows ssh (tcp 22)",
                f"このポリシーでは運用端末 {quote(controller)} から {_listed_ja(lost)} に接続できなくなります（ssh（tcp 22）の許可通信がありません）",
            ),
            (
                "Add a flow from the controller to managed_hosts with a service of tcp 22.",
                "運用端末から managed_hosts への tcp 22 の許可通信を加えてください。",
            ),
        )
    judged: dict[tuple[object, ...], list[str]] = {}
    unjoined: dict[str, list[str]] = {}
    for host in managed:
        zones = tuple(scope.policy.hosts[host].interfaces)
        key = (zones, scope.families(host))
        if key not in judged:
            judged[key] = _cut_off(scope, controller, host)
        for family in judged[key]:
            unjoined.setdefault(family, []).append(host)
    for family, hosts in unjoined.items():
        name = {"ipv4": "IPv4", "ipv6": "IPv6", "any": "any address family"}[family]
        name_ja = {"ipv4": "IPv4", "ipv6": "IPv6", "any": "どのアドレス族でも"}[family]
        yield error(
            ("enclave", "administration", "controller"),
            (
                f"the policy would cut the controller {quote(controller)} off from {_listed(hosts)}: no way by {name}",
                f"このポリシーでは運用端末 {quote(controller)} から {_listed_ja(hosts)} への {name_ja} の経路がありません",
            ),
            (
                "Give the gateways between them addresses of that family.",
                "間のゲートウェイにそのアドレス族のアドレスを付けてください。",
            ),
        )


@rule(
    "Every managed host reaches the package mirror (tcp).",
    "管理対象の全ホストがパッケージミラーに届く（tcp）。",
    needs=_NEEDS,
)
def mirror_is_reached(scope: Scope) -> Iterator[Finding]:
    """A host without the mirror gets no updates."""
    yield from _service_reached(scope, "package_mirror", "tcp", None, ("packages", "パッケージの更新"))


@rule(
    "Every managed host reaches the time server (udp 123).",
    "管理対象の全ホストが時刻サーバに届く（udp 123）。",
    needs=_NEEDS,
)
def time_server_is_reached(scope: Scope) -> Iterator[Finding]:
    """A host with a wrong clock writes logs that prove nothing."""
    yield from _service_reached(scope, "time_server", "udp", _NTP_PORT, ("the time", "時刻同期"))


def _service_reached(
    scope: Scope, key: str, protocol: str, port: int | None, what: tuple[str, str]
) -> Iterator[Finding]:
    server: str = getattr(scope.policy.enclave.administration, key)
    if server not in scope.policy.hosts:
        return
    served: set[str] = {server}
    for flow in _flows_with(scope, protocol, port):
        if server in scope.hosts(flow.to):
            served |= scope.hosts(flow.from_)
    unserved = scope.managed_hosts - served
    lost = [host for host in scope.policy.hosts if host in unserved]
    if lost:
        service = f"{protocol} {port}" if port else protocol
        yield warning(
            ("enclave", "administration", key),
            (
                f"no flow lets {_listed(lost)} reach {quote(server)} for {what[0]} ({service})",
                f"{_listed_ja(lost)} から {quote(server)} への{what[1]}（{service}）の許可通信がありません",
            ),
            (
                f"Add a flow from managed_hosts to {server}.",
                f"managed_hosts から {server} への許可通信を加えてください。",
            ),
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def _listed_ja(names: list[str]) -> str:
    shown = "、".join(f"'{name}'" for name in names[:_LISTED])
    return f"{shown} ほか {len(names) - _LISTED} 台" if len(names) > _LISTED else shown


@rule(
    "The controller is inside: not in an untrusted zone.",
    "運用端末は untrusted のゾーンに置かない。",
    needs=frozenset({"enclave"}),
)
def controller_is_inside(scope: Scope) -> Iterator[Finding]:
    """Whoever holds the controller holds every host."""
    controller = scope.policy.enclave.administration.controller
    if controller in scope.outside:
        yield error(
            ("enclave", "administration", "controller"),
            (
                f"the controller {quote(controller)} stands in an untrusted zone",
                f"運用端末 {quote(controller)} が untrusted のゾーンにあります",
            ),
            ("Name a host of the enclave.", "囲いの中のホストを指定してください。"),
        )


@rule("The automation account is not root.", "自動化用のアカウントに root を使わない。", needs=frozenset({"enclave"}))
def automation_is_not_root(scope: Scope) -> Iterator[Finding]:
    """Work of root over the network cannot be told apart from anybody's."""
    if scope.policy.enclave.administration.automation_user == "root":
        yield error(
            ("enclave", "administration", "automation_user"),
            ("the automation account is 'root'", "自動化用のアカウントが 'root' です"),
            (
                "Use an account of its own that becomes root by sudo, such as automation.",
                "automation のような専用アカウントから sudo を使ってください。",
            ),
        )
