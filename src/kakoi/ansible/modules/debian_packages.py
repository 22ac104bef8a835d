"""Ansible module: install Debian packages, one call for the whole list."""

from __future__ import annotations

import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: debian_packages
short_description: Installs Debian packages
description:
  - Asks dpkg which packages are missing and installs only those, without recommended packages.
  - Configuration files that are already there, because a role wrote them first, are kept as they are.
  - Nothing is asked of the repository while nothing is missing; so a run without changes costs one C(dpkg-query), and
    check mode works before the sources are in place.
options:
  names: {description: Packages that shall be installed., type: list, elements: str, required: true}
  lock_timeout_seconds: {description: How long to wait for another apt or dpkg., type: int, default: 300}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Install the time client
  debian_packages:
    names: [chrony]
"""

RETURN = r"""
installed:
  description: Packages that were missing and are installed now (or would be).
  type: list
  elements: str
  returned: always
"""

_LAST_LINES = 15


def missing(names: list[str]) -> list[str]:
    """Packages of the list that dpkg does not call installed."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\n", *names]
    # dpkg-query exits 1 when it does not know a package: then the package is simply not in its output.
    listing = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    present = {words[0] for words in map(str.split, listing.splitlines()) if words[1][1:] == "i"}
    return [name for name in names if name not in present]


def apt_get(lock_timeout_seconds: int, *arguments: str) -> str | None:
    """Run apt-get without questions; returns the end of what it said when it failed."""
    command = ["apt-get", "--quiet=2", "--option", f"DPkg::Lock::Timeout={lock_timeout_seconds}", *arguments]
    environment = {
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "UCF_FORCE_CONFFOLD": "1",
    }
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )
    if result.returncode == 0:
        return None
    return "\n".join((result.stdout + result.stderr).strip().splitlines()[-_LAST_LINES:])


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "lock_timeout_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    wanted = missing(module.params["names"])
    if wanted and not module.check_mode:
        timeout = module.params["lock_timeout_seconds"]
        refusal = apt_get(timeout, "--error-on=any", "update")
        if refusal is not None:
            module.fail_json(msg=f"the package lists could not be fetched from the mirror: {refusal}")
        keep = ("--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold")
        refusal = apt_get(timeout, "--yes", "--no-install-recommends", *keep, "install", "--", *wanted)
        if refusal is not None:
            module.fail_json(msg=f"{', '.join(wanted)} could not be installed: {refusal}")
        still = missing(wanted)
        if still:
            module.fail_json(msg=f"apt reported success but {', '.join(still)} is not installed")
    after = "".join(f"{name}\n" for name in wanted)
    diff = {"before_header": "packages missing", "before": "", "after_header": "packages installed", "after": after}
    module.exit_json(changed=bool(wanted), installed=wanted, diff=diff if wanted else {})


if __name__ == "__main__":
    main()
