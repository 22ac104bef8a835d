"""Zones, gateways and the ways between them."""

from collections.abc import Iterator

from kakoi.policy.citations import cited
from kakoi.policy.model import Layer
from kakoi.policy.problem import Bilingual, Finding, quote
from kakoi.policy.rules.registry import NETWORK, SETS, error, rule, warning
from kakoi.policy.rules.scope import FAMILY_NAMES, Scope

LAYER_NAMES: dict[Layer, Bilingual] = {
    "outside": Bilingual("the outside", "庁外"),
    "internet_connected": Bilingual("インターネット接続系", "インターネット接続系"),
    "lgwan_connected": Bilingual("LGWAN接続系", "LGWAN接続系"),
    "mynumber_use": Bilingual("マイナンバー利用事務系", "マイナンバー利用事務系"),
    "enclave": Bilingual("the enclave", "囲い"),
}
CLOSED_LAYERS: dict[Layer, str] = {"lgwan_connected": "NZ-03", "mynumber_use": "NZ-01", "enclave": "PN-F-c"}
"""Layers without any way to the internet, and why."""
_LONGEST_DEVICE = 15


@rule("Only a gateway stands in more than one zone.", "複数のゾーンに立つのはゲートウェイだけ。")
def one_zone_each(scope: Scope) -> Iterator[Finding]:
    """A server in two zones is a way around every gateway."""
    for host in scope.policy.hosts.values():
        if host.kind != "gateway" and len(host.interfaces) > 1:
            zones = ", ".join(host.interfaces)
            yield error(
                ("hosts", host.id, "interfaces"),
                (
                    f"the {host.kind} {quote(host.id)} stands in {len(host.interfaces)} zones ({zones})",
                    f"{quote(host.id)} はゲートウェイではないのに {len(host.interfaces)} つのゾーンに立っています（{zones}）",
                ),
                (
                    "Keep one zone, or make it `kind: gateway`.",
                    "ゾーンを一つにするか、`kind: gateway` にしてください。",
                ),
                at_key=True,
            )


@rule("A gateway stands in at least two zones.", "ゲートウェイは2つ以上のゾーンに立つ。")
def gateways_join_zones(scope: Scope) -> Iterator[Finding]:
    """A gateway with one leg leads nowhere."""
    for host in scope.policy.hosts.values():
        if host.kind == "gateway" and len(host.interfaces) == 1:
            yield warning(
                ("hosts", host.id, "interfaces"),
                (
                    f"the gateway {quote(host.id)} stands in one zone only",
                    f"ゲートウェイ {quote(host.id)} は一つのゾーンにしか立っていません",
                ),
                (
                    "Add the other zone, or make it `kind: server`.",
                    "もう一方のゾーンを加えるか、`kind: server` にしてください。",
                ),
                at_key=True,
            )


@rule("Every zone has a gateway.", "すべてのゾーンにゲートウェイがある。", needs=NETWORK)
def zones_have_gateways(scope: Scope) -> Iterator[Finding]:
    """Nothing crosses into or out of a zone without a gateway, the controller included."""
    served = {zone for host in scope.policy.gateways() for zone in host.interfaces}
    for zone in scope.policy.zones.values():
        if zone.id not in served and len(scope.policy.zones) > 1:
            yield error(
                ("zones", zone.id),
                (
                    f"no gateway stands in the zone {quote(zone.id)}",
                    f"ゾーン {quote(zone.id)} にゲートウェイがありません",
                ),
                (
                    "Give a gateway an interface in it (hosts.yml), or delete the zone.",
                    "hosts.yml でゲートウェイにインターフェースを加えるか、ゾーンを削除してください。",
                ),
                at_key=True,
            )


@rule(
    "Gateways join all zones to one network, in every family that a zone uses.",
    "ゲートウェイはすべてのゾーンを、使うアドレス族ごとに一つの網につなぐ。",
    needs=NETWORK,
)
def zones_are_joined(scope: Scope) -> Iterator[Finding]:
    """A zone that no other reaches cannot be administered."""
    served = {zone for host in scope.policy.gateways() for zone in host.interfaces}
    for family, name in FAMILY_NAMES.items():
        users = [z for z in scope.policy.zones.values() if family in z.families and z.id in served]
        parts = [next(iter(scope.parts(zone.id, family)), -1) for zone in users]
        if not parts:
            continue
        main = max(parts, key=parts.count)
        for zone, part in zip(users, parts, strict=True):
            if part != main:
                yield warning(
                    ("zones", zone.id),
                    (
                        f"the zone {quote(zone.id)} cannot be reached from most others by {name}",
                        f"ゾーン {quote(zone.id)} は {name} でほかの多くのゾーンとつながっていません",
                    ),
                    (
                        f"Check the {name} addresses of its gateways.",
                        f"ゲートウェイの {name} アドレスを確認してください。",
                    ),
                    at_key=True,
                )


@rule("A zone's default route is a gateway that stands in it.", "デフォルトルートは、そのゾーンに立つゲートウェイ。")
def default_route_in_zone(scope: Scope) -> Iterator[Finding]:
    """A route by way of a host that is not there sends packets nowhere, or to a host that does not filter."""
    for zone in scope.policy.zones.values():
        host = scope.policy.hosts.get(zone.default_route or "")
        if host is None:
            continue
        if host.kind != "gateway":
            message = (
                f"{quote(host.id)} is a {host.kind}, not a gateway",
                f"{quote(host.id)} はゲートウェイではありません",
            )
        elif zone.id not in host.interfaces:
            message = (
                f"the gateway {quote(host.id)} does not stand in {quote(zone.id)}",
                f"ゲートウェイ {quote(host.id)} は {quote(zone.id)} に立っていません",
            )
        else:
            continue
        there = [gateway.id for gateway in scope.policy.gateways() if zone.id in gateway.interfaces]
        remedy = (
            (f"Possible: {', '.join(there)}.", f"使えるもの: {'、'.join(there)}。")
            if there
            else ("Delete the key.", "キーを削除してください。")
        )
        yield error(("zones", zone.id, "default_route"), message, remedy)


@rule(
    "The enclave, LGWAN接続系 and マイナンバー利用事務系 have no default route.",
    "囲い、LGWAN接続系、マイナンバー利用事務系にはデフォルトルートがない。",
)
def closed_zones_have_no_default_route(scope: Scope) -> Iterator[Finding]:
    """A default route is a way to the internet that only a filter closes."""
    for zone in scope.policy.zones.values():
        if zone.default_route and zone.layer in CLOSED_LAYERS:
            layer = LAYER_NAMES[zone.layer]
            yield error(
                ("zones", zone.id, "default_route"),
                cited(
                    Bilingual(
                        f"a zone of {layer.en} has no route to the internet",
                        f"{layer.ja}のゾーンはインターネットへの経路を持ちません",
                    ),
                    CLOSED_LAYERS[zone.layer],
                ),
                (
                    "Delete the key; routes to the other zones are made by themselves.",
                    "キーを削除してください。ほかのゾーンへの経路は自動で作られます。",
                ),
            )


@rule(
    "There is an untrusted zone: the internet.",
    "untrusted のゾーン（インターネット）がある。",
    needs=frozenset({"zones"}),
)
def there_is_an_outside(scope: Scope) -> Iterator[Finding]:
    """Without an outside, every guarantee against it holds in silence."""
    if not any(zone.trust == "untrusted" for zone in scope.policy.zones.values()):
        yield error(
            ("zones",),
            (
                "no zone is untrusted, so nothing would be proved against the internet",
                "untrusted のゾーンがないため、インターネットに対する証明ができません",
            ),
            (
                "Add a zone with `trust: untrusted` and `layer: outside`.",
                "`trust: untrusted`、`layer: outside` のゾーンを加えてください。",
            ),
            at_key=True,
        )


@rule("Untrusted zones are outside, and what is outside is untrusted.", "untrusted と outside は必ず一緒に書く。")
def outside_is_untrusted(scope: Scope) -> Iterator[Finding]:
    """An outside zone with trust would not count as the internet in any proof."""
    for zone in scope.policy.zones.values():
        if (zone.trust == "untrusted") != (zone.layer == "outside"):
            yield error(
                ("zones", zone.id, "trust"),
                (
                    f"'trust: {zone.trust}' does not go with 'layer: {zone.layer}'",
                    f"'trust: {zone.trust}' と 'layer: {zone.layer}' は両立しません",
                ),
                (
                    "Write `layer: outside` and `trust: untrusted`, or neither.",
                    "`layer: outside` と `trust: untrusted` は必ず組で書いてください。",
                ),
            )


@rule(
    "An untrusted zone names the gateway that it enters by.",
    "untrusted のゾーンは入口のゲートウェイを default_route に書く。",
)
def outside_knows_the_way(scope: Scope) -> Iterator[Finding]:
    """An attacker knows the way in: without a route, the probes from outside would fail for the wrong reason."""
    for zone in scope.policy.zones.values():
        if zone.trust == "untrusted" and not zone.default_route:
            yield error(
                ("zones", zone.id),
                (
                    f"the untrusted zone {quote(zone.id)} has no default_route",
                    f"untrusted のゾーン {quote(zone.id)} に default_route がありません",
                ),
                (
                    "Add `default_route:` with the gateway that faces it.",
                    "向かい合うゲートウェイを `default_route:` に書いてください。",
                ),
                at_key=True,
            )


@rule(
    "The provider's routers stand on an untrusted zone's wire, one for each family, at addresses of nobody else.",
    "事業者のルータは untrusted のゾーンの回線に、アドレス族ごとに一つ、ほかの誰も使わないアドレスで立つ。",
)
def upstream_is_outside(scope: Scope) -> Iterator[Finding]:
    """A default route to one of our own machines, or out of a trusted zone, is a way that no gateway watches."""
    held = {
        address: host.id
        for host in scope.policy.hosts.values()
        for addresses in host.interfaces.values()
        for address in addresses
    }
    for zone in scope.policy.zones.values():
        seen: set[int] = set()
        for index, address in enumerate(zone.upstream):
            if zone.trust != "untrusted":
                message = (
                    f"the zone {quote(zone.id)} is not untrusted, so no provider's router stands in it",
                    f"ゾーン {quote(zone.id)} は untrusted ではないため、事業者のルータは立ちません",
                )
            elif not any(address in network for network in zone.networks):
                message = (
                    f"{address} is in none of the zone's networks",
                    f"{address} はゾーンのどのネットワークにも属しません",
                )
            elif address in held:
                message = (
                    f"{address} is the address of {quote(held[address])}",
                    f"{address} は {quote(held[address])} のアドレスです",
                )
            elif address.version in seen:
                message = (
                    f"{address} is a second router of the same family",
                    f"{address} は同じアドレス族の二つ目のルータです",
                )
            else:
                seen.add(address.version)
                continue
            remedy = (
                ("Delete it.", "削除してください。")
                if zone.trust != "untrusted"
                else (
                    f"Write the provider's one router in {', '.join(map(str, zone.networks))}, or delete it.",
                    f"{'、'.join(map(str, zone.networks))} にある事業者のルータを一つ書くか、削除してください。",
                )
            )
            yield error(("zones", zone.id, "upstream", index), message, remedy)


@rule(
    "No gateway joins the outside to the enclave, LGWAN接続系 or マイナンバー利用事務系.",
    "庁外と囲い・LGWAN接続系・マイナンバー利用事務系を一台のゲートウェイで直結しない。",
)
def nothing_joins_outside_and_closed(scope: Scope) -> Iterator[Finding]:
    """One broken machine would be enough to open the enclave to the internet."""
    zones = scope.policy.zones
    for host in scope.policy.gateways():
        layers = {zones[zone].layer for zone in host.interfaces if zone in zones}
        for zone in host.interfaces:
            if zone in zones and zones[zone].layer in CLOSED_LAYERS and "outside" in layers:
                layer = LAYER_NAMES[zones[zone].layer]
                yield error(
                    ("hosts", host.id, "interfaces", zone),
                    cited(
                        Bilingual(
                            f"{quote(host.id)} joins {layer.en} directly to the internet",
                            f"{quote(host.id)} は{layer.ja}をインターネットに直結しています",
                        ),
                        "NZ-09",
                    ),
                    ("Put a second gateway between them.", "間に別のゲートウェイを置いてください。"),
                    at_key=True,
                )


@rule("Hosts of an untrusted zone are external.", "untrusted のゾーンのホストは external。")
def outside_is_external(scope: Scope) -> Iterator[Finding]:
    """A machine outside the body's power cannot be trusted to filter for it."""
    for host in scope.policy.hosts.values():
        if host.id in scope.outside and host.managed != "external":
            yield error(
                ("hosts", host.id),
                (
                    f"{quote(host.id)} stands in an untrusted zone but is managed by kakoi",
                    f"{quote(host.id)} は untrusted のゾーンにありますが、kakoi の管理対象になっています",
                ),
                ("Add `managed: external`.", "`managed: external` を加えてください。"),
                at_key=True,
            )


@rule("A host's devices have names of their own.", "一つのホストのデバイス名は重ならない。")
def device_names_differ(scope: Scope) -> Iterator[Finding]:
    """The kernel keeps 15 characters: two zones with a long common beginning would share one device."""
    for host in scope.policy.hosts.values():
        taken: dict[str, str] = {}
        for zone in host.interfaces:
            device = host.device(zone)
            written = zone in host.devices
            path = ("hosts", host.id, "devices" if written else "interfaces", zone)
            if device in {"lo", "all", "default"}:
                yield error(
                    path,
                    (f"the device name {quote(device)} is reserved", f"デバイス名 {quote(device)} は予約されています"),
                    ("Write another name.", "別の名前を書いてください。"),
                    at_key=not written,
                )
            elif device in taken:
                yield error(
                    path,
                    (
                        f"the devices in {quote(taken[device])} and {quote(zone)} are both called {quote(device)}",
                        f"{quote(taken[device])} と {quote(zone)} のデバイスがどちらも {quote(device)} という名前になります",
                    ),
                    (
                        f"Write a name of at most {_LONGEST_DEVICE} characters under `devices:` for one of them.",
                        f"どちらかに `devices:` で {_LONGEST_DEVICE} 文字以内の名前を付けてください。",
                    ),
                    at_key=not written,
                )
            else:
                taken[device] = zone


@rule(
    "A way leads from one end of a flow to the other, in a family that both have.",
    "許可通信の両端は、共通のアドレス族の経路でつながっている。",
    needs=SETS,
)
def flows_have_a_way(scope: Scope) -> Iterator[Finding]:
    """A flow that no route or family can carry is a permission that never works."""
    judged: dict[tuple[tuple[str, ...], tuple[str, ...]], bool] = {}
    for flow in scope.policy.flows.values():
        key = (flow.from_, flow.to)
        if key not in judged:
            judged[key] = _joined(scope, *key)
        if not judged[key]:
            yield error(
                ("flows", flow.id, "to"),
                (
                    f"no way leads from {', '.join(flow.from_)} to {', '.join(flow.to)}: no common address family, or no gateways between them",
                    f"{'、'.join(flow.from_)} から {'、'.join(flow.to)} への経路がありません（共通のアドレス族か、間のゲートウェイがありません）",
                ),
                (
                    "Give both ends addresses of one family, and their zones a gateway.",
                    "両端に同じアドレス族のアドレスを付け、ゾーンをゲートウェイでつないでください。",
                ),
            )


def _joined(scope: Scope, sources: tuple[str, ...], targets: tuple[str, ...]) -> bool:
    """Whether any source reaches any target; also true when an end is empty, which another rule reports."""
    ends = (scope.members(sources), scope.members(targets))
    if not all(ends):
        return True
    for family in FAMILY_NAMES:
        reached = [frozenset(part for member in end for part in scope.parts(member, family)) for end in ends]
        if reached[0] & reached[1]:
            return True
    return False
