"""Ansible inventory plugin: hosts, groups and connection of a policy folder."""

import os
import sys
from pathlib import Path
from typing import Any, override

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

from kakoi.ansible.inventory_plan import LabAccess, PlannedInventory, plan_inventory
from kakoi.errors import KakoiError
from kakoi.policy import load_policy

DOCUMENTATION = """
name: kakoi_policy
short_description: The hosts of a kakoi policy
description:
  - Reads a policy folder and offers its hosts, with their zones, addresses and compiled files, as an inventory.
  - Groups are C(managed), C(external), C(gateways), C(controllers), C(package_mirrors), C(time_servers), and
    C(zone_<zone>), C(kind_<kind>), C(os_<os>).
  - A policy that is wrong stops the run with the policy's own messages.
options:
  plugin:
    description: Marks the file as this plugin's.
    required: true
    choices: [kakoi_policy]
  policy:
    description: Policy folder, relative to this file.
    type: str
    required: true
  compiled:
    description: Folder of the compiled files on the controller, relative to this file.
    type: str
    default: ../../build/compiled
  lab:
    description:
      - Name of a lab on this machine whose hosts are meant. E(KAKOI_LAB) overrides it.
      - Without it, hosts are reached over plain ssh at the addresses of the policy.
    type: str
"""

EXAMPLES = """
# inventories/example/kakoi.yml: real machines
plugin: kakoi_policy
policy: ../../policy

# inventories/lab/kakoi.yml: the lab on this machine
plugin: kakoi_policy
policy: ../../policy
lab: kakoi
"""

_LAB_STATE = Path("/run/kakoi")


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # ansible-core ships no types
    """Hands a planned inventory to Ansible."""

    NAME = "kakoi_policy"

    @override
    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("kakoi.yml", "kakoi.yaml"))

    @override
    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        # str() drops the tags that Ansible puts on what it read from YAML; kakoi takes plain strings only.
        directory = _beside(path, str(self.get_option("policy")))
        compiled = _beside(path, str(self.get_option("compiled")))
        lab = self.get_option("lab")
        try:
            planned = plan_inventory(load_policy(directory), compiled, lab_access(str(lab)) if lab else None)
        except KakoiError as error:
            raise AnsibleParserError(f"policy {directory}: {error}") from error
        self._publish(planned, {"kakoi_policy_directory": str(directory)})

    def _publish(self, planned: PlannedInventory, extra: dict[str, str]) -> None:
        for name, value in {**planned.variables, **extra}.items():
            self.inventory.set_variable("all", name, value)
        for host, plan in planned.hosts.items():
            self.inventory.add_host(host)
            for group in plan.groups:
                self.inventory.add_child(self.inventory.add_group(group), host)
            for name, value in plan.variables.items():
                self.inventory.set_variable(host, name, value)


def lab_access(name: str) -> LabAccess:
    """Access to the lab of this name, or to the one that KAKOI_LAB names."""
    name = os.environ.get("KAKOI_LAB") or name
    return LabAccess(
        name=name,
        state=_LAB_STATE / name,
        connect=Path(__file__).resolve().parents[2] / "lab" / "nsconnect.py",
        python=Path(sys.executable),
    )


def _beside(path: str, relative: str) -> Path:
    return (Path(path).resolve().parent / relative).resolve()
