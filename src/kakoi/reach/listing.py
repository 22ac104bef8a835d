"""A ruleset file turned into nft's own JSON: JSON as it is, text through a private network namespace.

The namespace is made for one run of ``nft`` and vanishes with it: nothing on this machine changes. Interfaces that the
text names by index (``iif``) or hangs a chain on are made inside it, because nft refuses names that do not exist.
"""

import json
import os
import re
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from kakoi.errors import InputError, KakoiError
from kakoi.reach.reader import read_ruleset
from kakoi.reach.syntax import Ruleset

_NAMED_DEVICE = re.compile(r'\b(?:iif|oif|device)\s+(?:[!=]=\s*)?"?([A-Za-z0-9_.@-]+)"?')
_DEVICE_LIST = re.compile(r"\b(?:iif|oif|devices)\s+(?:[!=]?=\s*)?\{([^}]*)\}")
_TABLE = re.compile(r"^table (\S+) (\S+) \{$")
_RULE = re.compile(r"^\S+ \S+ \S+ \d+( \d+)?$")
_FAMILY_BYTES = {
    "[ cmp eq reg 1 0x00000002 ]": "ip",
    "[ cmp eq reg 1 0x0000000a ]": "ip6",
    "[ cmp eq reg 1 0x00000008 ]": "ip",
    "[ cmp eq reg 1 0x0000dd86 ]": "ip6",
}
"""Address families and Ethernet types as nft prints them in bytecode."""
_TIMEOUT_SECONDS = 120
_SEPARATOR = "\x1e"


def load_ruleset(path: Path) -> Ruleset:
    """Read a ruleset file, nft text or the JSON of ``nft -j list ruleset``.

    Raises:
        InputError: the file cannot be read, or nft refuses it.
        KakoiError: no private network namespace can be made.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "give a file with nft text or JSON") from error
    return parse_ruleset(text, str(path), path.resolve().parent)


def parse_ruleset(text: str, origin: str, directory: Path | None = None) -> Ruleset:
    """Read a ruleset given as nft text or JSON; ``include`` in text is resolved from ``directory``."""
    if not text.strip():
        raise InputError(f"{origin}: empty", "give the output of: nft -j list ruleset")
    if text.lstrip().startswith("{"):
        return read_ruleset(text, origin)
    return read_ruleset(text_to_json(text, origin, directory), origin)


def text_to_json(text: str, origin: str, directory: Path | None = None) -> str:
    """Load nft text in a private network namespace and list it as JSON, completed from the text listing."""
    script = (
        "ip link set lo up 2>/dev/null; "
        'for device in "$@"; do ip link add "$device" type veth peer name "k$(printf %s "$device" | cksum | cut -c1-9)" 2>/dev/null '
        '|| ip link add "$device" type dummy 2>/dev/null; done; '
        "nft -I . -f /dev/stdin || exit 3; nft -j list ruleset || exit 4; printf '\\036'; nft list ruleset || exit 4; printf '\\036'; nft --debug=netlink list ruleset || exit 4"
    )
    try:
        result = subprocess.run(
            ["unshare", *_namespace_options(), "sh", "-c", script, "sh", *_devices(text)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            cwd=directory,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KakoiError(f"{origin}: nft could not be run: {error}", "install nftables and util-linux") from error
    if result.returncode == 3:  # noqa: PLR2004 - the script's own status
        raise InputError(
            f"{origin}: nft refuses it:\n{result.stderr.strip().replace('/dev/stdin', origin)}",
            "mend the text, or give the output of: nft -j list ruleset",
        )
    if result.returncode != 0:
        raise KakoiError(
            f"{origin}: no private network namespace to read text in: {result.stderr.strip()}",
            "run as root, allow user namespaces, or give the output of: nft -j list ruleset",
        )
    listed, plain, bytecode = result.stdout.split(_SEPARATOR)
    return complete_listing(listed, plain, bytecode)


@cache
def _namespace_options() -> tuple[str, ...]:
    return ("-n",) if os.geteuid() == 0 else ("-r", "-n")


def _devices(text: str) -> list[str]:
    names = set(_NAMED_DEVICE.findall(text))
    for listed in _DEVICE_LIST.findall(text):
        names |= {name.strip().strip('"') for name in listed.split(",")}
    return sorted(name for name in names if 0 < len(name) < 16 and name != "lo" and not name.isdigit())  # noqa: PLR2004 - IFNAMSIZ


def complete_listing(listed: str, plain: str, bytecode: str) -> str:
    """The JSON of a ruleset with what nft leaves out of it.

    Table flags, the devices of ingress chains and the ``dynamic`` flag of sets come from the text listing, the address
    family that a ``reject with tcp reset`` is limited to from the bytecode (``nft --debug=netlink list ruleset``).
    """
    document = json.loads(listed)
    facts = _facts(plain)
    families = _reset_families(bytecode)
    for item in document["nftables"]:
        for kind, body in item.items():
            if kind == "table" and "flags" in body:
                body["flags"] = facts.get((body["family"], body["name"], "", "flags"), [])
            elif kind == "chain" and "hook" in body and "dev" not in body:
                devices = facts.get((body["family"], body["table"], body["name"], "dev"))
                if devices:
                    body["dev"] = devices
            elif kind in {"set", "map"} and "dynamic" in facts.get(
                (body["family"], body["table"], body["name"], "flags"), []
            ):
                flags: Any = body.get("flags", [])
                body["flags"] = [*([flags] if isinstance(flags, str) else flags), "dynamic"]
            elif kind == "rule":
                family = families.get((body["family"], body["table"], body["chain"], body.get("handle")))
                for statement in body.get("expr", ()) if family else ():
                    if (statement.get("reject") or {}).get("type") == "tcp reset":
                        statement["reject"]["family"] = family
    return json.dumps(document)


def _reset_families(bytecode: str) -> dict[tuple[str, str, str, int], str]:
    """For each rule that resets TCP connections, the address family it compares with."""
    families: dict[tuple[str, str, str, int], str] = {}
    for block in bytecode.split("\n\n"):
        lines = [line.strip() for line in block.splitlines()]
        rules = [(number, line.split()) for number, line in enumerate(lines) if _RULE.match(line)]
        for number, (family, table, chain, handle, *_) in rules[-1:]:
            expressions = lines[number + 1 :]
            if any(line.startswith("[ reject type 1") for line in expressions):
                families[family, table, chain, int(handle)] = _compared_family(expressions)
    return families


def _compared_family(expressions: list[str]) -> str:
    for load, compare in pairwise(expressions):
        if load.startswith(("[ meta load nfproto", "[ meta load protocol")) or "link header + 12" in load:
            return "any" if compare.startswith("[ lookup") else _FAMILY_BYTES.get(compare, "")
    return "any"


def _facts(plain: str) -> dict[tuple[str, str, str, str], list[str]]:
    facts: dict[tuple[str, str, str, str], list[str]] = {}
    family = table = block = ""
    for line in plain.splitlines():
        words = line.replace('"', "").replace(",", " ").split()
        if found := _TABLE.match(line):
            family, table = found.groups()
            block = ""
        elif line.startswith("\t") and not line.startswith("\t\t"):
            if len(words) >= 3 and words[0] in {"chain", "set", "map"} and words[-1] == "{":  # noqa: PLR2004
                block = words[1]
            elif words and words[0] == "flags":
                facts[family, table, "", "flags"] = words[1:]
        elif words and words[0] == "flags":
            facts[family, table, block, "flags"] = words[1:]
        elif words and words[0] == "type" and "hook" in words:
            for key in ("device", "devices"):
                if key in words:
                    rest = words[words.index(key) + 1 : words.index("priority")]
                    facts[family, table, block, "dev"] = [word for word in rest if word not in {"{", "}", "="}]
    return facts
