"""Observations: a command that was run on a host, when, how it ended and every byte it printed.

An observation judges nothing. One file for each host, as the Ansible module ``kakoi_observe`` leaves it:
``{"host": "...", "observations": [{"name", "command", "started", "finished", "exit_status", "stdout", "stderr",
"stdout_sha256"}]}``; times are UTC in ISO 8601, digests are of the UTF-8 bytes of ``stdout``.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from kakoi.errors import InputError


class Observation(BaseModel):
    """One command on one host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """What was asked, e.g. ``ruleset``: unique within a host's file."""
    command: tuple[str, ...]
    started: str
    finished: str
    exit_status: int
    """As the command ended; 127 where the host does not have the program."""
    stdout: str
    stderr: str
    stdout_sha256: str

    @model_validator(mode="after")
    def _digest_matches(self) -> Self:
        if hashlib.sha256(self.stdout.encode()).hexdigest() != self.stdout_sha256:
            message = "the output is not the one that was recorded: its SHA-256 differs"
            raise ValueError(message)
        return self


class HostObservations(BaseModel):
    """Everything that one run saw on one host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    observations: tuple[Observation, ...]

    def named(self, name: str) -> Observation | None:
        """The observation of that name, or None where nobody made it."""
        return next((observation for observation in self.observations if observation.name == name), None)


def read_observed(directory: Path) -> Mapping[str, HostObservations]:
    """Read a folder of ``<host>.json`` files.

    Raises:
        InputError: a file is missing, damaged, changed since it was written, or carries another host's name.
    """
    files = sorted(directory.glob("*.json"))
    if not files:
        raise InputError(f"{directory} holds no observations", "run: kakoi observe --out DIR")
    observed: dict[str, HostObservations] = {}
    for file in files:
        try:
            found = HostObservations.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError) as error:
            raise InputError(
                f"{file}: not an observation that kakoi wrote: {error}", "run: kakoi observe again"
            ) from error
        if found.host != file.stem:
            raise InputError(f"{file}: says that it is of the host {found.host}", "give the file its own name back")
        observed[found.host] = found
    return observed
