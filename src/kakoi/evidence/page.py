"""The page for people: one self-contained HTML file, Japanese first, English beside, printable on A4."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kakoi.errors import ExitStatus
from kakoi.evidence.folder import Findings, RunFacts
from kakoi.evidence.zone_map import zone_map_svg
from kakoi.observe import HostObservations
from kakoi.policy import Policy
from kakoi.policy.sets import internet_facing, my_number_stores
from kakoi.probe.judge import AttackVerdict, Judgement, View
from kakoi.probe.report import GATEWAYS, VIEWS, Tally, describe, findings, place, zone_tallies

_JAPAN = timezone(timedelta(hours=9), "JST")
_REIWA_BEFORE = 2018
_ROWS_SHOWN = 200


@dataclass(frozen=True)
class Tile:
    """One view in numbers."""

    title: str
    title_en: str
    what: str
    held: int
    mismatch: int
    unknown: int
    no_vantage: int


@dataclass(frozen=True)
class Square:
    """What one zone may open to another, and what was seen."""

    services: tuple[str, ...]
    tally: Tally


@dataclass(frozen=True)
class HostRow:
    """One host as it was found."""

    id: str
    name: str
    managed: bool
    observed: bool
    firewall: str
    ruleset_sha256: str


@dataclass(frozen=True)
class AttackRow:
    """Every port of one store, from one attacker, over every way and both families."""

    attacker: str
    store: str
    frames: int
    at_door: int
    reached: str
    verdict: str
    reasons: tuple[str, ...]


_MODELS = {"alpha": "αモデル", "alpha_prime": "α′モデル", "beta": "βモデル", "beta_prime": "β′モデル"}
_ASKED: Mapping[View, str] = {
    "cells": "許可通信は通じ、ほかは通じない",
    "points": "各ゲートウェイ・各ホストの規則が、単独でも遮断する",
    "attacks": "侵害されたホストから保管先へ送り、届いたものを数える",
    "names": "名前が正しいアドレスを指す",
    "rules": "各ホストで動いている規則が、ポリシーから変換したものと一致する",
}


def page(policy: Policy, facts: RunFacts, found: Findings) -> str:
    """Render a run as one HTML document."""
    judgement = found.judgement
    environment = Environment(
        loader=PackageLoader("kakoi.evidence"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    return environment.get_template("index.html.j2").render(
        policy=policy,
        facts=facts,
        model=_MODELS[policy.enclave.model],
        held=found.exit_status is ExitStatus.HELD and not facts.unread,
        failed=found.exit_status is ExitStatus.FAILED,
        verdicts=found.proof.verdicts,
        full=judgement.plan.scope == "full",
        when=japanese_time(facts.finished),
        when_utc=facts.finished.astimezone(UTC).isoformat(timespec="seconds"),
        zone_map=Markup(zone_map_svg(policy)),  # noqa: S704 - our own drawing, which escapes every name in it
        tiles=tiles(judgement),
        places=[(zone.id, zone.name) for zone in policy.zones.values()] + [(GATEWAYS, "ゲートウェイ")],
        squares=squares(policy, judgement),
        attacks=attack_rows(judgement),
        facing=internet_facing(policy),
        stores=my_number_stores(policy),
        mismatches=[describe(policy, finding) for finding in findings(judgement, "mismatch")],
        unknowns=_unknowns(judgement),
        rows_shown=_ROWS_SHOWN,
        hosts=_host_rows(policy, found.observed),
    )


def japanese_time(moment: datetime) -> str:
    """A moment in Japan's time and era (令和 began in 2019)."""
    local = moment.astimezone(_JAPAN)
    return f"令和{local.year - _REIWA_BEFORE}年{local.month}月{local.day}日 {local:%H時%M分}"


def tiles(judgement: Judgement) -> list[Tile]:
    """The four views in numbers."""
    return [Tile(*VIEWS[view], asked, *judgement.count(view)) for view, asked in _ASKED.items()]


def squares(policy: Policy, judgement: Judgement) -> Mapping[tuple[str, str], Square]:
    """Zone pair -> allowed services and the verdicts of every cell between their hosts; gateways are a place of their own."""
    services: dict[tuple[str, str], dict[str, None]] = {}
    for entry in judgement.cells:
        cell = entry.question.cell
        if cell.flow is not None:
            pair = place(policy, cell.source), place(policy, cell.destination)
            services.setdefault(pair, {}).setdefault(cell.service)
    return {
        pair: Square(tuple(services.get(pair, ())), tally) for pair, tally in zone_tallies(policy, judgement).items()
    }


def attack_rows(judgement: Judgement) -> list[AttackRow]:
    """One row for each attacker and store."""
    found: dict[tuple[str, str], list[AttackVerdict]] = {}
    for entry in judgement.attacks:
        if entry.assault.kind != "client":
            found.setdefault((entry.assault.attacker, entry.assault.store), []).append(entry)
    return [
        AttackRow(
            attacker=attacker,
            store=store,
            frames=sum(entry.frames for entry in entries if entry.assault.kind == "attack"),
            at_door=sum(entry.frames for entry in entries if entry.assault.kind == "door"),
            reached=", ".join(_span(*span) for entry in entries for span in entry.reached),
            verdict=_worst(entries),
            reasons=tuple(dict.fromkeys(entry.reason for entry in entries if entry.reason)),
        )
        for (attacker, store), entries in found.items()
    ]


def _span(protocol: str, first: int, last: int) -> str:
    return f"{protocol}/{first}" if first == last else f"{protocol}/{first}-{last}"


def _worst(entries: list[AttackVerdict]) -> str:
    verdicts = {entry.verdict for entry in entries}
    return next(verdict for verdict in ("mismatch", "unknown", "held") if verdict in verdicts)


def _unknowns(judgement: Judgement) -> list[tuple[str, int]]:
    counted: Counter[str] = Counter()
    for view in VIEWS:
        counted.update(entry.reason for entry in getattr(judgement, view) if entry.verdict == "unknown")
    return counted.most_common()


def _host_rows(policy: Policy, observed: Mapping[str, HostObservations]) -> list[HostRow]:
    rows = []
    for host in policy.hosts.values():
        seen = observed.get(host.id)
        ruleset = seen.named("ruleset_text") if seen else None
        unit = seen.named("firewall_unit") if seen else None
        state = dict(line.partition("=")[::2] for line in unit.stdout.splitlines()) if unit else {}
        rows.append(
            HostRow(
                id=host.id,
                name=host.name,
                managed=host.managed == "ansible",
                observed=seen is not None,
                firewall=f"{state.get('ActiveState', '?')} / {state.get('UnitFileState', '?')}" if state else "",
                ruleset_sha256=ruleset.stdout_sha256 if ruleset and ruleset.exit_status == 0 else "",
            )
        )
    return rows
