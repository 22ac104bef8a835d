"""The golden cases: small policies, numbered in order of learning, and what they compile to.

A case is one ``policy.yml`` with zones, hosts, services and flows. What says nothing here is filled in: the body, and
why and by whom a flow was allowed. Domain rules are not asked, so that a case can show one thing and no more.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from kakoi.policy.model import Policy

FOLDER = Path(__file__).parent
CASES = tuple(sorted(path.parent.name for path in FOLDER.glob("*/policy.yml")))
_APPROVAL = {"purpose": "例", "approver": "例", "approved": date(2026, 10, 1), "review_by": date(2027, 9, 30)}


def golden_policy(case: str) -> Policy:
    """The policy of one case."""
    return policy_from(yaml.safe_load((FOLDER / case / "policy.yml").read_text(encoding="utf-8")))


def expected(case: str) -> dict[str, str]:
    """Host -> the reviewed ruleset."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((FOLDER / case / "expected").glob("*.nft"))}


def policy_from(sections: Mapping[str, Any]) -> Policy:
    """A policy from its four sections, with the rest filled in."""
    hosts = _with_ids(sections["hosts"])
    first = next(iter(hosts))
    return Policy.model_validate(
        {
            "enclave": {
                "body": {"name": "架空県", "name_en": "Kakuu Prefecture", "domain": "kakuu.example", "fictional": True},
                "model": "beta_prime",
                "guideline": {"name": "例", "version": "例"},
                "tasks": {},
                "administration": {
                    "controller": first,
                    "automation_user": "automation",
                    "package_mirror": first,
                    "time_server": first,
                },
            },
            "zones": _with_ids(sections["zones"]),
            "hosts": hosts,
            "services": _with_ids(sections["services"]),
            "flows": {key: _APPROVAL | flow for key, flow in _with_ids(sections["flows"]).items()},
        }
    )


def _with_ids(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {"id": key} | entry for key, entry in section.items()}
