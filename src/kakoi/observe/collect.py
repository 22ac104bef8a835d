"""Read every managed host of an inventory into a folder."""

from collections.abc import Mapping
from pathlib import Path

from kakoi.observe.observation import HostObservations, read_observed
from kakoi.playbook import Progress, run_playbook


def observe(root: Path, inventory: Path, out: Path, progress: Progress | None = None) -> Mapping[str, HostObservations]:
    """Run ``playbooks/observe.yml`` and read its files back; what an earlier run left in ``out`` is removed.

    Raises:
        KakoiError: a host did not answer; the others' files are kept.
    """
    for old in out.glob("*.json"):
        old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    result = run_playbook(
        root, "observe", inventory, extra_variables={"kakoi_observed_directory": str(out.resolve())}, progress=progress
    )
    result.require()
    return read_observed(out)
