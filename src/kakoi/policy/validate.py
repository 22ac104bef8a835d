"""Plain values of the files to a typed ``Policy``, with pydantic's complaints put into plain words.

Entries that are wrong are left out, so that the rules can still judge the rest in the same run;
``Names`` remembers that they were declared, so that nobody complains about references to them.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAliasType, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kakoi.policy.folder import FILE_OF_SECTION, OPTIONAL_SECTIONS, SECTIONS_OF_FILE
from kakoi.policy.model import DOMAIN_PATTERN, Policy
from kakoi.policy.problem import Bilingual, Finding, Path, quote
from kakoi.policy.source import kind_of

STAND_IN_ENCLAVE: Final[Mapping[str, Any]] = {
    "body": {"name": "-", "name_en": "-", "domain": "invalid"},
    "model": "beta_prime",
    "guideline": {"name": "-", "version": "-"},
    "tasks": {},
    "administration": {"controller": "x", "automation_user": "x", "package_mirror": "x", "time_server": "x"},
}
"""Takes the place of an ``enclave.yml`` that cannot be used; no rule that needs the enclave runs then."""


@dataclass(frozen=True, slots=True)
class Validated:
    """What is typed and usable of a policy."""

    policy: Policy
    findings: tuple[Finding, ...]
    declared: Mapping[str, frozenset[str]]
    """Section -> identifiers that were written, usable or not; ``tasks`` is a section here."""
    broken: frozenset[str]
    """Sections with something left out."""
    unread: frozenset[str]
    """Sections of which it is not even known what they declare."""


def validate(documents: Mapping[str, Any], incomplete: frozenset[str], spoilt: frozenset[Path]) -> Validated:
    """Type everything that can be typed.

    ``documents`` maps file names to values, ``incomplete`` names files that could not be read to their
    end, ``spoilt`` the paths that already have a fault of their own.
    """
    findings: list[Finding] = []
    merged, unread = _merge(documents, incomplete, findings)
    declared = _declared(merged)
    if incomplete:
        merged = {section: merged[section] for section in merged if section not in unread} | {
            section: merged.get(section) for section in unread if isinstance(merged.get(section), dict)
        }
    for section in (*_SECTIONS, "enclave"):
        if section not in merged:
            merged[section] = dict(STAND_IN_ENCLAVE) if section == "enclave" else {}
    broken = set(unread)
    try:
        policy = Policy.model_validate(merged, by_alias=True, by_name=False)
    except ValidationError as error:
        wrong = _findings(error, merged, spoilt)
        if "enclave" in unread:
            wrong = [finding for finding in wrong if finding.path[0] != "enclave"]
        findings += wrong
        broken |= _drop(error, merged)
        policy = Policy.model_validate(merged, by_alias=True, by_name=False)
    for path in spoilt:
        if path:
            broken.add(str(path[0]))
    return Validated(policy, tuple(findings), declared, frozenset(broken), frozenset(unread))


# -------------------------------------------------------------------------------- putting together

_SECTIONS: Final = tuple(section for sections in SECTIONS_OF_FILE.values() for section in sections)


def _merge(
    documents: Mapping[str, Any], incomplete: frozenset[str], findings: list[Finding]
) -> tuple[dict[str, Any], set[str]]:
    """Sections of all files in one mapping, identifiers put into their entries; sections that are unknown."""
    merged: dict[str, Any] = {}
    unread: set[str] = set()
    for file, sections in SECTIONS_OF_FILE.items():
        if file in incomplete or file not in documents:
            unread |= set(sections) or {"enclave", "tasks"}
        document = documents.get(file)
        if document is None and file in incomplete:
            continue
        if file not in documents:
            continue
        if not isinstance(document, dict):
            findings.append(_not_a_mapping(file, document))
            unread |= set(sections) or {"enclave", "tasks"}
        elif not sections:
            merged["enclave"] = (
                document | {"tasks": _with_ids(document.get("tasks"), ("enclave", "tasks"), findings)}
                if "tasks" in document
                else document
            )
        else:
            _merge_sections(file, document, merged, unread, findings, complete=file not in incomplete)
    return merged, unread


def _merge_sections(
    file: str,
    document: dict[str, Any],
    merged: dict[str, Any],
    unread: set[str],
    findings: list[Finding],
    *,
    complete: bool,
) -> None:
    sections = SECTIONS_OF_FILE[file]
    findings += [_unknown_top_level_key(file, key, sections) for key in document if key not in sections]
    for section in sections:
        if section in document:
            if not isinstance(document[section], dict):
                unread.add(section)
            merged[section] = _with_ids(document[section], (section,), findings)
        elif section not in OPTIONAL_SECTIONS and complete:
            unread.add(section)
            findings.append(
                Finding(
                    (section,),
                    Bilingual(f"the key '{section}' is missing", f"キー '{section}' がありません"),
                    Bilingual(
                        f"Write `{section}:` at the top; for none at all `{section}: {{}}`.",
                        f"先頭に `{section}:` を書いてください。一つもない場合は `{section}: {{}}` です。",
                    ),
                )
            )


def _not_a_mapping(file: str, document: object) -> Finding:
    sections = SECTIONS_OF_FILE[file]
    section = sections[0] if sections else "enclave"
    first = sections[0] if sections else "body"
    if document is None:
        message = Bilingual("the file is empty", "ファイルが空です")
    else:
        kind = kind_of(document)
        message = Bilingual(
            f"the file holds {kind.en}, not a mapping", f"ファイルの中身がマッピングではなく{kind.ja}です"
        )
    return Finding((section,), message, Bilingual(f"Begin it with `{first}:`.", f"`{first}:` から書き始めてください。"))


def _unknown_top_level_key(file: str, key: str, sections: tuple[str, ...]) -> Finding:
    home = FILE_OF_SECTION.get(key)
    if home and home != file:
        remedy = Bilingual(f"Move it to {home}.", f"{home} に移してください。")
    else:
        remedy = _did_you_mean(key, sections)
    return Finding(
        (sections[0], OUTSIDE, key),
        Bilingual(f"{file} has no key {quote(key)}", f"{file} にキー {quote(key)} はありません"),
        remedy,
        at_key=True,
    )


_GUARANTEE_KINDS: Final = ("isolated", "no_internet_path", "only_via", "exactly", "survives")
OUTSIDE: Final = ".."
"""Step of a path that leads from a section to the top of its file."""


def _with_ids(entries: Any, path: Path, findings: list[Finding]) -> Any:  # noqa: ANN401 - not yet validated
    if not isinstance(entries, dict):
        return entries
    with_ids: dict[str, Any] = {}
    for key, entry in entries.items():
        if isinstance(entry, dict):
            if "id" in entry:
                findings.append(
                    Finding(
                        (*path, key, "id"),
                        Bilingual(
                            "'id' is not written: the key above is the identifier",
                            "'id' は書きません。上のキーが識別子になります",
                        ),
                        Bilingual("Delete the line.", "その行を削除してください。"),
                        at_key=True,
                    )
                )
            with_ids[key] = {**entry, "id": key}
        else:
            with_ids[key] = entry
    return with_ids


def _declared(merged: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    declared = {
        section: frozenset(merged[section]) if isinstance(merged.get(section), dict) else frozenset()
        for section in _SECTIONS
    }
    enclave = merged.get("enclave")
    tasks = enclave.get("tasks") if isinstance(enclave, dict) else None
    declared["tasks"] = frozenset(tasks) if isinstance(tasks, dict) else frozenset()
    return declared


def _drop(error: ValidationError, merged: dict[str, Any]) -> set[str]:
    """Leave out every entry that has an error; name the sections that lost something."""
    broken: set[str] = set()
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        section, *rest = (str(step) for step in detail["loc"])
        broken.add(section)
        if section == "enclave":
            merged["enclave"] = dict(STAND_IN_ENCLAVE)
            broken.add("tasks")
        elif rest and isinstance(merged[section], dict):
            merged[section].pop(rest[0], None)
        else:
            merged[section] = {}
    return broken


# ------------------------------------------------------------------------------------- plain words


def _findings(error: ValidationError, merged: Mapping[str, Any], spoilt: frozenset[Path]) -> list[Finding]:
    found: dict[tuple[Path, bool], Finding] = {}
    for detail in error.errors(include_url=False):
        path, at_key = _path(detail, merged)
        if any(path[: len(fault)] == fault for fault in spoilt if fault):
            continue
        finding = _finding(detail, path, at_key=at_key)
        found.setdefault((path, at_key), finding)
    for path, at_key in [*found]:
        meant = re.fullmatch(r"Did you mean '(.*)'\?", found[path, at_key].remedy.en) if at_key else None
        if meant:
            # A misspelt key is one mistake: nobody needs to hear that the right one is missing.
            found.pop(((*path[:-1], meant[1]), False), None)
    keys = {path for path, at_key in found if at_key}
    return [finding for (path, at_key), finding in found.items() if at_key or path[:-1] not in keys or path[-1] != "id"]


def _path(detail: ErrorDetails, merged: Mapping[str, Any]) -> tuple[Path, bool]:
    """pydantic's location without the marks of unions and keys, as a path that the file knows."""
    steps: list[str | int] = []
    value: Any = merged
    at_key = detail["type"] == "extra_forbidden"
    for step in detail["loc"]:
        if step == "[key]":
            at_key = True
            continue
        if isinstance(value, dict):
            if step not in value and value.get("kind") == step:
                continue
            steps.append(step)
            value = value.get(step)
        elif isinstance(value, list):
            if isinstance(step, int) and step < len(value):
                steps.append(step)
                value = value[step]
            else:
                break
        else:
            break
    return tuple(steps), at_key


def _finding(detail: ErrorDetails, path: Path, *, at_key: bool) -> Finding:
    message, remedy = _words(detail, path)
    return Finding(path, message, remedy, at_key=at_key)


def _words(detail: ErrorDetails, path: Path) -> tuple[Bilingual, Bilingual]:  # noqa: C901, PLR0911 - one case for each kind of error
    value, context = detail["input"], detail.get("ctx", {})
    name = str(path[-1]) if path else ""
    match detail["type"]:
        case "kakoi_refused":
            return context["message"], context["remedy"]
        case "extra_forbidden":
            return (
                Bilingual(f"unknown key {quote(name)}", f"知らないキー {quote(name)} です"),
                _did_you_mean(name, _keys_at(path[:-1], detail)),
            )
        case "missing":
            missing = str(detail["loc"][-1])
            return (
                Bilingual(f"the key '{missing}' is missing", f"キー '{missing}' がありません"),
                Bilingual(
                    f"Add `{missing}:`.{_meaning(path, missing, detail)}", f"`{missing}:` を書き加えてください。"
                ),
            )
        case "literal_error":
            options = re.findall(r"'([^']*)'", str(context["expected"]))
            return (
                Bilingual(
                    f"{quote(value)} is not a possible value of '{_owner(path)}'",
                    f"'{_owner(path)}' の値に {quote(value)} はありません",
                ),
                _did_you_mean(value, options),
            )
        case "union_tag_invalid":
            return (
                Bilingual(
                    f"there is no guarantee of kind {quote(context['tag'])}",
                    f"{quote(context['tag'])} という種類の保証はありません",
                ),
                _did_you_mean(context["tag"], re.findall(r"'([^']*)'", str(context["expected_tags"]))),
            )
        case "union_tag_not_found":
            return (
                Bilingual("the key 'kind' is missing", "キー 'kind' がありません"),
                _did_you_mean("", _GUARANTEE_KINDS),
            )
        case "string_pattern_mismatch":
            return _pattern_words(value, str(context["pattern"]))
        case "string_too_short":
            return (
                Bilingual(f"'{_owner(path)}' is empty", f"'{_owner(path)}' が空です"),
                Bilingual("Write at least one character.", "1文字以上書いてください。"),
            )
        case "string_too_long":
            return (
                Bilingual(
                    f"'{_owner(path)}' has {len(value)} characters; the limit is {context['max_length']}",
                    f"'{_owner(path)}' は {len(value)} 文字あります（上限 {context['max_length']} 文字）",
                ),
                Bilingual("Shorten it.", "短くしてください。"),
            )
        case "too_short":
            return (
                Bilingual(f"'{_owner(path)}' is empty", f"'{_owner(path)}' が空です"),
                Bilingual("Write at least one.", "1つ以上書いてください。"),
            )
        case "greater_than_equal" | "less_than_equal":
            limits = {"greater_than_equal": ("at least", "以上", "ge"), "less_than_equal": ("at most", "以下", "le")}
            en, ja, bound = limits[detail["type"]]
            return (
                Bilingual(
                    f"{quote(value)} is outside what '{_owner(path)}' can be",
                    f"{quote(value)} は '{_owner(path)}' の範囲外です",
                ),
                Bilingual(f"Write {en} {context[bound]}.", f"{context[bound]} {ja}にしてください。"),
            )
        case _:
            return _type_words(detail["type"], value, path)


_EXPECTED: Final[Mapping[str, tuple[Bilingual, Bilingual]]] = {
    "string": (Bilingual("text", "文字列"), Bilingual("Put quotes around it.", "引用符で囲んでください。")),
    "int": (
        Bilingual("a whole number", "整数"),
        Bilingual("Write a number without quotes.", "引用符を付けずに整数を書いてください。"),
    ),
    "bool": (
        Bilingual("true or false", "true か false"),
        Bilingual("Write true or false.", "true か false と書いてください。"),
    ),
    "tuple": (
        Bilingual("a list", "リスト"),
        Bilingual("Write it in brackets: [a, b].", "[a, b] のように角括弧で書いてください。"),
    ),
    "list": (
        Bilingual("a list", "リスト"),
        Bilingual("Write it in brackets: [a, b].", "[a, b] のように角括弧で書いてください。"),
    ),
    "mapping": (
        Bilingual("a mapping", "マッピング"),
        Bilingual("Write `key: value` lines below it.", "下の行に「キー: 値」の形で書いてください。"),
    ),
    "dict": (
        Bilingual("a mapping", "マッピング"),
        Bilingual("Write `key: value` lines below it.", "下の行に「キー: 値」の形で書いてください。"),
    ),
    "model": (
        Bilingual("a mapping", "マッピング"),
        Bilingual("Write `key: value` lines below it.", "下の行に「キー: 値」の形で書いてください。"),
    ),
}


def _type_words(kind: str, value: object, path: Path) -> tuple[Bilingual, Bilingual]:
    """Words for a value of the wrong type."""
    found = kind_of(value)
    expected, remedy = _EXPECTED.get(
        kind.split("_", maxsplit=1)[0],
        (
            Bilingual("something else", "別の形"),
            Bilingual("See docs/reference/policy.md.", "docs/reference/policy.ja.md を参照してください。"),
        ),
    )
    if expected.en == "text" and isinstance(value, (dict, list)):
        remedy = Bilingual("Write one piece of text.", "文字列を1つ書いてください。")
    elif expected.en == "text":
        remedy = Bilingual(f'Put quotes around it: "{value}".', f'"{value}" のように引用符で囲んでください。')
    return (
        Bilingual(
            f"'{_owner(path)}' must be {expected.en}, not {found.en} ({quote(value)})",
            f"'{_owner(path)}' は{expected.ja}で書きます（{found.ja} {quote(value)} があります）",
        ),
        remedy,
    )


def _owner(path: Path) -> str:
    """The key that a value belongs to, also when it stands in a list."""
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _pattern_words(value: str, pattern: str) -> tuple[Bilingual, Bilingual]:
    identifier = re.fullmatch(r"\^\[a-z\]\[a-z0-9_\]\{0,(\d+)\}\$", pattern)
    if identifier:
        longest = int(identifier[1]) + 1
        suggestion = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_").lstrip("0123456789_")[:longest]
        return (
            Bilingual(f"{quote(value)} is not an identifier", f"{quote(value)} は識別子として使えません"),
            Bilingual(
                f"Use lower-case letters, digits and _, a letter first, at most {longest} characters"
                + (f", such as {suggestion}." if suggestion else "; Japanese belongs into `name:`."),
                f"英小文字で始まる英小文字・数字・_ の {longest} 文字以内にしてください"
                + (f"（例: {suggestion}）。" if suggestion else "。日本語は `name:` に書きます。"),
            ),
        )
    words = {
        DOMAIN_PATTERN: (
            Bilingual(f"{quote(value)} is not a domain name", f"{quote(value)} はドメイン名ではありません"),
            Bilingual(
                "Write it in lower case, such as kakuu.example.", "kakuu.example のように小文字で書いてください。"
            ),
        ),
        r"^[a-z_][a-z0-9_-]{0,30}$": (
            Bilingual(f"{quote(value)} is not an account name", f"{quote(value)} はアカウント名ではありません"),
            Bilingual("Use lower-case letters, digits, _ and -.", "英小文字、数字、_、- で書いてください。"),
        ),
        r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$": (
            Bilingual(f"{quote(value)} is not a device name", f"{quote(value)} はデバイス名ではありません"),
            Bilingual("Use at most 15 letters, digits, _ . and -.", "英数字、_、.、- の15文字以内にしてください。"),
        ),
    }
    return words.get(
        pattern,
        (
            Bilingual(
                f"{quote(value)} has a line break or another control character in it",
                f"{quote(value)} に改行などの制御文字があります",
            ),
            Bilingual("Write it on one line.", "1行で書いてください。"),
        ),
    )


def _did_you_mean(found: object, options: Iterable[str]) -> Bilingual:
    """The nearest option, or all of them when they are few."""
    listed = sorted(option for option in options if option != "id")
    near = difflib.get_close_matches(str(found).lower(), listed, 1, 0.6)
    if near:
        return Bilingual(f"Did you mean '{near[0]}'?", f"'{near[0]}' ではありませんか。")
    if not listed:
        return Bilingual("Delete it.", "削除してください。")
    return Bilingual(f"Possible: {', '.join(listed)}.", f"使えるもの: {'、'.join(listed)}。")


# ---------------------------------------------------------------------- what the models say about a path


def _model_at(path: Path, kind: str | None) -> type[BaseModel] | None:
    """The model that a path leads to; ``kind`` chooses among the kinds of guarantee."""
    shape: Any = Policy
    for step in path:
        shape = _open(shape, kind)
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            field = next((field for name, field in shape.model_fields.items() if step in (name, field.alias)), None)
            if field is None:
                return None
            shape = field.annotation
        else:
            arguments = get_args(shape)
            if not arguments:
                return None
            shape = arguments[1] if len(arguments) > 1 and arguments[1] is not ... else arguments[0]
    shape = _open(shape, kind)
    return shape if isinstance(shape, type) and issubclass(shape, BaseModel) else None


def _open(shape: Any, kind: str | None) -> Any:  # noqa: ANN401 - any annotation
    """An annotation without aliases and metadata, a union reduced to the chosen kind."""
    while True:
        if isinstance(shape, TypeAliasType):
            shape = shape.__value__
        elif get_origin(shape) is Annotated:
            shape = get_args(shape)[0]
        elif isinstance(shape, FieldInfo):
            shape = shape.annotation
        else:
            break
    for choice in get_args(shape):
        if (
            isinstance(choice, type)
            and issubclass(choice, BaseModel)
            and "kind" in choice.model_fields
            and get_args(choice.model_fields["kind"].annotation) == (kind,)
        ):
            return choice
    return shape


def _kind(detail: ErrorDetails) -> str | None:
    loc = detail["loc"]
    return str(loc[2]) if len(loc) > 2 and loc[0] == "guarantees" else None  # noqa: PLR2004 - section, identifier, kind


def _keys_at(path: Path, detail: ErrorDetails) -> list[str]:
    model = _model_at(path, _kind(detail))
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _meaning(path: Path, missing: str, detail: ErrorDetails) -> str:
    model = _model_at(path, _kind(detail))
    if model is None:
        return ""
    field = next((field for name, field in model.model_fields.items() if missing in (name, field.alias)), None)
    options = _options(field.annotation) if field else ()
    return f" Possible: {', '.join(options)}." if options else ""


def _options(shape: Any) -> tuple[str, ...]:  # noqa: ANN401 - any annotation
    shape = _open(shape, None)
    return tuple(str(option) for option in get_args(shape)) if get_origin(shape) is Literal else ()
