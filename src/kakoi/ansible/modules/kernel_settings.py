"""Ansible module: make the running kernel's settings what a sysctl.d file says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kernel_settings
short_description: Makes the running kernel's settings what a sysctl.d file says
description:
  - Writes only what differs, in the order of the file. At boot the same file is applied by systemd-sysctl.
  - A setting that the kernel does not have is an error, never passed over in silence.
options:
  path: {description: The sysctl.d file on the target., type: path, required: true}
  content: {description: Text that O(path) is going to have; give it in check mode., type: str}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Apply the network settings
  kernel_settings:
    path: /etc/sysctl.d/90-kakoi.conf
"""

RETURN = ""

_ROOT = Path("/proc/sys")


class SettingError(Exception):
    """A setting that cannot be read or does not stay."""


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Key and value of each line of a sysctl.d file."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in "#;":
            key, _, value = stripped.partition("=")
            yield key.strip(), " ".join(value.split())


def place(key: str, root: Path = _ROOT) -> Path:
    """File of a setting below ``/proc/sys``; a slash in a key stands for itself, a dot for a slash (sysctl.d(5))."""
    return root / (key if "/" in key else key.replace(".", "/"))


def read(key: str, root: Path = _ROOT) -> str:
    """Value in force, with single blanks."""
    try:
        return " ".join(place(key, root).read_text(encoding="utf-8").split())
    except OSError as error:
        raise SettingError(f"this kernel has no setting {key} ({error.strerror}): remove it from the file") from error


def write(key: str, value: str, root: Path = _ROOT) -> None:
    """Set a value and see that it stays."""
    try:
        place(key, root).write_text(value, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"{key} cannot be set to {value}: {error.strerror}") from error
    now = read(key, root)
    if now != value:
        raise SettingError(f"{key} was set to {value} but is {now}")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "content": {"type": "str"}},
        supports_check_mode=True,
    )
    path, content = Path(module.params["path"]), module.params["content"]
    before, after = "", ""
    try:
        for key, value in parse(content if content is not None else path.read_text(encoding="utf-8")):
            found = read(key)
            if found == value:
                continue
            before, after = f"{before}{key} = {found}\n", f"{after}{key} = {value}\n"
            if not module.check_mode:
                write(key, value)
    except (SettingError, OSError) as error:
        module.fail_json(msg=str(error), changed=bool(after) and not module.check_mode)
    diff = {"before_header": "in force", "before": before, "after_header": str(path), "after": after}
    module.exit_json(changed=bool(after), diff=diff if after else {})


if __name__ == "__main__":
    main()
