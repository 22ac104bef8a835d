"""The reference pages of the policy language, made from the models, the rules and the citations.

``kakoi schema --docs docs/reference`` writes them; a test keeps the committed copies current.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAliasType, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kakoi.policy import model
from kakoi.policy.citations import BASES, CITATIONS
from kakoi.policy.folder import MAX_BYTES
from kakoi.policy.reference_ja import COMPUTED_SETS_JA, FIELDS_JA, MODELS_JA
from kakoi.policy.rules import RULES, SUBJECTS
from kakoi.policy.schema import field_descriptions
from kakoi.policy.source import MAX_DEPTH, MAX_VALUES

type Language = Literal["en", "ja"]

MODELS_OF_FILE: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "enclave.yml": (model.Enclave, model.Body, model.Guideline, model.Task, model.Administration),
    "zones.yml": (model.Zone,),
    "hosts.yml": (model.Host, model.Group),
    "services.yml": (model.Service,),
    "flows.yml": (model.Flow,),
    "assets.yml": (model.Asset, model.Handlers),
    "guarantees.yml": (model.Isolated, model.NoInternetPath, model.OnlyVia, model.Exactly, model.Survives),
}
EXAMPLES: Final[dict[str, str]] = {
    "enclave.yml": """body: {name: 架空県, name_en: Kakuu Prefecture, domain: kakuu.example, fictional: true}
model: beta_prime
guideline: {name: 地方公共団体における情報セキュリティポリシーに関するガイドライン, version: 令和5年3月版}
tasks:
  child_allowance: {name: 職員の児童手当, kind: number_use}
administration:
  controller: admin_station
  automation_user: automation
  package_mirror: package_mirror
  time_server: log_server
""",
    "zones.yml": """zones:
  enclave_data:
    name: 囲い・データ
    layer: enclave
    trust: restricted
    networks: [10.40.3.0/24, "fd6b:616b:6f69:43::/64"]
""",
    "hosts.yml": """hosts:
  allowance_store:
    name: 児童手当データベース
    kind: server
    interfaces:
      enclave_data: [10.40.3.10, "fd6b:616b:6f69:43::10"]
groups:
  enclave_stores:
    name: 囲いの保管先
    members: [allowance_store]
""",
    "services.yml": """services:
  postgresql: {name: データベース, tcp: [5432]}
  ping: {name: 到達確認, icmp: [echo-request], icmpv6: [echo-request]}
""",
    "flows.yml": """flows:
  application_to_allowance_store:
    from: allowance_app
    to: allowance_store
    services: [postgresql]
    purpose: 児童手当の申請の記録と参照
    approver: CISO補佐官
    approved: 2026-10-01
    review_by: 2027-09-30
""",
    "assets.yml": """assets:
  child_allowance_applications:
    name: 職員の児童手当 認定請求データ
    confidentiality: 3B
    information: specific_personal_information
    subjects: [own_employees]
    tasks: [child_allowance]
    purpose: 職員の児童手当の認定と支給
    stores: [allowance_store]
    handlers:
      - {title: 人事課 給与係, terminals: [handler_terminal]}
""",
    "guarantees.yml": """guarantees:
  stores_unreachable_from_internet_facing_hosts:
    kind: isolated
    from: internet_facing
    to: my_number_stores
    why: 公開サーバ一台の侵害を漏えいにしない
""",
}

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "title": "# The policy language",
        "generated": "<!-- Made by `kakoi schema --docs docs/reference` from the models and rules. Edit those. -->",
        "intro": (
            "A policy is a folder of seven files. `kakoi check` judges it and shows every error at once, with file, line,\n"
            "column and what to write instead. The folders `controls/` and `attestations/` and the file `exceptions.yml`\n"
            "belong to the evidence and are left alone here. Editors complete and check while you type with\n"
            "`# yaml-language-server: $schema=../docs/reference/policy.schema.json` as a file's first line."
        ),
        "yaml": "## The YAML that is understood",
        "yaml_text": (
            "One document of mappings, lists and scalars in UTF-8 without a byte order mark. Only `true` and `false` are\n"
            "booleans, only whole numbers are numbers, `YYYY-MM-DD` is a day; everything else, and everything in quotes, is text\n"
            "(`no`, `on`, `0777` and `1e3` too). Anchors, aliases, merge keys, tags, directives, empty values and repeated keys\n"
            f"are refused. Limits: {MAX_BYTES // 1024 // 1024} MiB and {MAX_VALUES:,} values a file, {MAX_DEPTH} levels."
        ),
        "head": "| key | value | must | meaning |",
        "yes": "yes",
        "default": "no ({})",
        "no": "no",
        "example": "Example:",
        "keys": "Entries are keyed by their identifier (lower-case letters, digits and `_`, a letter first).",
        "sets": "## Computed sets",
        "sets_text": "These follow from the policy and can stand where hosts are named (`internet_facing` only in guarantees):",
        "rules": "## Rules",
        "rules_text": "Beyond its form, a policy keeps these. Each is judged on every `kakoi check` and before anything is compiled.",
        "sources": "## Sources",
        "sources_text": "What the rules of the domain rest on, each with its basis mark. Check sources marked R or S before relying on them.",
        "sources_head": "| id | sentence | basis |",
    },
    "ja": {
        "title": "# ポリシー言語",
        "generated": "<!-- `kakoi schema --docs docs/reference` がモデルと規則から生成します。直接編集しないでください。 -->",
        "intro": (
            "ポリシーは7つのファイルからなるフォルダです。`kakoi check` は、すべての誤りをファイル・行・桁・直し方とともに\n"
            "一度に示します。フォルダ `controls/`・`attestations/` とファイル `exceptions.yml` は証跡用で、ここでは扱いません。\n"
            "ファイルの先頭に `# yaml-language-server: $schema=../docs/reference/policy.schema.json` と書くと、\n"
            "エディタが入力中に補完と検査を行います。"
        ),
        "yaml": "## 使える YAML",
        "yaml_text": (
            "BOM なし UTF-8 の1文書に、マッピング・リスト・値を書きます。真偽値は `true` と `false` だけ、数値は整数だけ、\n"
            "`YYYY-MM-DD` は日付です。それ以外と引用符で囲んだものはすべて文字列です（`no`、`on`、`0777`、`1e3` も）。\n"
            "アンカー、エイリアス、マージキー、タグ、ディレクティブ、空の値、キーの重複は使えません。\n"
            f"上限は1ファイル {MAX_BYTES // 1024 // 1024} MiB、値 {MAX_VALUES:,} 個、入れ子 {MAX_DEPTH} 段です。"
        ),
        "head": "| キー | 値 | 必須 | 意味 |",
        "yes": "必須",
        "default": "任意（既定 {}）",
        "no": "任意",
        "example": "例:",
        "keys": "項目のキーが識別子になります（英字で始まる英小文字・数字・`_`）。",
        "sets": "## 計算される集合",
        "sets_text": "ポリシーから計算され、ホストを書く場所に使えます（`internet_facing` は保証だけで使えます）。",
        "rules": "## 規則",
        "rules_text": "形式のほかに、ポリシーは次の規則を守ります。`kakoi check` のたび、また何かを生成する前に必ず判定します。",
        "sources": "## 出典",
        "sources_text": "分野の規則の根拠と、その確からしさ（根拠）です。根拠が R や S のものは、原文を確認してから依拠してください。",
        "sources_head": "| ID | 内容 | 根拠 |",
    },
}
_SUBJECTS_JA: Final = {
    "references": "参照",
    "addressing": "アドレス",
    "topology": "ゾーンとゲートウェイ",
    "services": "サービス",
    "flows": "許可通信",
    "administration": "運用",
    "assets": "情報資産",
    "guarantees": "保証",
}


def reference_page(language: Language) -> str:
    """The whole page in one language, as Markdown."""
    words = _WORDS[language]
    parts = [words["title"], words["generated"], words["intro"], words["yaml"], words["yaml_text"]]
    for file, models in MODELS_OF_FILE.items():
        parts += [f"## {file}", *(_model_part(shape, language) for shape in models)]
        parts += [f"{words['example']}\n\n```yaml\n{EXAMPLES[file]}```"]
    computed = model.COMPUTED_SETS if language == "en" else COMPUTED_SETS_JA
    parts += [words["sets"], words["sets_text"], "\n".join(f"- `{name}`: {text}" for name, text in computed.items())]
    parts += [words["rules"], words["rules_text"], *_rules(language)]
    parts += [words["sources"], words["sources_text"], _sources(language)]
    return "\n\n".join(parts) + "\n"


def _model_part(shape: type[BaseModel], language: Language) -> str:
    words = _WORDS[language]
    meaning = (shape.__doc__ or "") if language == "en" else MODELS_JA[shape.__name__]
    rows = [words["head"], "|---|---|---|---|"]
    rows += [_row(shape, name, field, language) for name, field in shape.model_fields.items() if name != "id"]
    keyed = f"\n\n{words['keys']}" if "id" in shape.model_fields else ""
    return f"### {shape.__name__}\n\n{meaning.strip()}{keyed}\n\n" + "\n".join(rows)


def _row(shape: type[BaseModel], name: str, field: FieldInfo, language: Language) -> str:
    words = _WORDS[language]
    if field.is_required():
        must = words["yes"]
    elif field.default in (None, (), {}) or field.default is PydanticUndefined:
        must = words["no"]
    else:
        default = field.default if not isinstance(field.default, tuple) else ", ".join(field.default)
        must = words["default"].format(f"`{str(default).lower()}`")
    return f"| `{field.alias or name}` | {_value(field.annotation, field, language)} | {must} | {field_meaning(shape, name, language)} |"


def field_meaning(shape: type[BaseModel], name: str, language: Language) -> str:
    """What a field means, from its docstring, or from the Japanese table."""
    owners = [owner.__name__ for owner in shape.__mro__]
    if language == "ja":
        return next((FIELDS_JA[f"{owner}.{name}"] for owner in owners if f"{owner}.{name}" in FIELDS_JA), "")
    descriptions = field_descriptions()
    return next((descriptions[owner][name] for owner in owners if name in descriptions.get(owner, {})), "")


_TEXTS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "address": "address",
        "network": "network",
        "day": "day",
        "bool": "`true` or `false`",
        "int": "number",
        "port": "port or range",
        "text": "text",
        "list": "list of {}",
        "one": "{} or list",
        "map": "{} by identifier",
        "id": "identifier",
    },
    "ja": {
        "address": "アドレス",
        "network": "ネットワーク",
        "day": "日付",
        "bool": "`true` / `false`",
        "int": "整数",
        "port": "ポートか範囲",
        "text": "文字列",
        "list": "{}のリスト",
        "one": "{}（リスト可）",
        "map": "識別子ごとの{}",
        "id": "識別子",
    },
}


def _value(shape: Any, field: FieldInfo | None, language: Language) -> str:  # noqa: ANN401, C901, PLR0911 - any annotation, one line for each form
    words = _TEXTS[language]
    while isinstance(shape, TypeAliasType):
        shape = shape.__value__
    marks = list(field.metadata) if field else []
    if get_origin(shape) is not None and hasattr(shape, "__metadata__"):
        marks, shape = list(shape.__metadata__), get_args(shape)[0]
    text = str(shape) + str(marks)
    arguments = [a for a in get_args(shape) if a not in (type(None), ...)]
    if get_origin(shape) is Literal:
        return ", ".join(f"`{option}`" for option in arguments)
    if "parse_address" in text and get_origin(shape) is not tuple and "Mapping" not in text:
        return words["address"]
    if "parse_network" in text and get_origin(shape) is not tuple:
        return words["network"]
    if "_one_or_many" in text:
        return words["one"].format(words["id"])
    if get_origin(shape) is tuple:
        return words["list"].format(_value(arguments[0], None, language))
    if len(arguments) > 1:
        return words["map"].format(_value(arguments[1], None, language))
    if len(arguments) == 1:
        return _value(arguments[0], None, language)
    if isinstance(shape, type) and issubclass(shape, model.PortRange):
        return words["port"]
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return f"[{shape.__name__}](#{shape.__name__.lower()})"
    simple = {"bool": "bool", "int": "int", "date": "day"}.get(getattr(shape, "__name__", ""), "")
    if simple:
        return words[simple]
    return words["id"] if "a-z0-9_]{0," in text else words["text"]


def _rules(language: Language) -> Iterator[str]:
    for subject in SUBJECTS:
        title = subject.capitalize() if language == "en" else _SUBJECTS_JA[subject]
        listed = [rule for rule in RULES if rule.subject == subject]
        yield f"### {title}"
        yield "\n".join(
            f"- {rule.demand.en if language == 'en' else rule.demand.ja}{_reason(rule.check, language)}"
            for rule in listed
        )


def _reason(check: Any, language: Language) -> str:  # noqa: ANN401 - a function
    return f"\n  {(check.__doc__ or '').strip()}" if language == "en" else ""


def _sources(language: Language) -> str:
    rows = [_WORDS[language]["sources_head"], "|---|---|---|"]
    for citation in CITATIONS.values():
        title = citation.title.en if language == "en" else citation.title.ja
        basis = BASES[citation.basis].en if language == "en" else BASES[citation.basis].ja
        rows.append(f"| {citation.id} | {title} | {citation.basis}: {basis} |")
    return "\n".join(rows)
