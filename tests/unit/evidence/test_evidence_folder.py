"""The evidence folder is whole, never overwritten, and shows every change."""

from pathlib import Path

import pytest

from kakoi.canonical import canonical_json
from kakoi.errors import InputError
from kakoi.evidence.folder import Findings, RunFacts, Sources, check_sums, write_evidence
from kakoi.probe.judge import Judgement
from kakoi.probe.report import as_json
from kakoi.reach.network.proof import Proof


@pytest.fixture
def folder(tmp_path: Path, facts: RunFacts, silent: Judgement, proof: Proof) -> Path:
    """A written run."""
    sources = {name: tmp_path / name for name in ("policy", "compiled", "observed", "probe")}
    for name, place in sources.items():
        place.mkdir()
        (place / f"{name}.yml").write_text(name)
    return write_evidence(tmp_path / "evidence", facts, Sources(**sources), Findings(silent, proof, {}), "<p>page</p>")


def test_an_untouched_folder_has_nothing_to_report(folder: Path) -> None:
    """Every file has its digest, and the pointer to the latest run leads here."""
    assert check_sums(folder) == ()
    assert (folder.parent / "latest").resolve() == folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "verdict.json").write_text("{}"), "changed: verdict.json"),
        (lambda run: (run / "observed/observed.yml").unlink(), "missing: observed/observed.yml"),
        (lambda run: (run / "probe/more.json").write_text("{}"), "added: probe/more.json"),
    ],
    ids=["changed", "missing", "added"],
)
def test_every_change_is_named(folder: Path, change: object, said: str) -> None:
    """A file that was changed, removed or added is named."""
    assert callable(change)
    change(folder)
    assert check_sums(folder) == (said,)


def test_a_run_is_never_overwritten(
    folder: Path, facts: RunFacts, silent: Judgement, proof: Proof, tmp_path: Path
) -> None:
    """A second run of the same second is refused and the first stays as it was."""
    sources = Sources(tmp_path / "policy", tmp_path / "compiled", tmp_path / "observed", tmp_path / "probe")
    with pytest.raises(InputError, match="never overwritten"):
        write_evidence(folder.parent, facts, sources, Findings(silent, proof, {}), "another")
    assert (folder / "index.html").read_text() == "<p>page</p>"


def test_equal_findings_give_equal_bytes(silent: Judgement) -> None:
    """The verdict holds no time of day: judging the same answers twice gives the same file."""
    assert canonical_json(as_json(silent)) == canonical_json(as_json(silent))
    assert "2026" not in canonical_json(as_json(silent))
