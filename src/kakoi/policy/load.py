"""Read a policy folder."""

from pathlib import Path
from typing import Any

import yaml

from kakoi.policy.model import Policy

FILES = {"enclave": None, "zones": ("zones",), "hosts": ("hosts", "groups"), "services": ("services",),
         "flows": ("flows",), "assets": ("assets",), "guarantees": ("guarantees",)}


def load_policy(directory: Path) -> Policy:
    """Read every file of a policy folder."""
    merged: dict[str, Any] = {}
    for name, keys in FILES.items():
        loaded = yaml.load((directory / f"{name}.yml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # noqa: S506
        if keys is None:
            loaded["tasks"] = {k: {"id": k, **v} for k, v in loaded["tasks"].items()}
            merged[name] = loaded
        else:
            for key in keys:
                merged[key] = {k: {"id": k, **v} for k, v in loaded.get(key, {}).items()}
    return Policy.model_validate(merged)
