"""Documentation of the action ``management_path``, which runs on the controller."""

DOCUMENTATION = r"""
module: management_path
short_description: Refuses a policy under which Ansible could not log in any more
description:
  - Reads the compiled truth table and fails, with their names, when there are hosts whose ssh port the controller may not
    open under the policy. Runs on the controller and touches no host.
options:
  truth: {description: C(truth.json) as C(kakoi compile) wrote it., type: path, required: true}
  controller: {description: Host that playbooks are run from., type: str, required: true}
  hosts: {description: Hosts that have to be reachable., type: list, elements: str, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Refuse a policy that would cut the controller off
  management_path:
    truth: build/compiled/truth.json
    controller: admin_station
    hosts: "{{ groups['managed'] }}"
"""

RETURN = ""
