"""Ansible module: place one sshd drop-in, but only if it takes effect and the account in use still gets in."""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sshd_dropin
short_description: Places one sshd drop-in without shutting anybody needed out
description:
  - Builds the configuration as it would be in a folder of its own, asks C(sshd -T) what would be in force for the account
    and address that must get in, and refuses when that account would be shut out.
  - Refuses as well when a line of the drop-in would have no effect, because an earlier file says otherwise (sshd takes the
    first value it meets). So what the drop-in says is what holds.
  - A changed drop-in is put in force at once, by reloading sshd in the same call, so that a run that is cut off never leaves
    a file that says more than what holds. Connections that are open stay open.
  - Both are judged in check mode too, and on every run, changed or not.
options:
  path: {description: The drop-in., type: path, default: /etc/ssh/sshd_config.d/00-kakoi.conf}
  content: {description: Its text., type: str, required: true}
  must_admit: {description: Account that has to get in with a key., type: str, required: true}
  from_address: {description: Address that this account comes from., type: str, default: 127.0.0.1}
  main: {description: Main file of sshd., type: path, default: /etc/ssh/sshd_config}
  program: {description: The sshd that judges., type: path, default: /usr/sbin/sshd}
  reload:
    description: Command that makes sshd read its files again.
    type: list
    elements: str
    default: [systemctl, reload, ssh.service]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Close sshd to passwords
  sshd_dropin:
    content: |
      PasswordAuthentication no
      AllowUsers automation
    must_admit: automation
"""

RETURN = ""

_COMBINED = {"allowusers", "denyusers", "allowgroups", "denygroups", "acceptenv", "hostkey", "port", "listenaddress"}
"""Keywords whose lines add up instead of the first one winning."""


class RefusalError(Exception):
    """Why the drop-in may not be placed."""


def candidate_main(main: str, folder: Path, stand_in: Path) -> str:
    """The main file with the drop-in folder's Include pointed at a stand-in for that folder."""
    pattern = re.compile(rf"(?im)^(\s*Include\s+){re.escape(str(folder))}(/\S+)")
    replaced, count = pattern.subn(lambda match: f"{match[1]}{stand_in}{match[2]}", main)
    first_match = re.search(r"(?im)^\s*Match\s", main)
    include = pattern.search(main)
    if not count or (first_match and include and first_match.start() < include.start()):
        raise RefusalError(
            f"sshd does not read {folder} for everybody: put `Include {folder}/*.conf` at the top of sshd_config, as Debian does"
        )
    return replaced


def effective(program: str, config: Path, user: str, address: str) -> dict[str, list[str]]:
    """What would be in force for one connection: keyword in lower case -> its values."""
    condition = f"user={user},host={address},addr={address}"
    result = subprocess.run(
        [program, "-T", "-f", str(config), "-C", condition], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise RefusalError(f"sshd does not take the new configuration, nothing was changed: {result.stderr.strip()}")
    settings: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(keyword, []).append(value)
    return settings


def lines_without_effect(content: str, settings: dict[str, list[str]]) -> Iterator[str]:
    """Lines of the drop-in that something else overrules."""
    for line in content.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if not keyword or keyword.startswith("#") or keyword.lower() in _COMBINED:
            continue
        in_force = settings.get(keyword.lower(), [])
        if value.strip().lower() not in {each.lower() for each in in_force}:
            yield f"`{line.strip()}` (in force: {', '.join(in_force) or 'nothing'})"


def reasons_to_shut_out(settings: dict[str, list[str]], user: str, groups: set[str], address: str) -> Iterator[str]:
    """Why this account would not get in with a key any more."""
    if settings.get("pubkeyauthentication") != ["yes"]:
        yield "PubkeyAuthentication is off"
    methods = " ".join(settings.get("authenticationmethods", ["any"])).split()
    if not {"any", "publickey"} & set(methods):
        yield f"AuthenticationMethods asks for more than a key: {' '.join(methods)}"
    if user == "root" and settings.get("permitrootlogin", ["no"]) == ["no"]:
        yield "PermitRootLogin is no"
    if "allowusers" in settings and not _matches_user(settings["allowusers"], user, address):
        yield f"AllowUsers names only {', '.join(settings['allowusers'])}"
    if _matches_user(settings.get("denyusers", []), user, address):
        yield f"DenyUsers names {', '.join(settings['denyusers'])}"
    if "allowgroups" in settings and not _matches_group(settings["allowgroups"], groups):
        yield f"AllowGroups names only {', '.join(settings['allowgroups'])}"
    if _matches_group(settings.get("denygroups", []), groups):
        yield f"DenyGroups names {', '.join(settings['denygroups'])}"


def _matches_user(patterns: list[str], user: str, address: str) -> bool:
    for pattern in " ".join(patterns).split():
        name, at, host = pattern.partition("@")
        if fnmatch.fnmatchcase(user, name) and (not at or fnmatch.fnmatchcase(address, host)):
            return True
    return False


def _matches_group(patterns: list[str], groups: set[str]) -> bool:
    return any(fnmatch.fnmatchcase(group, pattern) for pattern in " ".join(patterns).split() for group in groups)


def groups_of(user: str) -> set[str]:
    """Names of every group of an account."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise RefusalError(f"the account {user}, which has to get in, does not exist here") from None
    return {grp.getgrgid(number).gr_name for number in os.getgrouplist(user, entry.pw_gid)}


def judge(main: Path, path: Path, content: str, *, program: str, user: str, address: str) -> None:
    """Refuse a drop-in that would shut the account out or would not hold."""
    with tempfile.TemporaryDirectory(prefix="kakoi-") as name:
        stand_in = Path(name) / "sshd_config.d"
        stand_in.mkdir()
        for other in path.parent.glob("*.conf"):
            (stand_in / other.name).write_bytes(other.read_bytes())
        (stand_in / path.name).write_text(content, encoding="utf-8")
        config = Path(name) / "sshd_config"
        config.write_text(candidate_main(main.read_text(encoding="utf-8"), path.parent, stand_in), encoding="utf-8")
        settings = effective(program, config, user, address)
    reasons = list(reasons_to_shut_out(settings, user, groups_of(user), address))
    if reasons:
        raise RefusalError(
            f"{user} from {address}, the account in use now, would be shut out; nothing was changed: {'; '.join(reasons)}. "
            f"Add {user} to the accounts that may log in, or run Ansible as one that may"
        )
    ineffective = list(lines_without_effect(content, settings))
    if ineffective:
        raise RefusalError(
            f"lines of {path} would have no effect, because sshd met another value first: {'; '.join(ineffective)}. "
            f"Remove that value from {main} above its Include line, or from a file that sorts before {path.name}"
        )


def write(path: Path, content: str) -> None:
    """Replace the drop-in atomically, readable by everybody, writable by root."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), 0o644)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)


def reload(command: list[str]) -> None:
    """Make sshd read its files again."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RefusalError(f"the drop-in is in place but sshd did not read it again: {result.stderr.strip()}")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/ssh/sshd_config.d/00-kakoi.conf"},
            "content": {"type": "str", "required": True},
            "must_admit": {"type": "str", "required": True},
            "from_address": {"type": "str", "default": "127.0.0.1"},
            "main": {"type": "path", "default": "/etc/ssh/sshd_config"},
            "program": {"type": "path", "default": "/usr/sbin/sshd"},
            "reload": {"type": "list", "elements": "str", "default": ["systemctl", "reload", "ssh.service"]},
        },
        supports_check_mode=True,
    )
    given = module.params
    path, content = Path(given["path"]), given["content"]
    try:
        judge(
            Path(given["main"]),
            path,
            content,
            program=given["program"],
            user=given["must_admit"],
            address=given["from_address"],
        )
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before != content and not module.check_mode:
            write(path, content)
            reload(given["reload"])
    except (RefusalError, OSError) as refusal:
        module.fail_json(msg=str(refusal))
    diff = {"before_header": str(path), "before": before, "after_header": str(path), "after": content}
    module.exit_json(changed=before != content, diff=diff if before != content else {})


if __name__ == "__main__":
    main()
