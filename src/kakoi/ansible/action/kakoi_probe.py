"""Give a host its order from the run's folder, and keep the answer there, one file for each host."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from kakoi.canonical import canonical_json


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Runs the module on the host with the order that was planned for it."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return how it went; the answer itself goes to ``<run>/<host>.json`` under the name of the action."""
        skipped: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        host, action = str(task_vars["inventory_hostname"]), str(self._task.args["action"])
        folder = Path(str(self._task.args["run"]))
        orders = json.loads((folder / "orders" / f"{host}.json").read_text(encoding="utf-8"))
        order = orders[action]
        if action == "attack" and not order["assaults"]:
            return {**skipped, "skipped": True, "changed": False}
        started = _now()
        result: dict[str, Any] = self._execute_module(
            module_args={**self._task.args, "order": json.dumps(order)}, task_vars=task_vars
        )
        answer = result.pop("answer", None)
        if answer is None:
            answer = {"error": str(result.get("msg") or result.get("module_stderr") or "the module gave no answer")}
        _keep(folder / f"{host}.json", host, action, {"started": started, "finished": _now(), "answer": answer})
        if "error" in answer:
            return {**result, "failed": True, "msg": str(answer["error"])}
        return {**result, "changed": False}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def _keep(file: Path, host: str, action: str, entry: dict[str, Any]) -> None:
    document: dict[str, Any] = {"host": host, "actions": {}}
    if file.exists():
        document = json.loads(file.read_text(encoding="utf-8"))
    document["actions"][action] = entry
    file.write_text(canonical_json(document), encoding="utf-8")
