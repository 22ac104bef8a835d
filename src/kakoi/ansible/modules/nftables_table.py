"""Ansible module: load one nftables table from a complete file, atomically, and see that it is there."""

from __future__ import annotations

import difflib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: nftables_table
short_description: Loads one nftables table from a complete file
description:
  - Checks the file with C(nft -c), loads it into an empty network namespace of its own, and compares the kernel's listing
    of the table there with the listing here. Equal means unchanged. Otherwise the file is loaded in one transaction
    and the listings are compared again; if they still differ, the task fails.
  - When the table was not there before, the kernel's list of tracked connections is emptied right after the load. What
    was tracked until then was tracked under no rules, some of it backwards (first seen by an answer, while nft was
    still preparing the load); a rule for replies would let it pass, or shut an allowed connection out for good. The next
    packet of the side that opened a connection brings it back under the new rules, if they allow it.
  - The file must define only this table, and define it completely, so that loading it replaces the old one
    (C(table) / C(delete table) / C(table {...})). No other table is touched or read.
  - Counters, and elements that the kernel itself adds to sets with the flag C(dynamic), are no part of the comparison.
options:
  path:
    description: The ruleset file on the target.
    type: path
    required: true
  content:
    description:
      - Text that O(path) is going to have. Give it in check mode, where the file has not been written yet.
    type: str
  family: {description: Address family of the table., type: str, default: inet}
  table: {description: Name of the table., type: str, default: kakoi}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Load the rules
  nftables_table:
    path: /etc/kakoi/kakoi.nft
"""

RETURN = r"""
loaded_before:
  description: Whether the table was there before.
  type: bool
  returned: always
verified:
  description: False only in check mode on a host that has no nft yet, where nothing could be compared.
  type: bool
  returned: always
"""

_NETLINK_NETFILTER = 12
_FORGET_ALL = (1 << 8) | 2
"""Netlink message IPCTNL_MSG_CT_DELETE of the subsystem NFNL_SUBSYS_CTNETLINK; without a tuple it means every one."""
_REQUEST_AND_ACKNOWLEDGE = 0x1 | 0x4
_NFT = "/usr/sbin/nft"
_UNSHARE = "/usr/bin/unshare"


class NftError(Exception):
    """What nft said, with what was asked of it."""


def run(command: list[str], purpose: str) -> str:
    """Run a command and return its output; its own words become the error."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise NftError(f"{purpose}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


def check(path: Path) -> None:
    """Ask nft whether it would take the file."""
    run([_NFT, "-c", "-f", str(path)], f"{path} is not a valid ruleset, nothing was loaded")


def load(path: Path) -> None:
    """Load the file: one transaction, all of it or nothing."""
    run([_NFT, "-f", str(path)], f"{path} could not be loaded, the old rules are still in force")


def forget_connections() -> None:
    """Empty the kernel's list of tracked connections, as ``conntrack -F`` would (linux/netfilter/nfnetlink_conntrack.h)."""
    header = struct.pack("=IHHII", 20, _FORGET_ALL, _REQUEST_AND_ACKNOWLEDGE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.settimeout(10)
        netlink.sendto(header + struct.pack("=BBH", socket.AF_UNSPEC, 0, 0), (0, 0))
        (status,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if status != 0:
        raise NftError(f"connections tracked before the rules could not be forgotten: {os.strerror(-status)}")


def listing_if_loaded(path: Path, family: str, table: str) -> str:
    """Listing of the table as this kernel would have it, from a network namespace that lives for this question only."""
    script = '"$1" -f "$2" && exec "$1" -s list table "$3" "$4"'
    command = [_UNSHARE, "--net", "--", "/bin/sh", "-c", script, "sh", _NFT, str(path), family, table]
    return run(command, f"{path} could not be loaded into an empty network namespace")


def listing_here(family: str, table: str) -> str:
    """Listing of the table as it is in force; empty when there is none."""
    tables = run([_NFT, "list", "tables"], "the tables could not be listed").splitlines()
    if f"table {family} {table}" not in tables:
        return ""
    return run([_NFT, "-s", "list", "table", family, table], f"the table {family} {table} could not be listed")


def normalise(listing: str) -> str:
    """Listing in a form that does not depend on the order in which the kernel hands out elements.

    Elements of named sets stand one per line, those inside rules within their line, both sorted. Elements of dynamic
    sets, which packets add and time removes, are left out.
    """
    return "".join(f"{line}\n" for line in _normal_lines(iter(listing.splitlines())))


def _normal_lines(lines: Iterator[str]) -> Iterator[str]:
    dynamic = False
    for line in lines:
        if not line.startswith("\t\telements = {"):
            dynamic = (dynamic or " dynamic" in line.replace(",", " ")) and line.startswith("\t\t")
            yield _with_sorted_braces(line)
            continue
        block = line
        while not _closed(block):
            block += " " + next(lines).strip()
        if not dynamic:
            yield "\t\telements = {"
            yield from (f"\t\t\t{element}" for element in _elements(block[block.index("{") + 1 : block.rindex("}")]))
            yield "\t\t}"


def _with_sorted_braces(line: str) -> str:
    opening = [position for position, character in _outside_quotes(line) if character == "{"]
    closing = [position for position, character in _outside_quotes(line) if character == "}"]
    if len(opening) != len(closing):
        return line  # the line opens or closes a block
    for first, last in reversed(list(zip(opening, closing, strict=True))):
        line = f"{line[: first + 1]} {', '.join(_elements(line[first + 1 : last]))} {line[last:]}"
    return line


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    quoted = False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted:
            yield position, character


def _closed(block: str) -> bool:
    return sum({"{": 1, "}": -1}.get(character, 0) for _, character in _outside_quotes(block)) == 0


def _elements(inner: str) -> list[str]:
    cuts = [-1, *(position for position, character in _outside_quotes(inner) if character == ","), len(inner)]
    return sorted(inner[left + 1 : right].strip() for left, right in pairwise(cuts))


def difference(before: str, after: str) -> str:
    """Unified diff of two normal listings, without context."""
    return "\n".join(
        difflib.unified_diff(before.splitlines(), after.splitlines(), "in force", "file", lineterm="", n=0)
    )


def require_in_force(path: Path, wanted: str, found: str) -> None:
    """Fail when the kernel does not list what was loaded a moment ago."""
    if found != wanted:
        raise NftError(f"the table in force is not what {path} defines:\n{difference(found, wanted)}")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "family": {"type": "str", "default": "inet"},
            "table": {"type": "str", "default": "kakoi"},
        },
        supports_check_mode=True,
    )
    with tempfile.TemporaryDirectory(prefix="kakoi-") as folder:
        path = Path(module.params["path"])
        if module.params["content"] is not None:
            path = Path(folder) / path.name
            path.write_text(module.params["content"], encoding="utf-8")
        ensure_loaded(module, path)


def ensure_loaded(module: AnsibleModule, path: Path) -> None:
    """Compare, load where needed, compare again, and report."""
    family, table = module.params["family"], module.params["table"]
    if shutil.which(_NFT) is None:
        if module.check_mode:
            module.exit_json(changed=True, loaded_before=False, verified=False, msg="nftables is not installed yet")
        module.fail_json(msg=f"{_NFT} is not there: install the package nftables first")
    try:
        check(path)
        wanted = normalise(listing_if_loaded(path, family, table))
        before = normalise(listing_here(family, table))
        changed = wanted != before
        if changed and not module.check_mode:
            load(path)
            if not before:
                forget_connections()
            require_in_force(path, wanted, normalise(listing_here(family, table)))
    except NftError as error:
        module.fail_json(msg=str(error))
    diff = {"before_header": "in force", "before": before, "after_header": str(module.params["path"]), "after": wanted}
    module.exit_json(changed=changed, loaded_before=bool(before), verified=True, diff=diff if changed else {})


if __name__ == "__main__":
    main()
