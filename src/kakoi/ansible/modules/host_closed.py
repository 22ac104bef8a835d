"""Ansible module: see that a host is closed, now and at its next boot. Changes nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_closed
short_description: Sees that a host's own firewall is in force, now and at its next boot
description:
  - Reads the kernel and systemd and fails with every reason why the host is not closed.
  - Knows nothing of the compiled rules; it is a second pair of eyes on the result.
options:
  unit: {description: Unit that loads the rules at boot., type: str, default: kakoi-firewall.service}
  table: {description: Name of the table in family inet., type: str, default: kakoi}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: [kakoi]
"""

EXAMPLES = r"""
- name: See that the host is closed
  host_closed:
"""

RETURN = r"""
reasons:
  description: Why the host is not closed, one sentence each.
  type: list
  elements: str
  returned: always
"""

_HOOKS = ("input", "forward", "output")
_STOCK_UNIT = "nftables.service"


def chain_reasons(nft: dict[str, Any], table: str) -> Iterator[str]:
    """Hooks at which nothing drops what no rule accepts, and a lockdown that was never lifted."""
    chains = [item["chain"] for item in nft["nftables"] if "chain" in item and item["chain"]["family"] == "inet"]
    dropping = {chain["hook"] for chain in chains if chain["table"] == table and chain.get("policy") == "drop"}
    yield from (
        f"table inet {table} has no chain with policy drop at the hook {hook}"
        for hook in _HOOKS
        if hook not in dropping
    )
    if any(chain["table"] == f"{table}_lockdown" for chain in chains):
        yield f"table inet {table}_lockdown is still in force: the rules did not load at boot, nothing passes"


def unit_reasons(properties: dict[str, str], unit: str) -> Iterator[str]:
    """Why the rules would not be loaded at the next boot."""
    if properties.get("UnitFileState") != "enabled":
        yield f"{unit} is {properties.get('UnitFileState') or 'not there'}, so the rules are not loaded at boot"
    if properties.get("ActiveState") != "active":
        yield f"{unit} is {properties.get('ActiveState') or 'unknown'}: see `journalctl -u {unit}`"


def stock_reasons(properties: dict[str, str]) -> Iterator[str]:
    """Debian's own unit flushes every rule when it stops, at shutdown too."""
    if properties.get("LoadState") not in {"masked", "not-found"}:
        yield f"{_STOCK_UNIT} is not masked; when it stops, it flushes every rule while packets are still forwarded"


def show(unit: str) -> dict[str, str]:
    """Properties of a unit."""
    command = ["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", unit]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)


def list_chains() -> dict[str, Any]:
    """Every chain of the kernel, from nft's JSON."""
    result = subprocess.run(["/usr/sbin/nft", "-j", "list", "chains"], capture_output=True, text=True, check=True)
    chains: dict[str, Any] = json.loads(result.stdout)
    return chains


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "default": "kakoi-firewall.service"},
            "table": {"type": "str", "default": "kakoi"},
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    try:
        reasons = [
            *chain_reasons(list_chains(), module.params["table"]),
            *unit_reasons(show(unit), unit),
            *stock_reasons(show(_STOCK_UNIT)),
        ]
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        module.fail_json(msg=f"could not find out whether the host is closed: {said}", reasons=[])
    if reasons:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        module.fail_json(
            msg=f"this host is not closed:\n{listed}\n-> run playbooks/apply_firewall.yml", reasons=reasons
        )
    module.exit_json(changed=False, reasons=[])


if __name__ == "__main__":
    main()
