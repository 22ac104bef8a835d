"""Keep what ``kakoi_observe`` saw on the controller, one file for each host, and spare the log the bulk."""

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from kakoi.canonical import canonical_json


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Runs the module on the host and writes its result where the playbook says."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the number of observations instead of their text."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        result: dict[str, Any] = self._execute_module(task_vars=task_vars)
        observations = result.pop("observations", None)
        if observations is None or result.get("failed"):
            return result
        destination = Path(str(self._task.args["destination"]))
        destination.parent.mkdir(parents=True, exist_ok=True)
        document = {"host": str(task_vars["inventory_hostname"]), "observations": observations}
        destination.write_text(canonical_json(document), encoding="utf-8")
        return {**result, "changed": False, "observed": len(observations), "destination": str(destination)}
