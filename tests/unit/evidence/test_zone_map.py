"""The zone map shows every zone, gateway and host, and marks those that matter."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kakoi.evidence.zone_map import zone_depths, zone_map_svg
from kakoi.policy import Policy, load_policy

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The reference body."""
    return load_policy(ROOT / "policy")


def test_the_map_is_well_formed_and_names_everything(policy: Policy) -> None:
    """Every zone, gateway and host stands in the drawing under its identifier."""
    text = "".join(ET.fromstring(zone_map_svg(policy)).itertext())  # noqa: S314 - our own text
    missing = [name for name in (*policy.zones, *policy.hosts) if name not in text]
    assert missing == []


def test_rows_follow_the_distance_from_the_internet(policy: Policy) -> None:
    """The data zone lies deeper than the access zone, which lies deeper than the office."""
    depths = zone_depths(policy)
    assert depths["internet"] < depths["office"] < depths["enclave_access"] < depths["enclave_data"]


def test_names_cannot_break_the_drawing(policy: Policy) -> None:
    """A name with markup in it is shown as text."""
    zone = policy.zones["dmz"].model_copy(update={"name": "<b>&公開"})
    changed = policy.model_copy(update={"zones": {**policy.zones, "dmz": zone}})
    assert "<b>&公開" in "".join(ET.fromstring(zone_map_svg(changed)).itertext())  # noqa: S314 - our own text


def test_the_committed_picture_is_current(policy: Policy) -> None:
    """The README's picture is what the policy says today."""
    assert (ROOT / "docs/images/zones.svg").read_text(encoding="utf-8") == zone_map_svg(policy)
