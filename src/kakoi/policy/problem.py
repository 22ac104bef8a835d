"""What is wrong with a policy: where, what, and what to write instead, in English and Japanese."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from kakoi.errors import InputError

type Path = tuple[str | int, ...]
"""Way to a value: keys and list indices, such as ``("flows", "time", "services", 0)``."""
type Severity = Literal["error", "warning"]


class Bilingual(str):
    """A sentence in both languages: as text ``"English / 日本語"``, each alone as ``.en`` and ``.ja``."""

    __slots__ = ("en", "ja")
    en: str
    ja: str

    def __new__(cls, en: str, ja: str) -> Self:
        """Join the two sentences."""
        joined = super().__new__(cls, f"{en} / {ja}" if en and ja else en or ja)
        joined.en, joined.ja = en, ja
        return joined

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # str pickles itself with one argument
        """Both sentences, for copying and pickling."""
        return self.en, self.ja


class Place(NamedTuple):
    """A place in a text: line and column count from 1, columns in characters."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the value at a path, before it is known where in which file that path stands."""

    path: Path
    message: Bilingual
    remedy: Bilingual
    severity: Severity = "error"
    at_key: bool = False
    """True: the key itself is meant, not what stands behind it."""
    rule: str = ""
    """Name of the domain rule that found it; empty for faults of form."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, at its place in a file."""

    file: str
    line: int
    column: int
    path: str
    """Dotted path inside the file, such as ``hosts.public_web.interfaces.dmz[0]``; empty for the file itself."""
    message: Bilingual
    """What was found and what is wrong with it."""
    remedy: Bilingual
    """What to write instead."""
    rule: str = ""
    """Name of the domain rule that is broken; empty for faults of form."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}\n  -> {self.remedy}"

    def as_json(self) -> dict[str, str | int]:
        """The shape that ``kakoi check --json`` prints."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": str(self.message),
            "remedy": str(self.remedy),
        }


class PolicyError(InputError):
    """A policy that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        found = "\n".join(str(problem) for problem in self.problems)
        super().__init__(
            f"The policy has {count} error{'s' if count != 1 else ''} / ポリシーに誤りが {count} 件あります\n{found}",
            "Run `kakoi check` to see each one with its line. / `kakoi check` で該当行を確認してください。",
        )


def dotted(path: Path) -> str:
    """A path as people write it: ``hosts.public_web.interfaces.dmz[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def quote(value: object, limit: int = 60) -> str:
    """A value in quotes on one line, cut when it is long."""
    text = str(value) if not isinstance(value, (dict, list)) else ("{...}" if isinstance(value, dict) else "[...]")
    text = "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" for character in text[: limit + 1]
    )
    return f"'{text[:limit]}…'" if len(text) > limit else f"'{text}'"
