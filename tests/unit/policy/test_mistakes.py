"""Every kind of mistake gets a clear answer: its place, what is wrong, and what to write instead.

After a change of words, rewrite the golden files with ``KAKOI_UPDATE_GOLDEN=1 pytest tests/unit/policy/test_mistakes.py``
and read the difference.
"""

import os
import shutil
from datetime import date
from pathlib import Path

import pytest
from mistakes import MISTAKES, Mistake

from kakoi.policy.check import Report, check_policy
from kakoi.policy.problem import Problem
from kakoi.policy.rules import RULES

GOLDEN = Path(__file__).parents[2] / "golden" / "errors"
TODAY = date(2026, 11, 23)
REFERENCE = Path(__file__).parents[3] / "policy"
ALL = [mistake for mistakes in MISTAKES.values() for mistake in mistakes]


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """The report on every mistake, each made in its own copy of the sound policy."""
    return {mistake.name: _report(mistake, tmp_path_factory.mktemp(mistake.name[:20])) for mistake in ALL}


def _report(mistake: Mistake, folder: Path) -> Report:
    directory = folder / "policy"
    shutil.copytree(GOLDEN / "policy", directory)
    mistake.make(directory)
    return check_policy(directory, TODAY)


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_says_what_is_wrong(mistake: Mistake, reports: dict[str, Report]) -> None:
    """The report on a mistake has a problem with the words that name it."""
    report = reports[mistake.name]
    problems = report.warnings if mistake.warns else report.errors
    assert any(mistake.says in problem.message.en for problem in problems), report
    assert report.valid == mistake.warns


@pytest.mark.parametrize("subject", MISTAKES)
def test_answers_are_the_golden_ones(subject: str, reports: dict[str, Report]) -> None:
    """Place, message and remedy of every answer are those that were reviewed."""
    golden = GOLDEN / f"{subject}.txt"
    text = "".join(_rendered(mistake, reports[mistake.name]) for mistake in MISTAKES[subject])
    if os.environ.get("KAKOI_UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_mistake_has_its_own_name() -> None:
    """No case hides another, and there are at least eighty kinds."""
    names = [mistake.name for mistake in ALL]
    assert len(set(names)) == len(names) >= 80


def test_every_rule_has_a_mistake_that_breaks_it(reports: dict[str, Report]) -> None:
    """No rule of the domain is without a case that it finds."""
    broken = {problem.rule for report in reports.values() for problem in report.errors + report.warnings}
    assert {rule.name for rule in RULES} <= broken


@pytest.mark.parametrize("directory", [REFERENCE, GOLDEN / "policy"], ids=["reference", "fixture"])
def test_a_sound_policy_is_silent(directory: Path) -> None:
    """The reference policy has neither an error nor a warning."""
    report = check_policy(directory, TODAY)
    assert (report.errors, report.warnings, report.waiting) == ((), (), ())


def test_all_files_are_judged_in_one_go(tmp_path: Path) -> None:
    """One mistake in each file, of form and of substance, gives an answer about each in one report."""
    chosen = (
        "wrong_model",
        "unknown_key",
        "bad_address",
        "port_too_high",
        "approved_in_the_future",
        "store_is_a_terminal",
        "unknown_in_guarantee",
    )
    directory = tmp_path / "policy"
    shutil.copytree(GOLDEN / "policy", directory)
    for mistake in ALL:
        if mistake.name in chosen:
            mistake.make(directory)
    report = check_policy(directory, TODAY)
    for mistake in ALL:
        if mistake.name in chosen:
            assert any(mistake.says in problem.message.en for problem in report.errors), mistake.name
    assert report.waiting, "rules about the whole policy wait, and the report says so"


def _rendered(mistake: Mistake, report: Report) -> str:
    made = "".join(
        f"    {file}\n"
        + "".join(f"  - {line}\n" for line in old.splitlines())
        + "".join(f"  + {line}\n" for line in _cut(new))
        for file, old, new in mistake.edits
    )
    found = "".join(_line("error", problem) for problem in report.errors)
    found += "".join(_line("warning", problem) for problem in report.warnings)
    return f"=== {mistake.name}\n{made}{found}\n"


def _cut(text: str) -> list[str]:
    return [line if len(line) <= 120 else f"{line[:120]}…" for line in text.splitlines()]


def _line(severity: str, problem: Problem) -> str:
    place = f"{Path(problem.file).name}:{problem.line}:{problem.column}"
    return (
        f"{place} {severity} ({problem.path})\n"
        f"    {problem.message.en}\n    {problem.message.ja}\n"
        f"    -> {problem.remedy.en}\n    -> {problem.remedy.ja}\n"
    )
