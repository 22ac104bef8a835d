#!/usr/bin/python
"""Carry out one order of the probe on a host: listen, connect, attack, collect or stop."""

DOCUMENTATION = r"""
module: kakoi_probe
short_description: Ask the network from a host, or listen on it
description:
  - Hands one order to the probe's agent and returns its answer. Judges nothing.
  - Nothing on the host changes. C(listen) starts a process that ends by itself after the order's lifetime; C(stop) ends it.
  - The action plugin of the same name takes the order from the run's folder on the controller and keeps the answer there.
options:
  action:
    description: What to do.
    type: str
    required: true
    choices: [listen, connect, attack, collect, stop]
  run:
    description: Folder of the run on the controller, with C(orders/<host>.json); takes C(<host>.json).
    type: path
    required: true
  order:
    description: The order as JSON. Put here by the action plugin.
    type: str
author: kakoi contributors
"""

EXAMPLES = r"""
- name: Ask every cell
  kakoi_probe:
    action: connect
    run: build/verify/20261201T090000
"""

RETURN = r"""
answer:
  description: The agent's answer; the action plugin writes it to a file instead.
  returned: always
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kakoi_agent import run


def main() -> None:
    """Carry out the order."""
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "required": True,
                "choices": ["listen", "connect", "attack", "collect", "stop"],
            },
            "run": {"type": "path", "required": True},
            "order": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not module.params["order"]:
        module.fail_json(msg="no order was given; the action plugin of the same name gives it")
    module.exit_json(changed=False, answer=run(json.loads(module.params["order"])))


if __name__ == "__main__":
    main()
