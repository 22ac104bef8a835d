"""Run one of the project's playbooks through ansible-runner and tell what happened, host by host."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ansible_runner

from kakoi.errors import KakoiError

RUNS_KEPT = 10
"""Runs of one playbook whose files are kept."""

type Progress = Callable[[str, int, int], None]
"""Called with the task's title, how many hosts have finished it, and how many take part."""


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host, or a host that did not answer."""

    host: str
    task: str
    message: str
    unreachable: bool


@dataclass(frozen=True)
class PlaybookResult:
    """How a run ended."""

    playbook: str
    exit_status: int
    hosts: tuple[str, ...]
    """Hosts that took part, in name order."""
    changed: Mapping[str, int]
    """Host -> number of tasks that changed something."""
    failures: tuple[Failure, ...]
    results: Mapping[str, Mapping[str, Any]]
    """Host -> result of the task that the caller asked to keep, failed or not."""
    log: Path
    """ansible-playbook's own output."""

    @property
    def held(self) -> bool:
        """True when every task ended well on every host."""
        return self.exit_status == 0 and not self.failures

    def require(self) -> None:
        """Stop with what failed, where, and how to go on.

        Raises:
            KakoiError: a task failed or a host did not answer.
        """
        if self.held:
            return
        said = [f"{failure.host}: {failure.task}: {failure.message}" for failure in self.failures]
        raise KakoiError(
            f"{self.playbook} stopped:\n    " + "\n    ".join(said or ["no host reported; see the log"]),
            f"mend it and start again, finished hosts are passed over quickly; whole output: {self.log}",
        )


@dataclass
class _Watcher:
    """Collects ansible-runner's events (the one place that keeps state while a playbook runs)."""

    progress: Progress | None
    kept_task: str = ""
    task: str = ""
    started: int = 0
    finished: int = 0
    failures: list[Failure] = field(default_factory=list)
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, event: Mapping[str, Any]) -> bool:
        data = event.get("event_data") or {}
        match event["event"]:
            case "playbook_on_task_start":
                self.task, self.started, self.finished = str(data.get("task", "")), 0, 0
            case "runner_on_start":
                self.started += 1
            case "runner_on_ok" | "runner_on_skipped":
                self.finished += 1
            case ("runner_on_failed" | "runner_on_unreachable") as kind:
                self.finished += 1
                if not data.get("ignore_errors"):
                    self._fail(data, unreachable=kind == "runner_on_unreachable")
            case "playbook_on_stats":
                self.stats = {key: dict(data.get(key) or {}) for key in ("processed", "changed")}
        if self.kept_task and str(data.get("task", "")) == self.kept_task and data.get("res") is not None:
            self.results[str(data["host"])] = dict(data["res"])
        if self.progress:
            self.progress(self.task, self.finished, max(self.started, self.finished))
        return False

    def _fail(self, data: Mapping[str, Any], *, unreachable: bool) -> None:
        result = data.get("res") or {}
        message = str(result.get("msg") or result.get("stderr") or "no message").strip()
        self.failures.append(Failure(str(data.get("host", "")), str(data.get("task", "")), message, unreachable))


def _fresh_place(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(path for path in runs.iterdir() if path.is_dir())[: -RUNS_KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)
    place = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    place.mkdir()
    return place


def run_playbook(
    root: Path,
    playbook: str,
    inventory: Path,
    *,
    extra_variables: Mapping[str, Any] | None = None,
    check: bool = False,
    keep: str = "",
    progress: Progress | None = None,
) -> PlaybookResult:
    """Run ``playbooks/<playbook>.yml`` of the project against an inventory and wait for its end.

    ``keep`` names the one task whose result is wanted from each host.

    The run's own files lie in ``build/playbooks/<playbook>/<time>/``: two runs at once do not meet. The latest
    ``RUNS_KEPT`` of each playbook are kept.
    """
    place = _fresh_place(root / "build" / "playbooks" / playbook)
    watcher = _Watcher(progress, keep)
    runner = ansible_runner.run(
        private_data_dir=str(place),
        project_dir=str(root),
        playbook=str(root / "playbooks" / f"{playbook}.yml"),
        inventory=str(inventory),
        extravars=dict(extra_variables or {}),
        cmdline="--check --diff" if check else None,
        ident="run",
        quiet=True,
        event_handler=watcher,
        settings={"suppress_env_files": True},
        envvars={
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        },
    )
    hosts = tuple(sorted(watcher.stats.get("processed", {})))
    return PlaybookResult(
        playbook=playbook,
        exit_status=int(runner.rc),
        hosts=hosts,
        changed={host: int(watcher.stats.get("changed", {}).get(host, 0)) for host in hosts},
        failures=tuple(watcher.failures),
        results=watcher.results,
        log=place / "artifacts" / "run" / "stdout",
    )
