"""Every name in a policy leads to one thing, and to a thing of the right kind."""

import difflib
from collections.abc import Iterable, Iterator

from kakoi.policy.model import COMPUTED_SETS, Survives
from kakoi.policy.problem import Bilingual, Finding, Path, quote
from kakoi.policy.rules.registry import SETS, error, rule
from kakoi.policy.rules.scope import Scope

_NAMESPACE = ("zones", "hosts", "groups", "assets")
RESERVED = {
    "zones": frozenset({"all", "default", "lo", "localhost"}),
    "hosts": frozenset({"localhost", "fabric"}),
    "groups": frozenset({"localhost"}),
}
"""Names that mean something else to the kernel, in chain names or in the lab."""

_KINDS = {
    "zones": Bilingual("zone", "ゾーン"),
    "hosts": Bilingual("host", "ホスト"),
    "groups": Bilingual("group", "グループ"),
    "assets": Bilingual("asset", "情報資産"),
    "services": Bilingual("service", "サービス"),
    "tasks": Bilingual("task", "事務"),
    "guarantees": Bilingual("guarantee", "保証"),
    "computed": Bilingual("computed set", "計算される集合"),
}


def _unknown(scope: Scope, name: str, path: Path, sections: Iterable[str], wanted: Bilingual) -> Iterator[Finding]:
    """A finding when a name is in none of the sections."""
    sections = tuple(sections)
    if any(section in scope.unread or name in scope.declared.get(section, ()) for section in sections):
        return
    computed = tuple(COMPUTED_SETS) if "groups" in sections else ()
    if name in computed:
        return
    other = next((s for s in (*_NAMESPACE, "services", "tasks") if name in scope.declared.get(s, ())), None)
    known = sorted({*computed, *(declared for section in sections for declared in scope.declared.get(section, ()))})
    near = difflib.get_close_matches(name, known, 1, 0.6)
    if near:
        remedy = Bilingual(f"Did you mean '{near[0]}'?", f"'{near[0]}' ではありませんか。")
    elif 0 < len(known) <= 12:  # noqa: PLR2004 - what fits on a line
        remedy = Bilingual(f"Possible: {', '.join(known)}.", f"使えるもの: {'、'.join(known)}。")
    else:
        remedy = Bilingual(f"Name a {wanted.en} of the policy.", f"ポリシーにある{wanted.ja}を指定してください。")
    if other:
        message = (
            f"{quote(name)} is a {_KINDS[other].en}, not a {wanted.en}",
            f"{quote(name)} は{wanted.ja}ではなく{_KINDS[other].ja}です",
        )
    else:
        message = (f"there is no {wanted.en} {quote(name)}", f"{wanted.ja} {quote(name)} はありません")
    yield error(path, message, remedy)


_ANY = Bilingual("zone, host, group, asset or computed set", "ゾーン・ホスト・グループ・情報資産・計算される集合")


@rule(
    "A name in a group, flow or guarantee is a zone, host, group, asset or computed set.",
    "グループ・許可通信・保証に書く名前は、ゾーン、ホスト、グループ、情報資産、計算される集合のいずれか。",
)
def known_references(scope: Scope) -> Iterator[Finding]:
    """A flow to nowhere allows nothing, and a guarantee over nothing would pass without a single check."""
    policy = scope.policy
    lists: list[tuple[Path, tuple[str, ...]]] = []
    lists += [(("groups", group.id, "members"), group.members) for group in policy.groups.values()]
    for flow in policy.flows.values():
        lists += [(("flows", flow.id, "from"), flow.from_), (("flows", flow.id, "to"), flow.to)]
    for guarantee in policy.guarantees.values():
        for key, name in (("from", "from_"), ("to", "to"), ("via", "via"), ("of", "of")):
            lists.append((("guarantees", guarantee.id, key), getattr(guarantee, name, ())))
    for path, names in lists:
        for index, name in enumerate(names):
            if name not in COMPUTED_SETS and name not in policy.zones and name not in policy.hosts:
                yield from _unknown(scope, name, (*path, index), _NAMESPACE, _ANY)


@rule("A service in a flow is declared.", "許可通信のサービスは services.yml にあるもの。")
def known_services(scope: Scope) -> Iterator[Finding]:
    """A flow with an unknown service would open nothing, or the wrong thing."""
    for flow in scope.policy.flows.values():
        for index, name in enumerate(flow.services):
            if name not in scope.policy.services:
                yield from _unknown(
                    scope, name, ("flows", flow.id, "services", index), ("services",), _KINDS["services"]
                )


@rule(
    "A host stands in zones that exist, and names devices only for those.",
    "ホストは存在するゾーンに立ち、devices はそのゾーンについてだけ書く。",
)
def known_zones(scope: Scope) -> Iterator[Finding]:
    """A host in an unknown zone would have no rule and no route."""
    for host in scope.policy.hosts.values():
        for zone in host.interfaces:
            if zone not in scope.policy.zones:
                for finding in _unknown(
                    scope, zone, ("hosts", host.id, "interfaces", zone), ("zones",), _KINDS["zones"]
                ):
                    yield Finding(finding.path, finding.message, finding.remedy, at_key=True)
        for zone in host.devices:
            if zone not in host.interfaces:
                yield error(
                    ("hosts", host.id, "devices", zone),
                    (
                        f"{quote(host.id)} has no interface in {quote(zone)}",
                        f"{quote(host.id)} は {quote(zone)} にインターフェースがありません",
                    ),
                    (f"Possible: {', '.join(host.interfaces)}.", f"使えるもの: {'、'.join(host.interfaces)}。"),
                    at_key=True,
                )


@rule(
    "Controller, mirror, time server, default routes, stores and handlers' terminals are hosts.",
    "運用端末、ミラー、時刻サーバ、デフォルトルート、保管先、事務取扱担当者の端末はホスト。",
)
def known_hosts(scope: Scope) -> Iterator[Finding]:
    """A store that is not a host would be protected by nothing."""
    policy = scope.policy
    named: list[tuple[Path, str]] = []
    administration = policy.enclave.administration
    if "enclave" not in scope.broken:
        named += [
            (("enclave", "administration", key), getattr(administration, key))
            for key in ("controller", "package_mirror", "time_server")
        ]
    named += [(("zones", z.id, "default_route"), z.default_route) for z in policy.zones.values() if z.default_route]
    for asset in policy.assets.values():
        named += [(("assets", asset.id, "stores", i), store) for i, store in enumerate(asset.stores)]
        for i, handlers in enumerate(asset.handlers):
            named += [
                (("assets", asset.id, "handlers", i, "terminals", j), t) for j, t in enumerate(handlers.terminals)
            ]
    for path, name in named:
        if name not in policy.hosts:
            yield from _unknown(scope, name, path, ("hosts",), _KINDS["hosts"])


@rule("A task of an asset is declared in enclave.yml.", "情報資産の事務は enclave.yml にあるもの。")
def known_tasks(scope: Scope) -> Iterator[Finding]:
    """An asset used for work that nobody declared is outside the scope of the enclave."""
    for asset in scope.policy.assets.values():
        for index, task in enumerate(asset.tasks):
            yield from _unknown(scope, task, ("assets", asset.id, "tasks", index), ("tasks",), _KINDS["tasks"])


@rule(
    "A name means one thing: zones, hosts, groups, assets and computed sets share their names.",
    "名前の意味は一つ。ゾーン、ホスト、グループ、情報資産、計算される集合で名前を共有しない。",
)
def unique_names(scope: Scope) -> Iterator[Finding]:
    """A flow to a name with two meanings would open the one that its author did not think of."""
    first: dict[str, str] = dict.fromkeys(COMPUTED_SETS, "computed")
    for section in _NAMESPACE:
        for name in sorted(scope.declared.get(section, ())):
            if name in first:
                kind, other = _KINDS[section], _KINDS[first[name]]
                yield error(
                    (section, name),
                    (
                        f"the {kind.en} {quote(name)} has the name of a {other.en}",
                        f"{kind.ja} {quote(name)} は{other.ja}と同じ名前です",
                    ),
                    (f"Give the {kind.en} another name.", f"{kind.ja}に別の名前を付けてください。"),
                    at_key=True,
                )
            else:
                first[name] = section


@rule(
    "No zone, host or group has a name that means something else to the machine.",
    "機械にとって別の意味を持つ名前を使わない。",
)
def reserved_names(scope: Scope) -> Iterator[Finding]:
    """A zone called ``all`` would be taken for every interface of the kernel."""
    for section, names in RESERVED.items():
        for name in sorted(names & scope.declared.get(section, frozenset())):
            yield error(
                (section, name),
                (f"the name {quote(name)} is reserved", f"名前 {quote(name)} は予約されています"),
                ("Give it another name.", "別の名前を付けてください。"),
                at_key=True,
            )


@rule("A group does not contain itself, through however many others.", "グループは、何段をへても自分自身を含まない。")
def no_group_cycles(scope: Scope) -> Iterator[Finding]:
    """A group inside itself has no end."""
    groups = scope.policy.groups
    for group in groups.values():
        seen: dict[str, None] = {}
        pending = [m for m in group.members if m in groups]
        while pending:
            member = pending.pop()
            if member == group.id:
                names = ", ".join(sorted({group.id, *seen}))
                yield error(
                    ("groups", group.id, "members"),
                    (
                        f"the group {quote(group.id)} contains itself ({names})",
                        f"グループ {quote(group.id)} が自分自身を含んでいます（{names}）",
                    ),
                    ("Take one of them out.", "どれか一つを外してください。"),
                )
                break
            if member not in seen:
                seen[member] = None
                pending += [m for m in groups[member].members if m in groups]


@rule(
    "A group and a flow do not name internet_facing: it is computed from the flows.",
    "グループと許可通信に internet_facing を書かない（許可通信から計算されるため）。",
)
def nothing_circular(scope: Scope) -> Iterator[Finding]:
    """A flow for internet-facing hosts would change which hosts those are."""
    lists: list[tuple[Path, tuple[str, ...]]] = [
        (("groups", g.id, "members"), g.members) for g in scope.policy.groups.values()
    ]
    for flow in scope.policy.flows.values():
        lists += [(("flows", flow.id, "from"), flow.from_), (("flows", flow.id, "to"), flow.to)]
    for path, names in lists:
        if "internet_facing" in names:
            yield error(
                (*path, names.index("internet_facing")),
                (
                    "'internet_facing' follows from the flows and cannot be part of one",
                    "'internet_facing' は許可通信から決まるため、ここには書けません",
                ),
                ("Name the hosts or zones themselves.", "ホストかゾーンを書いてください。"),
            )


@rule("A flow's ends are not empty.", "許可通信の両端は空にならない。", needs=SETS)
def flows_lead_somewhere(scope: Scope) -> Iterator[Finding]:
    """A flow to an empty set reads as a permission and allows nothing."""
    for flow in scope.policy.flows.values():
        for key, names in (("from", flow.from_), ("to", flow.to)):
            known = all(
                name in COMPUTED_SETS or any(name in scope.declared[section] for section in _NAMESPACE)
                for name in names
            )
            if known and "internet_facing" not in names and not scope.members(names):
                yield error(
                    ("flows", flow.id, key),
                    (f"{', '.join(names)}: no zone and no host", f"{'、'.join(names)} にはゾーンもホストもありません"),
                    (
                        "Name a zone or host, or delete the flow.",
                        "ゾーンかホストを書くか、許可通信を削除してください。",
                    ),
                )


@rule(
    "A guarantee that survives failures rests on another one that is not of its kind.",
    "survives の保証は、survives 以外の保証を指す。",
)
def survives_something(scope: Scope) -> Iterator[Finding]:
    """A guarantee that names itself, or nothing, is never examined."""
    guarantees = scope.policy.guarantees
    for guarantee in guarantees.values():
        if not isinstance(guarantee, Survives):
            continue
        path: Path = ("guarantees", guarantee.id, "guarantee")
        yield from _unknown(scope, guarantee.guarantee, path, ("guarantees",), _KINDS["guarantees"])
        if isinstance(guarantees.get(guarantee.guarantee), Survives):
            yield error(
                path,
                (
                    f"{quote(guarantee.guarantee)} is itself of kind 'survives'",
                    f"{quote(guarantee.guarantee)} 自身が survives です",
                ),
                ("Name a guarantee of another kind.", "ほかの種類の保証を指定してください。"),
            )
