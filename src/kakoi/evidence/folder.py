"""The evidence folder: one run, everything it rests on, and a digest of every file.

Layout of ``<evidence>/<run>/``::

    index.html            the page for people, self-contained
    run.json              when, with which tools, which hosts were expected and reached
    verdict.json          what was asked of the network, judged: equal states give equal bytes, for it holds no time
    proof.json            every guarantee, proved over what the hosts really ran
    policy/*.yml          the policy as it was written
    compiled/             what was put on the hosts, with its manifest
    observed/<host>.json  what each host really ran, command by command
    probe/                what each host was asked and answered, as it answered
    SHA256SUMS            for ``sha256sum --check``: every other file

Everything is written into a sibling folder that takes its name only when it is complete.
"""

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kakoi.canonical import canonical_json, sha256_of
from kakoi.errors import ExitStatus, InputError
from kakoi.observe import HostObservations
from kakoi.probe.judge import Judgement
from kakoi.probe.report import as_json
from kakoi.reach.network.proof import Proof

SUMS = "SHA256SUMS"
_TOOLS = ("kakoi", "ansible-core", "pydantic", "pyyaml")


@dataclass(frozen=True)
class Sources:
    """Folders that a run is made of."""

    policy: Path
    compiled: Path
    observed: Path
    probe: Path


@dataclass(frozen=True)
class Findings:
    """What a run found out: by asking the network, by proof, by reading the hosts back."""

    judgement: Judgement
    proof: Proof
    observed: Mapping[str, HostObservations]

    @property
    def exit_status(self) -> ExitStatus:
        """As bad as the worst: something that does not hold, then something that could not be found out."""
        found = {self.judgement.exit_status, self.proof.status}
        worst_first = (ExitStatus.FAILED, ExitStatus.UNKNOWN)
        return next((status for status in worst_first if status in found), ExitStatus.HELD)


@dataclass(frozen=True)
class RunFacts:
    """When and on what a run was made; kept apart from what it found."""

    started: datetime
    finished: datetime
    place: str
    """Inventory or lab that was asked."""
    policy_sha256: str
    hosts_expected: tuple[str, ...]
    hosts_observed: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the run's folder: its start in UTC, to the second."""
        return self.started.strftime("%Y%m%dT%H%M%SZ")

    @property
    def unread(self) -> tuple[str, ...]:
        """Hosts that were expected and not read back: a run with any of them has not found everything out."""
        return tuple(host for host in self.hosts_expected if host not in self.hosts_observed)

    def document(self) -> dict[str, Any]:
        """As ``run.json`` holds it."""
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "finished": self.finished.isoformat(timespec="seconds"),
            "place": self.place,
            "policy_sha256": self.policy_sha256,
            "hosts_expected": list(self.hosts_expected),
            "hosts_observed": list(self.hosts_observed),
            "tools": {"python": platform.python_version()} | {tool: version(tool) for tool in _TOOLS},
        }


def write_evidence(evidence: Path, facts: RunFacts, sources: Sources, findings: Findings, page: str) -> Path:
    """Write one run's folder and point ``<evidence>/latest`` at it; returns the folder.

    Raises:
        InputError: a run of the same second is there already; nothing is overwritten.
    """
    folder, fresh = evidence / facts.name, evidence / f".{facts.name}.new"
    if folder.exists():
        raise InputError(f"{folder} is there already", "wait a second and start again: evidence is never overwritten")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("compiled", "observed", "probe"):
        shutil.copytree(getattr(sources, name), fresh / name)
    (fresh / "policy").mkdir()
    for file in sorted(sources.policy.glob("*.yml")):
        shutil.copy(file, fresh / "policy")
    (fresh / "run.json").write_text(canonical_json(facts.document()), encoding="utf-8")
    (fresh / "verdict.json").write_text(canonical_json(as_json(findings.judgement)), encoding="utf-8")
    (fresh / "proof.json").write_text(canonical_json(findings.proof.as_json()), encoding="utf-8")
    (fresh / "index.html").write_text(page, encoding="utf-8")
    sums = [f"{digest}  {name}" for name, digest in digests(fresh).items()]
    (fresh / SUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")
    fresh.rename(folder)
    _point_latest(evidence, folder)
    return folder


def digests(folder: Path) -> Mapping[str, str]:
    """Relative path -> SHA-256 of every file below a folder, in path order, without the list of sums itself."""
    files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path.read_bytes()) for path in files if path != folder / SUMS}


def check_sums(folder: Path) -> tuple[str, ...]:
    """What differs from the list of sums: changed, missing and added files, each as a sentence; empty when nothing does.

    Raises:
        InputError: the folder holds no list, or one that is not readable as such.
    """
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} holds no {SUMS}", "name a run's folder, such as build/evidence/latest") from error
    rows = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in text.splitlines()]
    if None in rows:
        raise InputError(f"{folder / SUMS} is damaged", "take the folder from where it was kept")
    told = {row[2]: row[1] for row in rows if row}
    found = digests(folder)
    return (
        *(f"changed: {name}" for name in told if name in found and found[name] != told[name]),
        *(f"missing: {name}" for name in told if name not in found),
        *(f"added: {name}" for name in found if name not in told),
    )


def _point_latest(evidence: Path, folder: Path) -> None:
    pointer = evidence / f".latest.{os.getpid()}"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(folder.name)
    pointer.replace(evidence / "latest")
