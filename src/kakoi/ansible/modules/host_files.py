"""Ansible module: make a list of files exactly so, in one call."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_files
short_description: Makes a list of files exactly so
description:
  - One call for every file of a role, because each call of a module costs the target a new process.
  - All new contents are validated before the first file is touched. Each file is replaced atomically, in the order of
    the list. Missing parent folders are made (root, C(0755)).
  - The action part reads O(files[].source) and O(files[].template) on the controller and sends O(files[].content).
options:
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path on the target., type: path, required: true}
      state:
        description: What stands at O(files[].dest).
        type: str
        choices: [file, link, directory, absent]
        default: file
      content: {description: Text of a file., type: str}
      source: {description: File on the controller with the text., type: path}
      template: {description: Template on the controller that gives the text., type: path}
      target: {description: Where a link points to., type: str}
      owner: {description: Owner of a file or folder., type: str, default: root}
      group: {description: Group of a file or folder., type: str, default: root}
      mode: {description: Mode in octal., type: str, default: '0644'}
      validate:
        description:
          - Command that judges the new text of a changed file; C(%s) is its temporary path. Runs in check mode too.
          - A program that is not installed yet cannot judge; the file is then named in RV(unvalidated).
        type: list
        elements: str
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Ship the files of the time client
  host_files:
    files:
      - dest: /etc/chrony/chrony.conf
        template: etc/chrony/chrony.conf.j2
        validate: [/usr/sbin/chronyd, -p, -f, '%s']
      - dest: /etc/systemd/system/nftables.service
        state: link
        target: /dev/null
"""

RETURN = r"""
changed_files:
  description: Every path that was changed, or would be, in the order of the list.
  type: list
  elements: str
  returned: always
unvalidated:
  description: Changed paths whose program for validation is not installed yet.
  type: list
  elements: str
  returned: always
"""

_DIFF_LIMIT_BYTES = 100_000
_ABSENT = "absent"


class FileError(Exception):
    """A file cannot be made so: what was found, and what to do."""


@dataclass(frozen=True)
class Entry:
    """One path and what it shall be."""

    dest: Path
    state: str
    text: bytes = b""
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0o644
    validate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What stands at a path; ``state`` is ``other`` for devices, sockets and the like."""

    state: str
    text: bytes = b""
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0


def parse_entry(raw: dict[str, Any]) -> Entry:
    """Turn one item of the argument into an entry; owner and group become numbers."""
    dest = Path(raw["dest"])
    if not dest.is_absolute():
        raise FileError(f"{dest} is not an absolute path: write the path from /")
    state = raw.get("state") or "file"
    if state == "file" and raw.get("content") is None:
        raise FileError(f"{dest} has no text: give it content, source or template")
    if state == "link" and not raw.get("target"):
        raise FileError(f"{dest} is a link without a target")
    owns = state in {"file", "directory"}
    return Entry(
        dest=dest,
        state=state,
        text=(raw.get("content") or "").encode() if state == "file" else b"",
        target=raw.get("target") or "" if state == "link" else "",
        uid=_uid(raw.get("owner") or "root", dest) if owns else 0,
        gid=_gid(raw.get("group") or "root", dest) if owns else 0,
        mode=_mode(raw.get("mode") or "0644", dest) if owns else 0,
        validate=tuple(raw.get("validate") or ()),
    )


def _uid(name: str, dest: Path) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise FileError(
            f"{dest} shall belong to the user {name}, who does not exist here: make the user first"
        ) from None


def _gid(name: str, dest: Path) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise FileError(
            f"{dest} shall belong to the group {name}, which does not exist here: make the group first"
        ) from None


def _mode(text: str, dest: Path) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise FileError(f"the mode {text!r} of {dest} is not octal: write it in quotes, for example '0644'") from None


def look(dest: Path) -> Found:
    """Read what stands at a path, without following a link."""
    try:
        status = dest.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return Found(state=_ABSENT)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Found(state="link", target=str(dest.readlink()))
    if stat.S_ISREG(status.st_mode):
        return Found("file", text=dest.read_bytes(), uid=status.st_uid, gid=status.st_gid, mode=mode)
    if stat.S_ISDIR(status.st_mode):
        return Found("directory", uid=status.st_uid, gid=status.st_gid, mode=mode)
    return Found(state="other")


def differs(entry: Entry, found: Found) -> bool:
    """Whether a path has to be changed."""
    wanted = Found(entry.state, entry.text, entry.target, entry.uid, entry.gid, entry.mode)
    return found.state != _ABSENT if entry.state == _ABSENT else wanted != found


def refuse_replacing(entry: Entry, found: Found) -> None:
    """Stop before a folder or device would be lost, or a file put where a folder is needed."""
    if found.state in {entry.state, _ABSENT}:
        return
    if found.state in {"directory", "other"} or entry.state == "directory":
        kind = "neither a file, a link nor a folder" if found.state == "other" else f"a {found.state}"
        raise FileError(f"{entry.dest} shall be {entry.state} but is {kind}: look at it and move it away by hand")


def validate(entry: Entry) -> bool:
    """Let the entry's program judge the new text; False when the program is not installed."""
    program = entry.validate[0]
    if shutil.which(program) is None:
        return False
    # Named like the file itself, since programs judge by extension.
    with tempfile.TemporaryDirectory(prefix="kakoi-") as folder:
        candidate = Path(folder) / entry.dest.name
        candidate.write_bytes(entry.text)
        command = [part.replace("%s", str(candidate)) for part in entry.validate]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().replace(str(candidate), str(entry.dest))
        raise FileError(f"the new {entry.dest} is not valid, nothing was changed; {program} says: {said}")
    return True


def apply(entry: Entry, found: Found) -> None:
    """Make one path so."""
    if entry.state == _ABSENT:
        entry.dest.unlink()
        return
    entry.dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if entry.state == "directory":
        if found.state == _ABSENT:
            entry.dest.mkdir()
        os.chown(entry.dest, entry.uid, entry.gid)
        entry.dest.chmod(entry.mode)
        return
    handle, name = tempfile.mkstemp(prefix=f".{entry.dest.name}.", dir=entry.dest.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(entry.text)
            os.fchown(stream.fileno(), entry.uid, entry.gid)
            os.fchmod(stream.fileno(), entry.mode)
            stream.flush()
            os.fsync(stream.fileno())
        if entry.state == "link":
            temporary.unlink()
            temporary.symlink_to(entry.target)
        temporary.replace(entry.dest)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def describe(dest: Path, entry: Entry | Found) -> dict[str, str]:
    """One side of a diff: a header with the ownership, and the text."""
    header = f"{dest} ({entry.state}"
    if entry.state in {"file", "directory"}:
        header += f", {entry.uid}:{entry.gid} {entry.mode:04o}"
    body = entry.text.decode("utf-8", errors="replace")
    if len(entry.text) > _DIFF_LIMIT_BYTES:
        body = f"({len(entry.text)} bytes)\n"
    if entry.state == "link":
        body = f"-> {entry.target}\n"
    return {"header": header + ")", "body": body}


def make_diff(entry: Entry, found: Found) -> dict[str, str]:
    """Ansible's form of a difference."""
    before, after = describe(entry.dest, found), describe(entry.dest, entry)
    return {
        "before_header": before["header"],
        "before": before["body"],
        "after_header": after["header"],
        "after": after["body"],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "dest": {"type": "path", "required": True},
                    "state": {"type": "str", "choices": ["file", "link", "directory", "absent"], "default": "file"},
                    "content": {"type": "str"},
                    "source": {"type": "path"},
                    "template": {"type": "path"},
                    "target": {"type": "str"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str", "default": "0644"},
                    "validate": {"type": "list", "elements": "str"},
                },
            }
        },
        supports_check_mode=True,
    )
    changed_files: list[str] = []
    unvalidated: list[str] = []
    try:
        pairs = [(entry, look(entry.dest)) for entry in map(parse_entry, module.params["files"])]
        changes = [(entry, found) for entry, found in pairs if differs(entry, found)]
        for entry, found in changes:
            refuse_replacing(entry, found)
            if entry.validate and not validate(entry):
                unvalidated.append(str(entry.dest))
        for entry, found in changes:
            if not module.check_mode:
                apply(entry, found)
            changed_files.append(str(entry.dest))
    except (FileError, OSError) as error:
        # Files that were already replaced stay replaced: the next run carries on from there.
        module.fail_json(msg=str(error), changed=bool(changed_files), changed_files=changed_files)
    module.exit_json(
        changed=bool(changes),
        changed_files=changed_files,
        unvalidated=unvalidated,
        diff=[make_diff(entry, found) for entry, found in changes] if module._diff else [],  # noqa: SLF001 - Ansible's only way to ask
    )


if __name__ == "__main__":
    main()
