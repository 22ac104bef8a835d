"""Services say which ports they are, once, and for both address families."""

from collections.abc import Iterator
from itertools import pairwise

from kakoi.policy.citations import cited
from kakoi.policy.problem import Bilingual, Finding, quote
from kakoi.policy.rules.registry import error, rule, warning
from kakoi.policy.rules.scope import Scope

_WIDE_RANGE_PORTS = 1000


@rule("A service has a port or an ICMP type.", "サービスにはポートか ICMP の種類がある。")
def services_have_ports(scope: Scope) -> Iterator[Finding]:
    """A flow with an empty service opens nothing."""
    for service in scope.policy.services.values():
        if not (service.tcp or service.udp or service.icmp or service.icmpv6):
            yield error(
                ("services", service.id),
                (
                    f"the service {quote(service.id)} has neither a port nor an ICMP type",
                    f"サービス {quote(service.id)} にポートも ICMP の種類もありません",
                ),
                (
                    "Add `tcp:`, `udp:`, or `icmp:` and `icmpv6:`.",
                    "`tcp:`、`udp:`、または `icmp:` と `icmpv6:` を書いてください。",
                ),
                at_key=True,
            )


@rule("Port ranges of one service do not overlap.", "一つのサービスのポート範囲は重ならない。")
def port_ranges_do_not_overlap(scope: Scope) -> Iterator[Finding]:
    """Overlapping intervals cannot stand in one set of the packet filter."""
    for service in scope.policy.services.values():
        for protocol, ranges in (("tcp", service.tcp), ("udp", service.udp)):
            placed = sorted((ports.first, ports.last, index) for index, ports in enumerate(ranges))
            for (_, last, one), (next_first, _, other) in pairwise(placed):
                if next_first <= last:
                    later = max(one, other)
                    yield error(
                        ("services", service.id, protocol, later),
                        (
                            f"{protocol} {ranges[later]} overlaps {ranges[min(one, other)]}",
                            f"{protocol} {ranges[later]} が {ranges[min(one, other)]} と重なっています",
                        ),
                        ("Write one range that covers both.", "両方を含む一つの範囲にしてください。"),
                    )


@rule("A service that pings does so by IPv4 and IPv6.", "到達確認は IPv4 と IPv6 の両方で行う。")
def ping_in_both_families(scope: Scope) -> Iterator[Finding]:
    """Half a ping says that a host is away when only one family is."""
    for service in scope.policy.services.values():
        if bool(service.icmp) != bool(service.icmpv6):
            present, absent = ("icmp", "icmpv6") if service.icmp else ("icmpv6", "icmp")
            yield warning(
                ("services", service.id, present),
                (
                    f"the service {quote(service.id)} has {present} but not {absent}",
                    f"サービス {quote(service.id)} に {present} はありますが {absent} がありません",
                ),
                (f"Add `{absent}: [echo-request]`.", f"`{absent}: [echo-request]` を加えてください。"),
                at_key=True,
            )


@rule("A service is no wider than its work needs.", "サービスの範囲は必要最小限。")
def ranges_are_narrow(scope: Scope) -> Iterator[Finding]:
    """A range of thousands of ports lets anything listen on one of them."""
    for service in scope.policy.services.values():
        for protocol, ranges in (("tcp", service.tcp), ("udp", service.udp)):
            for index, ports in enumerate(ranges):
                count = ports.last - ports.first + 1
                if count > _WIDE_RANGE_PORTS:
                    yield warning(
                        ("services", service.id, protocol, index),
                        cited(
                            Bilingual(
                                f"{protocol} {ports} is {count} ports",
                                f"{protocol} {ports} は {count} ポートに及びます",
                            ),
                            "GL-07",
                        ),
                        (
                            "Fix the ports in the program and list those.",
                            "プログラムの側でポートを固定し、そのポートだけを書いてください。",
                        ),
                    )
