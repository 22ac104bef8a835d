"""podman as the lab uses it: settings of our own, never those of the person who runs it."""

import json
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kakoi.lab.names import Lab
from kakoi.lab.system import run, run_anyhow, write_private

_PURE_CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers")
_MOST_FILES, _MOST_PROCESSES = 65536, 16384
"""Limits of one machine. podman's own defaults lie above what a caller without CAP_SYS_RESOURCE may grant."""


@dataclass(frozen=True, slots=True)
class Podman:
    """Runs podman with the lab's own containers.conf(5)."""

    configuration: Path

    def __call__(self, *arguments: str) -> str:
        """Run podman and return its output; raises ``CommandError``."""
        return run("podman", *arguments, environment=self.environment)

    def anyhow(self, *arguments: str) -> tuple[int, str, str]:
        """Run podman; exit status, output, errors."""
        return run_anyhow("podman", *arguments, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make podman read the lab's settings only."""
        return {"CONTAINERS_CONF": str(self.configuration)}

    def containers(self, *labels: str) -> list[dict[str, Any]]:
        """Every container that bears all these labels, running or not, as ``podman ps`` tells it."""
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        found: list[dict[str, Any]] = json.loads(self("ps", "--all", *filters, "--format", "json") or "[]")
        return found

    def has_image(self, name: str) -> bool:
        """Whether an image of this name is in podman's store."""
        return self.anyhow("image", "exists", name)[0] == 0


def podman_for(lab: Lab) -> Podman:
    """Podman with settings that fit this machine, written to the lab's folder."""
    lab.state.mkdir(parents=True, exist_ok=True)
    configuration = lab.state / "containers.conf"
    write_private(configuration, configuration_text(cgroup_v2=_PURE_CGROUP_V2.exists(), limits=_hard_limits()))
    return Podman(configuration)


def configuration_text(*, cgroup_v2: bool, limits: tuple[int, int]) -> str:
    """containers.conf(5) of the lab.

    Args:
        cgroup_v2: Control groups are purely version 2; where they are not, crun refuses and runc is needed.
        limits: The caller's hard limits: open files, processes (-1: none).
    """
    files, processes = (
        most if limit == resource.RLIM_INFINITY else min(limit, most)
        for limit, most in zip(limits, (_MOST_FILES, _MOST_PROCESSES), strict=True)
    )
    lines = [
        "[engine]",
        *([] if cgroup_v2 else ['runtime = "runc"']),
        'events_logger = "none"',
        "[containers]",
        f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]',
        'log_driver = "k8s-file"',
        "log_size_max = 1048576",
    ]
    return "\n".join(lines) + "\n"


def needs_runc() -> bool:
    """Whether this machine's control groups rule crun out."""
    return not _PURE_CGROUP_V2.exists()


def _hard_limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_NPROC)[1]


def replace_us_with(podman: Podman, arguments: Sequence[str]) -> None:
    """Become podman (a shell in a machine): terminal, signals and exit status are podman's from here on."""
    os.execvpe("podman", ["podman", *arguments], {**os.environ, **podman.environment})  # noqa: S606 - a list, no shell
