"""Information assets (情報資産): whose numbers may be kept where, under which model, by whom."""

from collections.abc import Iterator

from kakoi.policy.citations import cited
from kakoi.policy.model import Asset
from kakoi.policy.problem import Bilingual, Finding, quote
from kakoi.policy.rules.registry import error, rule, warning
from kakoi.policy.rules.scope import ENCLAVE_LAYERS, Scope
from kakoi.policy.rules.topology import LAYER_NAMES

_NAMES = {"alpha": "α", "alpha_prime": "α'", "beta": "β", "beta_prime": "β'"}


def _placed(scope: Scope, asset: Asset) -> Iterator[tuple[int, str, Bilingual]]:
    """Stores of an asset in インターネット接続系 or the enclave: index, host and where."""
    for index, store in enumerate(asset.stores):
        for zone in scope.standing(store):
            layer = scope.policy.zones[zone].layer
            if layer in ENCLAVE_LAYERS:
                yield index, store, LAYER_NAMES[layer]


@rule(
    "Residents' data is not kept in インターネット接続系 or the enclave.",
    "住民に関する情報をインターネット接続系と囲いに保存しない。",
)
def residents_stay_out(scope: Scope) -> Iterator[Finding]:
    """β' permits the body's own employees' numbers, never residents'."""
    for asset in scope.policy.assets.values():
        if "residents" not in asset.subjects or asset.information == "public":
            continue
        for index, store, where in _placed(scope, asset):
            yield error(
                ("assets", asset.id, "stores", index),
                cited(
                    Bilingual(
                        f"residents' data would be kept on {quote(store)} in {where.en}",
                        f"住民に関する情報が{where.ja}の {quote(store)} に保存されることになります",
                    ),
                    "BP-O-02",
                ),
                ("Keep it in マイナンバー利用事務系.", "マイナンバー利用事務系に保存してください。"),
            )


@rule(
    "Employees' numbers are kept in インターネット接続系 or the enclave only by a body of the β' model.",
    "職員のマイナンバーをインターネット接続系や囲いに置けるのは、β'モデルの団体だけ。",
    needs=frozenset({"enclave"}),
)
def only_beta_prime_keeps_numbers(scope: Scope) -> Iterator[Finding]:
    """The ministry's reply permits it under the measures of β' and says nothing of other models."""
    model = scope.policy.enclave.model
    if model == "beta_prime":
        return
    for asset in scope.my_number_assets:
        if not {"own_employees", "dependants_of_employees"} & set(asset.subjects):
            continue
        for index, store, where in _placed(scope, asset):
            yield error(
                ("assets", asset.id, "stores", index),
                cited(
                    Bilingual(
                        f"employees' numbers would be kept on {quote(store)} in {where.en}, but the body's model is {_NAMES[model]} and the ministry's reply speaks of the measures of β'",
                        f"職員のマイナンバーが{where.ja}の {quote(store)} に保存されますが、団体のモデルは {_NAMES[model]} で、総務省の回答はβ'モデルの対策を前提としています",
                    ),
                    "MIC-2",
                ),
                (
                    "Keep it in LGWAN接続系, or take all measures of β' and write `model: beta_prime`.",
                    "LGWAN接続系に保存するか、β'モデルの対策をすべて行ったうえで `model: beta_prime` と書いてください。",
                ),
            )


@rule(
    "Dependants' numbers there rest on a decision that the body writes down.",
    "扶養親族のマイナンバーをそこに置くなら、団体の判断を dependants_decision に書く。",
)
def dependants_are_decided(scope: Scope) -> Iterator[Finding]:
    """The ministry's reply speaks of the body's own employees; whether dependants are meant is not stated."""
    for asset in scope.my_number_assets:
        if (
            "dependants_of_employees" in asset.subjects
            and asset.dependants_decision is None
            and any(_placed(scope, asset))
        ):
            yield warning(
                ("assets", asset.id, "subjects", asset.subjects.index("dependants_of_employees")),
                cited(
                    Bilingual(
                        "the ministry's reply does not state whether dependants' numbers may be kept there",
                        "扶養親族のマイナンバーをそこに置けるかどうかは、総務省の回答に明示されていません",
                    ),
                    "MIC-2-gap",
                ),
                (
                    "Let the body decide and write who and when: `dependants_decision:`.",
                    "団体として判断し、誰がいつ決めたかを `dependants_decision:` に書いてください。",
                ),
            )


@rule("An asset is kept on servers.", "情報資産の保管先はサーバ。")
def stores_are_servers(scope: Scope) -> Iterator[Finding]:
    """A store on a terminal leaves with the terminal."""
    for asset in scope.policy.assets.values():
        for index, store in enumerate(asset.stores):
            host = scope.policy.hosts.get(store)
            if host and host.kind != "server":
                yield error(
                    ("assets", asset.id, "stores", index),
                    (
                        f"the store {quote(store)} is a {host.kind}, not a server",
                        f"保管先 {quote(store)} は {host.kind} で、server ではありません",
                    ),
                    ("Name a host of `kind: server`.", "`kind: server` のホストを指定してください。"),
                )


@rule("Handlers work at terminals.", "事務取扱担当者の端末は terminal。")
def handlers_use_terminals(scope: Scope) -> Iterator[Finding]:
    """A handler at a server is a handler with an administrator's reach."""
    for asset in scope.policy.assets.values():
        for i, handlers in enumerate(asset.handlers):
            for j, terminal in enumerate(handlers.terminals):
                host = scope.policy.hosts.get(terminal)
                if host and host.kind != "terminal":
                    yield error(
                        ("assets", asset.id, "handlers", i, "terminals", j),
                        (
                            f"{quote(terminal)} is a {host.kind}, not a terminal",
                            f"{quote(terminal)} は {host.kind} で、terminal ではありません",
                        ),
                        ("Name a host of `kind: terminal`.", "`kind: terminal` のホストを指定してください。"),
                    )


@rule("Specific personal information says whose it is.", "特定個人情報には誰のものか（subjects）を書く。")
def numbers_have_subjects(scope: Scope) -> Iterator[Finding]:
    """Without subjects nobody can say where the number may be kept."""
    for asset in scope.my_number_assets:
        if not asset.subjects:
            yield _incomplete(asset, "subjects", "own_employees, dependants_of_employees, residents", "PN-S-02")


@rule("Employees' numbers name the 事務 that they are for.", "職員の特定個人情報には事務（tasks）を書く。")
def numbers_have_tasks(scope: Scope) -> Iterator[Finding]:
    """The number is used for named work and nothing else."""
    for asset in scope.my_number_assets:
        if "own_employees" in asset.subjects and not asset.tasks:
            yield _incomplete(asset, "tasks", ", ".join(sorted(scope.declared["tasks"])), "PN-S-01")


@rule("Employees' numbers name their 事務取扱担当者.", "職員の特定個人情報には事務取扱担当者（handlers）を書く。")
def numbers_have_handlers(scope: Scope) -> Iterator[Finding]:
    """Access is granted to handlers; without a list it is granted to nobody or to everybody."""
    for asset in scope.my_number_assets:
        if "own_employees" in asset.subjects and not asset.handlers:
            yield _incomplete(asset, "handlers", "[{title: ..., terminals: [...]}]", "PN-S-03")


def _incomplete(asset: Asset, key: str, example: str, source: str) -> Finding:
    return error(
        ("assets", asset.id),
        cited(
            Bilingual(f"specific personal information without '{key}'", f"特定個人情報に '{key}' がありません"), source
        ),
        (f"Add `{key}:` ({example}).", f"`{key}:` を書き加えてください（{example}）。"),
        at_key=True,
    )


@rule("A My Number store does not face the internet.", "特定個人情報の保管先はインターネットに面しない。")
def stores_do_not_face_the_internet(scope: Scope) -> Iterator[Finding]:
    """A store that the internet reaches, or that reaches it, is one mistake away from a leak."""
    for asset in scope.my_number_assets:
        for index, store in enumerate(asset.stores):
            flow = scope.internet_facing.get(store)
            trusts = {scope.policy.zones[zone].trust for zone in scope.standing(store)}
            if flow is not None:
                message = Bilingual(
                    f"the My Number store {quote(store)} faces the internet by the flow {quote(flow.id)}",
                    f"特定個人情報の保管先 {quote(store)} が、許可通信 {quote(flow.id)} によりインターネットに面しています",
                )
            elif trusts & {"exposed", "untrusted"}:
                message = Bilingual(
                    f"the My Number store {quote(store)} stands in an {min(trusts)} zone",
                    f"特定個人情報の保管先 {quote(store)} が {min(trusts)} のゾーンにあります",
                )
            else:
                continue
            yield error(
                ("assets", asset.id, "stores", index),
                cited(message, "BP-G-04"),
                (
                    "Keep it on a server without any way to the internet.",
                    "インターネットへの経路がないサーバに保存してください。",
                ),
            )


@rule("Specific personal information is not classed 1 or 2.", "特定個人情報の自治体機密性は 1 や 2 ではない。")
def numbers_are_confidential(scope: Scope) -> Iterator[Finding]:
    """The class is the body's own decision; one for public or ordinary documents is likely a slip."""
    for asset in scope.my_number_assets:
        if asset.confidentiality in {"1", "2"}:
            yield warning(
                ("assets", asset.id, "confidentiality"),
                cited(
                    Bilingual(
                        f"specific personal information is classed {quote(asset.confidentiality)}",
                        f"特定個人情報の自治体機密性が {quote(asset.confidentiality)} になっています",
                    ),
                    "GL-02",
                ),
                ("Check the class; the body decides it.", "区分を確認してください。区分は団体自身が決めます。"),
            )
