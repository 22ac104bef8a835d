"""YAML text to plain Python values, by the strict subset of YAML that a policy is written in.

The text goes through libyaml's event stream: no node tree, no constructors, so neither a bomb nor a
loop can be expressed. ``read`` keeps no positions and gives up at the first fault; ``locate`` reads the
same text by the same code and keeps the place of every key and value and all faults. Only text with
something wrong in it is ever read twice.

The subset: one document; mappings with text keys, each key once; lists; scalars. A quoted scalar is
text. A plain one is a boolean (``true``, ``false``), a whole number (``0``, ``443``), a day
(``2026-10-01``) or else text, so ``no``, ``on``, ``0777`` and ``1e3`` are text. There are no anchors,
aliases, merge keys, tags, directives or empty values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Never

import yaml

from kakoi.policy.problem import START, Bilingual, Path, Place, quote

MAX_DEPTH: Final = 20
MAX_VALUES: Final = 2_000_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_EMPTY = frozenset({"", "~", "null", "Null", "NULL"})
_UNREADABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
"""Control characters, invisible line breaks and characters that turn the reading direction around."""
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the text that is not part of the language."""

    place: Place
    path: Path
    message: Bilingual
    remedy: Bilingual


@dataclass(slots=True)
class Located:
    """A text that was read with the place of everything in it."""

    value: Any = None
    """What could be read; None when nothing could."""
    complete: bool = True
    """False when reading stopped before the end."""
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path, *, at_key: bool) -> Place:
        """Where a path stands; what is not written itself stands where the nearest thing around it does."""
        if at_key and path in self.keys:
            return self.keys[path]
        while path:
            if path in self.values:
                return self.values[path]
            step, path = path[-1], path[:-1]
            if isinstance(step, str) and path in self.keys:
                return self.keys[path]
        return START


class _GiveUpError(Exception):
    """Reading cannot or need not go on."""


def read(text: str) -> tuple[Any, bool]:
    """Value of a text without faults, and True; or None and False: then ``locate`` says what is wrong."""
    try:
        return _build(text, None), True
    except (_GiveUpError, yaml.YAMLError):
        return None, False


def locate(text: str) -> Located:
    """Read a text with places and faults. Never raises."""
    located = Located()
    try:
        located.value = _build(text, located)
    except _GiveUpError:
        located.complete = False
    except yaml.YAMLError as error:
        located.complete = False
        located.faults.append(_syntax_fault(error, text))
    return located


def lines(text: str) -> list[str]:
    """Lines of a text as positions count them."""
    return _LINE_BREAK.split(text)


def _build(text: str, located: Located | None) -> Any:  # noqa: ANN401 - a YAML value is anything
    builder = _Builder(located)
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        before = lines(text[: unreadable.start()])
        builder.stop(
            Place(len(before), len(before[-1]) + 1),
            Bilingual(
                f"the invisible character U+{ord(unreadable.group()):04X} is not allowed",
                f"見えない文字 U+{ord(unreadable.group()):04X} は使えません",
            ),
            Bilingual(
                "Delete it; it may have come in by copy and paste.",
                "削除してください。コピー＆ペーストで紛れ込むことがあります。",
            ),
        )
    return builder.build(yaml.parse(text, Loader=yaml.CSafeLoader))


class _Skipped:
    """Stands for a key whose value is read and thrown away."""


_SKIPPED = _Skipped()


class _Builder:
    """Builds plain values from events, with an explicit stack: depth of the text is never depth of calls."""

    def __init__(self, located: Located | None) -> None:
        self.located = located
        self.texts: dict[str, str] = {}
        self.path: list[Any] = []

    def stop(self, place: Place, message: Bilingual, remedy: Bilingual) -> Never:
        """Note a fault after which nothing more can be read."""
        self.fault(place, message, remedy)
        raise _GiveUpError

    def fault(self, place: Place, message: Bilingual, remedy: Bilingual) -> None:
        """Note a fault and go on, if anybody wants to know."""
        if self.located is None:
            raise _GiveUpError
        path = tuple(step for step in self.path if step is not _SKIPPED and step is not _NO_KEY)
        self.located.faults.append(Fault(place, path, message, remedy))

    def build(self, events: Iterator[Any]) -> Any:  # noqa: ANN401, C901, PLR0912, PLR0915 - one pass over one event alphabet, and the hot loop of loading
        """Read one document."""
        located, path, texts = self.located, self.path, self.texts
        stack: list[Any] = []
        container: Any = None
        root: Any = None
        documents = count = 0
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                count += 1
                if event.anchor is not None or event.tag is not None:
                    self._refuse_properties(event)
                if type(container) is dict and path[-1] is _NO_KEY:
                    path[-1] = self._key(event, container)
                    continue
                value = event.value
                value = self._plain(event, value, texts) if event.implicit[0] else texts.setdefault(value, value)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                count += 1
                if event.anchor is not None or event.tag is not None:
                    self._refuse_properties(event)
                if type(container) is dict and path[-1] is _NO_KEY:
                    self._refuse_key(event)
                    path[-1] = _SKIPPED
                    _skip(events)
                    continue
                if len(stack) >= MAX_DEPTH:
                    self.stop(
                        _place(event),
                        Bilingual(
                            f"values are nested more than {MAX_DEPTH} deep", f"入れ子が {MAX_DEPTH} 段を超えています"
                        ),
                        Bilingual(
                            "A policy needs far fewer levels; check the brackets and the indentation.",
                            "ポリシーはもっと浅い構造です。括弧と字下げを確認してください。",
                        ),
                    )
                if count > MAX_VALUES:
                    self._too_many(event)
                if located is not None:
                    self._remember(container, path, event)
                stack.append(container)
                container = {} if kind is yaml.MappingStartEvent else []
                path.append(_NO_KEY if kind is yaml.MappingStartEvent else 0)
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                value, container = container, stack.pop()
                path.pop()
                # Its place was noted when it began.
                if container is None:
                    root = value
                elif type(container) is dict:
                    if path[-1] is not _SKIPPED:
                        container[path[-1]] = value
                    path[-1] = _NO_KEY
                else:
                    container.append(value)
                    path[-1] += 1
                continue
            elif kind is yaml.AliasEvent:
                self._refuse_alias(event)
                if type(container) is dict and path[-1] is _NO_KEY:
                    path[-1] = _SKIPPED
                    continue
                value = None
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                self._check_document(event, documents)
                continue
            else:
                continue
            if count > MAX_VALUES:
                self._too_many(event)
            if located is not None:
                self._remember(container, path, event)
            if container is None:
                root = value
            elif type(container) is dict:
                if path[-1] is not _SKIPPED:
                    container[path[-1]] = value
                path[-1] = _NO_KEY
            else:
                container.append(value)
                path[-1] += 1
        return root

    def _too_many(self, event: Any) -> Never:  # noqa: ANN401 - an event
        self.stop(
            _place(event),
            Bilingual(f"the file has more than {MAX_VALUES:,} values", f"値が {MAX_VALUES:,} 個を超えています"),
            Bilingual(
                "Check how the file was made; a policy of 10,000 hosts is far smaller.",
                "ファイルの作り方を確認してください。1万台のポリシーでもはるかに小さく収まります。",
            ),
        )

    def _remember(self, container: Any, path: list[Any], event: Any) -> None:  # noqa: ANN401 - YAML values and events
        if self.located is not None and (container is not None or not path) and _SKIPPED not in path:
            self.located.values[tuple(path)] = _place(event)

    def _key(self, event: Any, container: dict[str, Any]) -> Any:  # noqa: ANN401 - a key or the marker of a skipped one
        text: str = event.value
        key = self.texts.setdefault(text, text)
        self.path[-1] = key
        if event.implicit[0] and (text == "<<" or not isinstance(_typed(text), str)):
            self._refuse_key(event)
            return _SKIPPED
        if key in container:
            self._refuse_duplicate(event, key)
            return _SKIPPED
        # A value of None marks the key as taken until its value has been read.
        container[key] = None
        if self.located is not None and _SKIPPED not in self.path:
            self.located.keys[tuple(self.path)] = _place(event)
        return key

    def _plain(self, event: Any, text: str, texts: dict[str, str]) -> Any:  # noqa: ANN401 - YAML values and events
        value = _typed(text)
        if value is None and self.path[-1:] != [_SKIPPED]:
            self.fault(
                _place(event),
                Bilingual("there is no value here", "値がありません"),
                Bilingual(
                    "Write the value, or delete the key; for nothing at all write {} or [].",
                    "値を書くか、キーごと削除してください。空であることを示すには {} または [] と書きます。",
                ),
            )
        return texts.setdefault(text, text) if isinstance(value, str) else value

    def _refuse_duplicate(self, event: Any, key: str) -> None:  # noqa: ANN401 - an event
        first = (self.located.keys.get(tuple(self.path)) if self.located else None) or START
        self.fault(
            _place(event),
            Bilingual(
                f"the key {quote(key)} is written twice; it first stands at line {first.line}, column {first.column}",
                f"キー {quote(key)} が重複しています（最初は {first.line} 行 {first.column} 桁）",
            ),
            Bilingual("Delete one of the two, or rename it.", "どちらかを削除するか、名前を変えてください。"),
        )

    def _refuse_key(self, event: Any) -> None:  # noqa: ANN401 - an event
        self.path[-1] = _SKIPPED
        text = getattr(event, "value", None)
        if text == "<<":
            self.fault(
                _place(event),
                Bilingual("merge keys (<<) are not part of the policy language", "マージキー（<<）は使えません"),
                Bilingual("Write the values out.", "値をそのまま書いてください。"),
            )
        elif text is None:
            self.fault(
                _place(event),
                Bilingual(
                    "a key must be text, not a list or a mapping",
                    "キーは文字列でなければなりません（リストやマッピングは不可）",
                ),
                Bilingual("Write a name as the key.", "キーには名前を書いてください。"),
            )
        else:
            self.fault(
                _place(event),
                Bilingual(
                    f"the key {quote(text)} is not text but {kind_of(_typed(text)).en}",
                    f"キー {quote(text)} は文字列ではなく{kind_of(_typed(text)).ja}です",
                ),
                Bilingual("Write a name that starts with a letter.", "英字で始まる名前を書いてください。"),
            )

    def _refuse_properties(self, event: Any) -> None:  # noqa: ANN401 - an event
        if event.anchor is not None:
            self.fault(
                _place(event),
                Bilingual(
                    f"the anchor &{event.anchor} is not part of the policy language",
                    f"アンカー &{event.anchor} は使えません",
                ),
                Bilingual(
                    "Delete the anchor and write each value out where it is used.",
                    "アンカーを消し、使う場所に値をそのまま書いてください。",
                ),
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.fault(
                _place(event),
                Bilingual(
                    f"the tag {quote(tag)} is not part of the policy language", f"タグ {quote(tag)} は使えません"
                ),
                Bilingual(
                    "Delete the tag; put quotes around what is to be text.",
                    "タグを削除してください。文字列にするには引用符で囲みます。",
                ),
            )

    def _refuse_alias(self, event: Any) -> None:  # noqa: ANN401 - an event
        self.fault(
            _place(event),
            Bilingual(
                f"the alias *{event.anchor} is not part of the policy language",
                f"エイリアス *{event.anchor} は使えません",
            ),
            Bilingual(
                "Write the value itself; for a text that starts with * use quotes.",
                "値をそのまま書いてください。* で始まる文字列は引用符で囲みます。",
            ),
        )

    def _check_document(self, event: Any, documents: int) -> None:  # noqa: ANN401 - an event
        if documents > 1:
            self.stop(
                _place(event),
                Bilingual("a second document begins here", "ここから2つ目の文書が始まっています"),
                Bilingual(
                    "Keep one document in the file: delete the line ---.",
                    "1ファイルに書ける文書は1つです。--- の行を削除してください。",
                ),
            )
        if event.version or event.tags:
            self.fault(
                _place(event),
                Bilingual(
                    "YAML directives (%YAML, %TAG) are not part of the policy language",
                    "YAMLディレクティブ（%YAML、%TAG）は使えません",
                ),
                Bilingual("Delete the line.", "その行を削除してください。"),
            )


class _NoKey:
    """Stands at the end of a path inside a mapping while its next key has not been read."""


_NO_KEY = _NoKey()


def _place(event: Any) -> Place:  # noqa: ANN401 - an event
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _skip(events: Iterator[Any]) -> None:
    """Read on to the end of the collection that has just begun."""
    depth = 1
    while depth:
        kind = type(next(events))
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            depth += 1
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            depth -= 1


def _typed(text: str) -> bool | int | date | str | None:
    """What a plain scalar means; None for an empty one."""
    first = text[:1]
    if first in "0123456789-+" and first:
        if _INTEGER.match(text):
            return int(text)
        if _DAY.match(text):
            try:
                return date.fromisoformat(text)
            except ValueError:
                return text
        return text
    if text in _EMPTY:
        return None
    return {"true": True, "false": False}.get(text, text)


def kind_of(value: object) -> Bilingual:
    """Kind of a YAML value, in words."""
    return next((words for kind, words in _KINDS if isinstance(value, kind)), Bilingual("text", "文字列"))


_KINDS: Final[tuple[tuple[type, Bilingual], ...]] = (
    (bool, Bilingual("a boolean", "真偽値")),
    (int, Bilingual("a number", "数値")),
    (date, Bilingual("a date", "日付")),
    (type(None), Bilingual("empty", "空")),
    (dict, Bilingual("a mapping", "マッピング")),
    (list, Bilingual("a list", "リスト")),
)
_SYNTAX = (
    (
        "found character that cannot start any token",
        Bilingual("{character} cannot stand at the start of a value", "{character} で値を始めることはできません"),
        Bilingual(
            "Indent with spaces, never tabs; put quotes around text that starts with a symbol.",
            "字下げはタブではなく空白にしてください。記号で始まる文字列は引用符で囲みます。",
        ),
    ),
    (
        "mapping values are not allowed",
        Bilingual("a second ': ' stands here, where no key can", "ここに「: 」は書けません"),
        Bilingual(
            "Check the indentation; put quotes around text that contains ': '.",
            "字下げを確認してください。「: 」を含む文字列は引用符で囲みます。",
        ),
    ),
    (
        "found unexpected end of stream",
        Bilingual("the file ends inside a quoted text", "引用符が閉じられないままファイルが終わっています"),
        Bilingual(
            "Close the quotes that were opened at line {line}, column {column}.",
            "{line} 行 {column} 桁で開いた引用符を閉じてください。",
        ),
    ),
    (
        "did not find expected ',' or ']'",
        Bilingual(
            "a list that was opened with [ goes on here without a comma or ]",
            "[ で始めたリストに、ここで「,」か「]」が必要です",
        ),
        Bilingual(
            "Close the list that was opened at line {line}, column {column}.",
            "{line} 行 {column} 桁で始めたリストを閉じてください。",
        ),
    ),
    (
        "did not find expected ',' or '}'",
        Bilingual(
            "a mapping that was opened with { goes on here without a comma or }",
            "{ で始めたマッピングに、ここで「,」か「}」が必要です",
        ),
        Bilingual(
            "Close the mapping that was opened at line {line}, column {column}.",
            "{line} 行 {column} 桁で始めたマッピングを閉じてください。",
        ),
    ),
    (
        "did not find expected key",
        Bilingual("the indentation does not fit what stands above", "字下げが上の行と合っていません"),
        Bilingual(
            "Align the keys of the mapping that began at line {line}, column {column}.",
            "{line} 行 {column} 桁で始まるマッピングのキーの位置をそろえてください。",
        ),
    ),
    (
        "did not find expected '-' indicator",
        Bilingual("the list is interrupted here", "リストがここで途切れています"),
        Bilingual(
            "Align the list items that began at line {line}, column {column}.",
            "{line} 行 {column} 桁で始まるリストの「-」の位置をそろえてください。",
        ),
    ),
    (
        "did not find expected node content",
        Bilingual("a value is missing here, or a bracket is not closed", "値がないか、括弧が閉じられていません"),
        Bilingual(
            "Close what was opened at line {line}, column {column}.",
            "{line} 行 {column} 桁で始めた括弧を閉じてください。",
        ),
    ),
    (
        "could not find expected ':'",
        Bilingual("a key without a colon", "キーの後に「:」がありません"),
        Bilingual(
            "Write 'key: value', with a space after the colon.",
            "「キー: 値」の形で、コロンの後に空白を入れて書いてください。",
        ),
    ),
    (
        "found unknown escape character",
        Bilingual("an unknown escape after the backslash", "バックスラッシュの後の文字が正しくありません"),
        Bilingual(
            "Use single quotes for text with backslashes.", "バックスラッシュを含む文字列は単一引用符で囲んでください。"
        ),
    ),
)


def _syntax_fault(error: yaml.YAMLError, text: str) -> Fault:
    """A syntax error of libyaml in plain words."""
    mark = getattr(error, "problem_mark", None)
    around = getattr(error, "context_mark", None) or mark
    place = Place(mark.line + 1, mark.column + 1) if mark else START
    all_lines = lines(text)
    if place.line > len(all_lines):
        place = Place(len(all_lines), len(all_lines[-1]) + 1)
    problem = str(getattr(error, "problem", None) or "")
    for start, message, remedy in _SYNTAX:
        if problem.startswith(start):
            facts = {
                "{line}": str(around.line + 1) if around else "1",
                "{column}": str(around.column + 1) if around else "1",
                "{character}": _character(all_lines[place.line - 1], place),
            }
            return Fault(place, (), _filled(message, facts), _filled(remedy, facts))
    found = quote(problem or type(error).__name__)
    return Fault(
        place,
        (),
        Bilingual(f"this is not YAML: {found}", f"YAMLとして読めません: {found}"),
        Bilingual(
            "Check quotes, brackets and indentation here and on the line above.",
            "この行と上の行の引用符、括弧、字下げを確認してください。",
        ),
    )


def _filled(sentence: Bilingual, facts: dict[str, str]) -> Bilingual:
    en, ja = sentence.en, sentence.ja
    for name, fact in facts.items():
        en, ja = en.replace(name, fact), ja.replace(name, fact)
    return Bilingual(en, ja)


def _character(line: str, place: Place) -> str:
    character = line[place.column - 1 : place.column]
    return "a tab (タブ)" if character == "\t" else quote(character)
