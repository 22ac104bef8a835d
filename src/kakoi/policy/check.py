"""Judge a policy folder: everything that is wrong with it, at once, each at its place.

The files are read fast and without positions. Only a file with something wrong in it is read again,
by the same code, to find out where.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path as FilePath
from typing import Any

from kakoi.policy.folder import FILE_OF_SECTION, SECTIONS_OF_FILE, Folder, read_folder
from kakoi.policy.model import Policy
from kakoi.policy.problem import START, Finding, Path, Place, Problem, dotted
from kakoi.policy.rules import Scope, findings, waiting
from kakoi.policy.source import Located, locate, read
from kakoi.policy.validate import OUTSIDE, validate


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a policy folder."""

    policy: Policy | None
    """The policy; None when there is any error."""
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    waiting: tuple[str, ...] = ()
    """Rules that can only be judged once the errors are mended."""

    @property
    def valid(self) -> bool:
        """Whether the policy can be used."""
        return self.policy is not None

    def as_json(self) -> dict[str, Any]:
        """The shape that ``kakoi check --json`` prints."""
        return {
            "valid": self.valid,
            "errors": [problem.as_json() for problem in self.errors],
            "warnings": [problem.as_json() for problem in self.warnings],
        }


def check_policy(directory: FilePath, today: date | None = None) -> Report:
    """Read and judge a policy folder as of ``today``. Never raises for anything that stands in it."""
    day = today or date.today()  # noqa: DTZ011 - review dates are days of the body's own calendar
    folder = read_folder(directory)
    with _collector_paused():
        documents, located = _parse(folder)
    incomplete = frozenset(SECTIONS_OF_FILE) - frozenset(documents) | frozenset(
        name for name, text in located.items() if not text.complete
    )
    spoilt = frozenset(
        _in_policy(name, fault.path) for name, text in located.items() for fault in text.faults if fault.path
    )
    validated = validate(documents, incomplete, spoilt)
    found = list(validated.findings)
    scope = Scope(validated.policy, day, validated.declared, validated.unread, validated.broken)
    found += findings(scope, validated.broken)
    problems = _Places(directory, folder, located)
    errors = folder.errors + [
        Problem(str(directory / name), *fault.place, dotted(fault.path), fault.message, fault.remedy)
        for name, text in located.items()
        for fault in text.faults
    ]
    errors += problems.locate(finding for finding in found if finding.severity == "error")
    warnings = folder.warnings + problems.locate(finding for finding in found if finding.severity == "warning")
    return Report(
        None if errors else validated.policy,
        tuple(sorted(set(errors), key=_reading_order)),
        tuple(sorted(set(warnings), key=_reading_order)),
        waiting(validated.broken),
    )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Plain trees have no cycles: looking for some while a million values are built costs a fifth of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _parse(folder: Folder) -> tuple[dict[str, Any], dict[str, Located]]:
    """Values of all files; those with faults also with places."""
    documents: dict[str, Any] = {}
    located: dict[str, Located] = {}
    for name, text in folder.texts.items():
        value, clean = read(text)
        if not clean:
            located[name] = locate(text)
            value = located[name].value
            if not located[name].complete:
                continue
        documents[name] = value
    return documents, located


def _in_policy(file: str, path: Path) -> Path:
    """A path inside a file as a path inside the policy."""
    return path if SECTIONS_OF_FILE[file] else ("enclave", *path)


def _in_file(path: Path) -> tuple[str, Path]:
    """A path inside the policy as file name and path inside the file."""
    section = str(path[0])
    file = FILE_OF_SECTION[section]
    if path[1:2] == (OUTSIDE,):
        return file, path[2:]
    return file, path[1:] if section == "enclave" else path


@dataclass(slots=True)
class _Places:
    """Finds the place of findings, reading a file for its places when the first finding is in it."""

    directory: FilePath
    folder: Folder
    located: dict[str, Located]

    def locate(self, found: Iterable[Finding]) -> list[Problem]:
        """Findings at their places."""
        problems = []
        for finding in found:
            file, path = _in_file(finding.path)
            place = self._place(file, path, at_key=finding.at_key)
            problems.append(
                Problem(str(self.directory / file), *place, dotted(path), finding.message, finding.remedy, finding.rule)
            )
        return problems

    def _place(self, file: str, path: Path, *, at_key: bool) -> Place:
        if file not in self.folder.texts:
            return START
        if file not in self.located:
            self.located[file] = locate(self.folder.texts[file])
        return self.located[file].place(path, at_key=at_key)


_ORDER = {name: order for order, name in enumerate(SECTIONS_OF_FILE)}


def _reading_order(problem: Problem) -> tuple[int, str, int, int, str]:
    return (
        _ORDER.get(FilePath(problem.file).name, len(_ORDER)),
        problem.file,
        problem.line,
        problem.column,
        problem.message,
    )
