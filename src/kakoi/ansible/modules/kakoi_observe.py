#!/usr/bin/python
"""Read a host's network state by fixed read-only commands, without judging it."""

DOCUMENTATION = r"""
module: kakoi_observe
short_description: Read rulesets, addresses, routes, listeners and boot state of a host
description:
  - Runs a fixed list of read-only commands and returns each with its times, exit status and whole output.
  - Changes nothing, in check mode or out of it. A command that the host does not have is an observation
    with exit status 127, never a failure of the run.
  - The action plugin of the same name writes the result to the controller.
options:
  destination:
    description: File on the controller that takes the result as canonical JSON.
    type: path
    required: true
  timeout_seconds:
    description: How long one command may take.
    type: int
    default: 30
author: kakoi contributors
"""

EXAMPLES = r"""
- name: Read the network state
  kakoi_observe:
    destination: build/observed/{{ inventory_hostname }}.json
"""

RETURN = r"""
observations:
  description: One entry for each command, in the order they ran.
  returned: always
  type: list
  elements: dict
"""

import datetime as dt
import hashlib
import subprocess

from ansible.module_utils.basic import AnsibleModule

COMMANDS = (
    ("machine", ("cat", "/etc/machine-id")),
    ("system", ("cat", "/etc/os-release")),
    ("kernel", ("uname", "-a")),
    ("ruleset", ("nft", "-j", "list", "ruleset")),
    ("ruleset_text", ("nft", "list", "ruleset")),
    ("addresses", ("ip", "-j", "address", "show")),
    ("routes_ipv4", ("ip", "-j", "-4", "route", "show", "table", "all")),
    ("routes_ipv6", ("ip", "-j", "-6", "route", "show", "table", "all")),
    ("policy_rules_ipv4", ("ip", "-j", "-4", "rule", "show")),
    ("policy_rules_ipv6", ("ip", "-j", "-6", "rule", "show")),
    ("forwarding", ("sysctl", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding")),
    ("listeners", ("ss", "-H", "-n", "-l", "-t", "-u", "-p")),
    ("firewall_unit", ("systemctl", "show", "kakoi-firewall.service", "--property=ActiveState,UnitFileState,Result")),
)
"""Name and command: what a reader of the evidence would run himself."""


def now() -> str:
    """The time in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def observe(name: str, command: tuple[str, ...], timeout_seconds: int) -> dict[str, object]:
    """Run one command and record everything about it."""
    started = now()
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_seconds, check=False, stdin=subprocess.DEVNULL
        )
        status, output, errors = done.returncode, done.stdout, done.stderr
    except FileNotFoundError as error:
        status, output, errors = 127, b"", str(error).encode()
    except subprocess.TimeoutExpired as error:
        status, output, errors = 124, error.stdout or b"", b"no answer within the time"
    text = output.decode("utf-8", "backslashreplace")
    return {
        "name": name,
        "command": list(command),
        "started": started,
        "finished": now(),
        "exit_status": status,
        "stdout": text,
        "stderr": errors.decode("utf-8", "backslashreplace"),
        "stdout_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def main() -> None:
    """Run every command once."""
    module = AnsibleModule(
        argument_spec={
            "destination": {"type": "path", "required": True},
            "timeout_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    observations = [observe(name, command, module.params["timeout_seconds"]) for name, command in COMMANDS]
    module.exit_json(changed=False, observations=observations)


if __name__ == "__main__":
    main()
