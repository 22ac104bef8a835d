"""Ansible action on the controller: refuse a policy under which Ansible could not log in any more."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, override

from ansible.plugins.action import ActionBase

_SSH_PORT = 22


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Reads the compiled truth table; runs nothing on any host."""

    _supports_check_mode = True
    _requires_connection = False

    @override
    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        cells = json.loads(Path(str(arguments["truth"])).read_text(encoding="utf-8"))
        controller = str(arguments["controller"])
        cut_off = hosts_cut_off(cells, controller, map(str, arguments["hosts"]))
        result["changed"] = False
        if cut_off:
            result["failed"] = True
            result["msg"] = (
                f"the policy does not let the controller ({controller}) open ssh (tcp/{_SSH_PORT}) to {', '.join(cut_off)}; "
                "after applying it nobody could log in there any more, so nothing was done. "
                f"Add a flow from {controller} to these hosts with the ssh service to flows.yml"
            )
        return result


def hosts_cut_off(cells: Iterable[Mapping[str, Any]], controller: str, hosts: Iterable[str]) -> list[str]:
    """Hosts, other than the controller, whose ssh the truth table does not call open from the controller."""
    admitted = {
        cell["destination"]
        for cell in cells
        if (cell["source"], cell["protocol"], cell["port"], cell["expected"]) == (controller, "tcp", _SSH_PORT, "open")
    }
    return [host for host in hosts if host != controller and host not in admitted]
