"""Guarantees say something: about sets that are not empty, that do not contradict each other, for every store."""

from collections.abc import Iterator

from kakoi.policy.model import Guarantee, Isolated, NoInternetPath, OnlyVia, Survives
from kakoi.policy.problem import Finding, quote
from kakoi.policy.rules.registry import EVERYTHING, SETS, error, rule, warning
from kakoi.policy.rules.scope import Scope


def _sets(guarantee: Guarantee) -> dict[str, tuple[str, ...]]:
    match guarantee:
        case OnlyVia():
            return {"from": guarantee.from_, "to": guarantee.to, "via": guarantee.via}
        case Isolated():
            return {"from": guarantee.from_, "to": guarantee.to}
        case NoInternetPath():
            return {"of": guarantee.of}
        case Survives():
            return {}
        case _:
            return {"to": guarantee.to}


@rule(
    "A guarantee is about sets that are not empty.", "保証の対象は空の集合ではない。", needs=EVERYTHING - {"services"}
)
def guarantees_are_not_empty(scope: Scope) -> Iterator[Finding]:
    """A guarantee over nothing would hold without a single check, so it never passes."""
    for guarantee in scope.policy.guarantees.values():
        for key, names in _sets(guarantee).items():
            if scope.members(names) and not scope.hosts(names):
                empty = ("no host stands in it", "ホストがありません")
            elif not scope.members(names):
                empty = ("it is empty", "空です")
            else:
                continue
            yield error(
                ("guarantees", guarantee.id, key),
                (
                    f"{', '.join(names)}: {empty[0]}, and a guarantee over nothing proves nothing",
                    f"{'、'.join(names)} は{empty[1]}。空の集合についての保証は何も証明しません",
                ),
                (
                    "Name a set with hosts in it, or delete the guarantee.",
                    "ホストのある集合を書くか、保証を削除してください。",
                ),
            )


@rule("The two ends of a guarantee do not overlap.", "保証の from と to は重ならない。", needs=SETS)
def ends_do_not_overlap(scope: Scope) -> Iterator[Finding]:
    """No host can be isolated from itself: such a guarantee can never hold."""
    for guarantee in scope.policy.guarantees.values():
        if isinstance(guarantee, (Isolated, OnlyVia)):
            both = sorted(scope.hosts(guarantee.from_) & scope.hosts(guarantee.to))
            if both:
                yield error(
                    ("guarantees", guarantee.id, "to"),
                    (
                        f"{quote(both[0])} is in 'from' and in 'to'",
                        f"{quote(both[0])} が from と to の両方に含まれています",
                    ),
                    ("Take it out of one of them.", "どちらかから外してください。"),
                )


@rule(
    "The guards of a guarantee are neither its source nor its target.",
    "保証の via は from にも to にも含まれない。",
    needs=SETS,
)
def guards_stand_between(scope: Scope) -> Iterator[Finding]:
    """A guard that is the source or the target guards nothing."""
    for guarantee in scope.policy.guarantees.values():
        if isinstance(guarantee, OnlyVia):
            ends = scope.hosts(guarantee.from_) | scope.hosts(guarantee.to)
            both = sorted(scope.hosts(guarantee.via) & ends)
            if both:
                yield error(
                    ("guarantees", guarantee.id, "via"),
                    (
                        f"the guard {quote(both[0])} is itself in 'from' or 'to'",
                        f"via の {quote(both[0])} が from か to に含まれています",
                    ),
                    ("Name guards that stand between the two.", "両者の間に立つホストを指定してください。"),
                )


@rule(
    "A guarantee against the internet is not about the internet itself.",
    "インターネットへの経路がないという保証に、untrusted のゾーンを含めない。",
    needs=SETS,
)
def outside_is_not_guarded(scope: Scope) -> Iterator[Finding]:
    """An untrusted zone always has a path to itself."""
    for guarantee in scope.policy.guarantees.values():
        if isinstance(guarantee, NoInternetPath):
            for index, name in enumerate(guarantee.of):
                if not scope.outside.isdisjoint(scope.members((name,))):
                    yield error(
                        ("guarantees", guarantee.id, "of", index),
                        (
                            f"{quote(name)} is in an untrusted zone itself",
                            f"{quote(name)} 自身が untrusted のゾーンにあります",
                        ),
                        ("Take it out.", "外してください。"),
                    )


@rule(
    "Every My Number store is in a guarantee of isolation from the internet-facing hosts.",
    "特定個人情報の保管先には、インターネットに面したホストからの隔離の保証がある。",
    needs=EVERYTHING - {"services"},
)
def stores_are_guaranteed(scope: Scope) -> Iterator[Finding]:
    """What no guarantee names, nobody proves."""
    facing = frozenset(scope.internet_facing)
    guarded: set[str] = set()
    for guarantee in scope.policy.guarantees.values():
        if isinstance(guarantee, Isolated) and facing <= scope.hosts(guarantee.from_):
            guarded |= scope.hosts(guarantee.to)
    for asset in scope.my_number_assets:
        for index, store in enumerate(asset.stores):
            if store in scope.policy.hosts and store not in guarded:
                yield warning(
                    ("assets", asset.id, "stores", index),
                    (
                        f"no guarantee isolates the My Number store {quote(store)} from the internet-facing hosts",
                        f"特定個人情報の保管先 {quote(store)} を、インターネットに面したホストから隔離する保証がありません",
                    ),
                    (
                        "Add to guarantees.yml: `kind: isolated`, `from: internet_facing`, `to: my_number_stores`.",
                        "guarantees.yml に `kind: isolated`、`from: internet_facing`、`to: my_number_stores` の保証を加えてください。",
                    ),
                )
