"""Allowed connections (許可通信): approved, in force, needed, and not across a border that stays closed."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import product

from kakoi.policy.citations import cited
from kakoi.policy.model import Flow
from kakoi.policy.problem import Bilingual, Finding, quote
from kakoi.policy.rules.registry import error, rule, warning
from kakoi.policy.rules.scope import Scope
from kakoi.policy.rules.topology import LAYER_NAMES

_LONGEST_REVIEW_YEARS = 3
_ENCLAVE_NEEDED = frozenset({"enclave"})


@rule(
    "A flow past its review date is an error, or a warning where enclave.yml says so.",
    "見直し期限を過ぎた許可通信は誤り（enclave.yml の past_review で警告にもできる）。",
    needs=_ENCLAVE_NEEDED,
)
def flows_are_in_force(scope: Scope) -> Iterator[Finding]:
    """A permission that nobody reviews outlives its reason."""
    say = error if scope.policy.enclave.administration.past_review == "error" else warning
    for flow in scope.policy.flows.values():
        if flow.review_by < scope.today:
            yield say(
                ("flows", flow.id, "review_by"),
                (
                    f"the review was due on {flow.review_by}, {_days(scope.today, flow.review_by)} ago",
                    f"見直し期限 {flow.review_by} を {(scope.today - flow.review_by).days} 日過ぎています",
                ),
                (
                    "Review the flow and write the new dates, or delete it.",
                    "見直して新しい日付を書くか、許可通信を削除してください。",
                ),
            )


def _days(later: date, earlier: date) -> str:
    days = (later - earlier).days
    return f"{days} day{'s' if days != 1 else ''}"


@rule("A flow is not approved in the future.", "承認日は未来の日付ではない。")
def approval_is_past(scope: Scope) -> Iterator[Finding]:
    """What will be approved is not approved."""
    for flow in scope.policy.flows.values():
        if flow.approved > scope.today:
            yield error(
                ("flows", flow.id, "approved"),
                (
                    f"the approval of {flow.approved} lies in the future (today is {scope.today})",
                    f"承認日 {flow.approved} は未来です（今日は {scope.today}）",
                ),
                ("Write the day on which it was approved.", "実際に承認された日を書いてください。"),
            )


@rule("A flow is reviewed after its approval.", "見直し期限は承認日より後。")
def review_follows_approval(scope: Scope) -> Iterator[Finding]:
    """A review before the approval is a slip of the pen in one of the two."""
    for flow in scope.policy.flows.values():
        if flow.review_by <= flow.approved:
            yield error(
                ("flows", flow.id, "review_by"),
                (
                    f"the review by {flow.review_by} does not come after the approval on {flow.approved}",
                    f"見直し期限 {flow.review_by} が承認日 {flow.approved} より後ではありません",
                ),
                ("Write a later day.", "承認日より後の日付を書いてください。"),
            )


@rule("A flow is reviewed within three years.", "許可通信は3年以内に見直す。")
def review_is_near(scope: Scope) -> Iterator[Finding]:
    """A permission for decades is never looked at again. The figure is this kit's own choice."""
    for flow in scope.policy.flows.values():
        if (flow.review_by - flow.approved).days > 366 * _LONGEST_REVIEW_YEARS:
            yield warning(
                ("flows", flow.id, "review_by"),
                (
                    f"the review is due more than {_LONGEST_REVIEW_YEARS} years after the approval",
                    f"見直し期限が承認日から {_LONGEST_REVIEW_YEARS} 年を超えています",
                ),
                ("Write an earlier day.", "もっと早い日付にしてください。"),
            )


@rule("A flow connects two different ends.", "許可通信の両端は別のもの。")
def ends_differ(scope: Scope) -> Iterator[Finding]:
    """A host's connection to itself never meets a firewall."""
    for flow in scope.policy.flows.values():
        members = scope.members(flow.from_)
        if len(members) == 1 and members == scope.members(flow.to) and members <= scope.policy.hosts.keys():
            yield error(
                ("flows", flow.id, "to"),
                (
                    f"the flow leads from {quote(flow.from_[0])} to itself",
                    f"{quote(flow.from_[0])} から自分自身への許可通信です",
                ),
                ("Name another end, or delete the flow.", "別の相手を書くか、許可通信を削除してください。"),
            )


@rule("No flow is contained in another.", "ほかの許可通信に含まれる許可通信を書かない。")
def flows_are_needed(scope: Scope) -> Iterator[Finding]:
    """Deleting a covered flow changes nothing: whoever withdraws it believes a connection closed that stays open."""
    reach = [_Reach.of(scope, flow) for flow in scope.policy.flows.values()]
    reach = [one for one in reach if one.sources and one.targets and one.ports]
    sources_with = _by_member({one.sources for one in reach})
    targets_with = _by_member({one.targets for one in reach})
    offers: dict[tuple[_Ends, _Port], list[tuple[int, _Reach]]] = defaultdict(list)
    common = Counter(port for one in reach for port in one.ports)
    for order, one in enumerate(reach):
        for port in one.ports:
            offers[(one.sources, one.targets), port].append((order, one))
    wider: dict[_Ends, list[_Ends]] = {}
    for order, one in enumerate(reach):
        ends = (one.sources, one.targets)
        if ends not in wider:
            wider[ends] = list(product(_around(sources_with, one.sources), _around(targets_with, one.targets)))
        rarest = min(one.ports, key=lambda port: common[port])
        for other_order, other in (offer for end in wider[ends] for offer in offers.get((end, rarest), ())):
            covered = one.ports <= other.ports and (not one.same_as(other) or other_order < order)
            if covered and other_order != order:
                yield warning(
                    ("flows", one.flow),
                    (
                        f"everything that {quote(one.flow)} allows is already allowed by {quote(other.flow)}",
                        f"{quote(one.flow)} が許す通信は、すべて {quote(other.flow)} が許しています",
                    ),
                    (
                        "Delete one of the two, or narrow the wider one.",
                        "どちらかを削除するか、広い方を狭めてください。",
                    ),
                    at_key=True,
                )
                break


type _Port = tuple[str, int, int]
type _Ends = tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one flow allows."""

    flow: str
    sources: frozenset[str]
    targets: frozenset[str]
    ports: frozenset[_Port]

    @staticmethod
    def of(scope: Scope, flow: Flow) -> "_Reach":
        """Both ends opened, and all ports; no ports when a service is unknown."""
        known = all(service in scope.policy.services for service in flow.services)
        ports = (
            frozenset(port for service in flow.services for port in _ports(scope, service)) if known else frozenset()
        )
        return _Reach(flow.id, scope.members(flow.from_), scope.members(flow.to), ports)

    def same_as(self, other: "_Reach") -> bool:
        """Whether both allow the same."""
        return (self.sources, self.targets, self.ports) == (other.sources, other.targets, other.ports)


def _by_member(ends: set[frozenset[str]]) -> dict[str, list[frozenset[str]]]:
    index: dict[str, list[frozenset[str]]] = defaultdict(list)
    for end in ends:
        for member in end:
            index[member].append(end)
    return index


def _around(index: dict[str, list[frozenset[str]]], end: frozenset[str]) -> list[frozenset[str]]:
    """Ends that contain an end, the end itself among them."""
    rarest = min(end, key=lambda member: len(index[member]))
    return [wide for wide in index[rarest] if end <= wide]


def _ports(scope: Scope, service_id: str) -> frozenset[_Port]:
    service = scope.policy.services[service_id]
    return frozenset(
        [("tcp", ports.first, ports.last) for ports in service.tcp]
        + [("udp", ports.first, ports.last) for ports in service.udp]
        + [("icmp", 0, 0) for _ in service.icmp]
        + [("icmpv6", 0, 0) for _ in service.icmpv6]
    )


# ------------------------------------------------------------------------- borders between layers


@rule(
    "From an untrusted zone, a flow leads to exposed zones only.",
    "untrusted のゾーンからの許可通信は exposed のゾーンだけに向かう。",
)
def outside_meets_exposed_only(scope: Scope) -> Iterator[Finding]:
    """What the internet can open a connection to must be built for it."""
    for flow in scope.policy.flows.values():
        if scope.outside.isdisjoint(scope.members(flow.from_)):
            continue
        for member in sorted(scope.members(flow.to)):
            if member in scope.outside or (member in scope.policy.zones and member not in flow.to):
                continue
            standing = scope.standing(member)
            trusts = {scope.policy.zones[zone].trust for zone in standing}
            layers = {scope.policy.zones[zone].layer for zone in standing}
            if trusts != {"exposed"} and layers.isdisjoint({"enclave", "lgwan_connected", "mynumber_use"}):
                yield error(
                    ("flows", flow.id, "to"),
                    (
                        f"an untrusted zone would open connections to {quote(member)}, which is not in an exposed zone",
                        f"untrusted のゾーンから、exposed ではない {quote(member)} に接続できることになります",
                    ),
                    (
                        "Put a server in an exposed zone between them.",
                        "間に exposed のゾーンのサーバを置いてください。",
                    ),
                )
                break


@rule(
    "Nothing connects the enclave with an untrusted zone, in either direction.",
    "囲いと untrusted のゾーンは、どちらの向きにもつながない。",
)
def enclave_has_no_outside(scope: Scope) -> Iterator[Finding]:
    """The enclave is closed: not filtered, but without any way to the internet."""
    for flow in scope.policy.flows.values():
        if {"outside", "enclave"} <= scope.layers(flow.from_) | scope.layers(flow.to) and _crosses(
            scope, flow, "outside", "enclave"
        ):
            yield error(
                ("flows", flow.id),
                cited(
                    Bilingual(
                        f"{quote(flow.id)} connects the enclave with an untrusted zone",
                        f"{quote(flow.id)} は囲いと untrusted のゾーンをつなぎます",
                    ),
                    "PN-F-c",
                    "NZ-09",
                ),
                (
                    "Delete it; use the inside mirror, time server and log server.",
                    "削除し、内部のミラー・時刻サーバ・ログサーバを使ってください。",
                ),
                at_key=True,
            )


@rule(
    "Nothing connects LGWAN接続系 with an untrusted zone, in either direction.",
    "LGWAN接続系と untrusted のゾーンは、どちらの向きにもつながない。",
)
def lgwan_has_no_outside(scope: Scope) -> Iterator[Finding]:
    """LGWAN接続系 is divided from the internet."""
    for flow in scope.policy.flows.values():
        if _crosses(scope, flow, "outside", "lgwan_connected"):
            yield error(
                ("flows", flow.id),
                cited(
                    Bilingual(
                        f"{quote(flow.id)} connects LGWAN接続系 with an untrusted zone",
                        f"{quote(flow.id)} はLGWAN接続系と untrusted のゾーンをつなぎます",
                    ),
                    "NZ-03",
                ),
                ("Delete it.", "削除してください。"),
                at_key=True,
            )


@rule("Nothing connects マイナンバー利用事務系 with another zone.", "マイナンバー利用事務系とほかの領域をつながない。")
def mynumber_use_stays_alone(scope: Scope) -> Iterator[Finding]:
    """The exception, 特定通信, is limited to what the state approved; the policy language has none yet."""
    for flow in scope.policy.flows.values():
        layers = (scope.layers(flow.from_), scope.layers(flow.to))
        if any("mynumber_use" in one and other - {"mynumber_use"} for one, other in (layers, layers[::-1])):
            others = sorted(LAYER_NAMES[layer].ja for layer in (layers[0] | layers[1]) - {"mynumber_use"})
            yield error(
                ("flows", flow.id),
                cited(
                    Bilingual(
                        f"{quote(flow.id)} connects マイナンバー利用事務系 with {', '.join(others)}",
                        f"{quote(flow.id)} はマイナンバー利用事務系と{'、'.join(others)}をつなぎます",
                    ),
                    "NZ-01",
                    "NZ-02",
                ),
                (
                    "Delete it; 特定通信 is not part of the policy language.",
                    "削除してください。特定通信はこのポリシー言語の対象外です。",
                ),
                at_key=True,
            )


@rule(
    "From インターネット接続系 or the enclave into LGWAN接続系, a flow says by what transfer: 画面転送 or 無害化通信.",
    "インターネット接続系や囲いからLGWAN接続系への許可通信には、画面転送か無害化通信かを transfer に書く。",
)
def lgwan_by_transfer_only(scope: Scope) -> Iterator[Finding]:
    """A plain connection from インターネット接続系 carries whatever has taken the terminal over."""
    for flow in scope.policy.flows.values():
        if flow.transfer is None and "lgwan_connected" in scope.layers(flow.to):
            inside = scope.layers(flow.from_) & {"internet_connected", "enclave"}
            if inside:
                names = Bilingual(
                    " and ".join(LAYER_NAMES[layer].en for layer in sorted(inside)),
                    "・".join(LAYER_NAMES[layer].ja for layer in sorted(inside)),
                )
                yield warning(
                    ("flows", flow.id),
                    cited(
                        Bilingual(
                            f"{quote(flow.id)} leads from {names.en} into LGWAN接続系 and does not say by what transfer",
                            f"{quote(flow.id)} は{names.ja}からLGWAN接続系に入りますが、方式が書かれていません",
                        ),
                        "NZ-04",
                        "NZ-05",
                    ),
                    (
                        "Add `transfer: screen_transfer` (画面転送) or `transfer: sanitised` (無害化通信) if it is one, else delete the flow.",
                        "画面転送なら `transfer: screen_transfer`、無害化通信なら `transfer: sanitised` を加え、どちらでもなければ削除してください。",
                    ),
                    at_key=True,
                )


@rule("Only a flow into LGWAN接続系 has a transfer.", "transfer はLGWAN接続系に入る許可通信だけに書く。")
def transfer_into_lgwan_only(scope: Scope) -> Iterator[Finding]:
    """A transfer that is written elsewhere suggests a protection that is not there."""
    for flow in scope.policy.flows.values():
        layers = scope.layers(flow.to)
        if flow.transfer is not None and layers and "lgwan_connected" not in layers:
            yield warning(
                ("flows", flow.id, "transfer"),
                (
                    f"{quote(flow.id)} does not lead into LGWAN接続系",
                    f"{quote(flow.id)} はLGWAN接続系に入る許可通信ではありません",
                ),
                ("Delete the key.", "キーを削除してください。"),
                at_key=True,
            )


def _crosses(scope: Scope, flow: Flow, one: str, other: str) -> bool:
    sources, targets = scope.layers(flow.from_), scope.layers(flow.to)
    return (one in sources and other in targets) or (other in sources and one in targets)


@rule(
    "No flow leads from an internet-facing host straight to a My Number store.",
    "インターネットに面したホストから特定個人情報の保管先に直接つながない。",
)
def stores_are_not_next_to_the_internet(scope: Scope) -> Iterator[Finding]:
    """One broken public server would then be enough to reach the numbers."""
    guarantees = [
        g.id
        for g in scope.policy.guarantees.values()
        if g.kind == "isolated" and "internet_facing" in g.from_ and "my_number_stores" in g.to
    ]
    facing = scope.internet_facing.keys()
    for flow in scope.policy.flows.values():
        stores = sorted(scope.hosts(flow.to) & scope.my_number_stores)
        sources = sorted(scope.hosts(flow.from_) & facing) if stores else []
        if sources:
            by = scope.internet_facing[sources[0]].id
            breaks = (
                (f"; it breaks the guarantee {quote(guarantees[0])}", f"。保証 {quote(guarantees[0])} に反します")
                if guarantees
                else ("", "")
            )
            yield error(
                ("flows", flow.id),
                cited(
                    Bilingual(
                        f"{quote(flow.id)} leads from {quote(sources[0])}, which faces the internet by {quote(by)}, to the My Number store {quote(stores[0])}{breaks[0]}",
                        f"{quote(flow.id)} は、{quote(by)} によりインターネットに面した {quote(sources[0])} から、特定個人情報の保管先 {quote(stores[0])} につながります{breaks[1]}",
                    ),
                    "BP-G-04",
                ),
                (
                    "Put the application between them, or take the internet from the source.",
                    "間にアプリケーションを置くか、接続元をインターネットから切り離してください。",
                ),
                at_key=True,
            )
