"""Controller's half of ``host_files``: turns ``source`` and ``template`` into text before the one call goes out."""

import os
from pathlib import Path
from typing import Any, override

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Reads files and renders templates, then runs the module once."""

    _supports_check_mode = True
    _requires_connection = True

    @override
    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        arguments["files"] = [self._with_text(dict(entry), variables) for entry in arguments.get("files") or []]
        result.update(self._execute_module(module_name="host_files", module_args=arguments, task_vars=variables))
        return result

    def _with_text(self, entry: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        given = [key for key in ("content", "source", "template") if entry.get(key) is not None]
        if len(given) > 1:
            raise AnsibleActionFail(f"{entry.get('dest')}: give one of {', '.join(given)}, not {len(given)}")
        if given == ["source"]:
            entry["content"] = self._read("files", entry.pop("source"))
        elif given == ["template"]:
            entry["content"] = self._render(entry.pop("template"), variables)
        return entry

    def _find(self, folder: str, name: str) -> str:
        try:
            return str(self._find_needle(folder, name))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{name} is not on the controller: {error}") from error

    def _read(self, folder: str, name: str) -> str:
        return Path(self._find(folder, name)).read_text(encoding="utf-8")

    def _render(self, name: str, variables: dict[str, Any]) -> str:
        path = self._find("templates", name)
        folders = [*variables.get("ansible_search_path", []), os.path.dirname(path)]  # noqa: PTH120 - Ansible's paths are strings
        templar = self._templar.copy_with_new_env(searchpath=folders, available_variables=variables)
        text = templar.template(
            trust_as_template(Path(path).read_text(encoding="utf-8")),
            escape_backslashes=False,
            overrides={"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True},
        )
        return str(text)
