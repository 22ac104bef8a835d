"""What the lab's own tests share: a network of four machines, names of their own, and this computer's state."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kakoi.lab import Lab, down

KAKOI = Path(sys.executable).with_name("kakoi")
SMALL_POLICY = Path(__file__).with_name("policy_small")

_VOLATILE_ADDRESS = re.compile(r"_life_time$")
_STABLE_SETTINGS = (
    "net.ipv4.",
    "net.ipv6.",
    "net.core.",
    "net.bridge.",
    "fs.inotify.",
    "fs.file-max",
    "kernel.",
    "user.",
    "vm.",
)
_VOLATILE_SETTING = re.compile(
    r"^(kernel\.(random|ns_last_pid|pty\.nr|tainted|sched|perf)|net\.ipv[46]\.(neigh|route)\.|vm\.(stat|drop)|.*\.(stable_secret|tcp_fastopen_key))"
)


class Told:
    """A step that nobody watches."""

    def tell(self, note: str) -> None:
        """Say nothing."""


@contextmanager
def quietly(_: str) -> Iterator[Told]:
    """Progress for tests: none."""
    yield Told()


@contextmanager
def removed_afterwards(name: str) -> Iterator[Lab]:
    """A lab that is gone when the test is over, whatever the test did."""
    lab = Lab(name)
    try:
        yield lab
    finally:
        down(lab, quietly)


def fresh_name(letter: str) -> str:
    """A lab name that no other test run uses at this moment."""
    return f"{letter}{os.getpid()}"


def kakoi(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - subprocess's own
    """Run the command line as a person would."""
    return subprocess.run([KAKOI, *arguments], capture_output=True, text=True, check=False, timeout=300, **options)


def remains(lab: Lab) -> list[str]:
    """Everything on this computer that bears the lab's name."""
    containers = _output("podman", "ps", "--all", "--external", "--format", "{{.Names}}").split()
    namespaces = [line.split()[0] for line in _output("ip", "netns", "list").splitlines()]
    files = [str(path) for path in (lab.state, lab.lock) if path.exists()]
    return [name for name in (*containers, *namespaces) if name.startswith(f"{lab.name}-")] + files


def snapshot() -> dict[str, Any]:
    """This computer's own network, firewall, settings and containers (labs of others left out)."""
    addresses = json.loads(_output("ip", "-json", "address"))
    for link in addresses:
        for address in link["addr_info"]:
            for key in [key for key in address if _VOLATILE_ADDRESS.search(key)]:
                del address[key]
    settings = [
        line
        for line in _output("sysctl", "-a").splitlines()
        if line.startswith(_STABLE_SETTINGS) and not _VOLATILE_SETTING.match(line)
    ]
    containers = json.loads(_output("podman", "ps", "--all", "--format", "json"))
    return {
        "addresses": addresses,
        "links": _output("ip", "-json", "link"),
        "routes": _output("ip", "-json", "-4", "route", "show", "table", "all"),
        "routes6": _output("ip", "-json", "-6", "route", "show", "table", "all"),
        "rules": _output("ip", "-json", "rule"),
        "firewall": _output("nft", "list", "ruleset"),
        "settings": settings,
        "containers": [entry["Names"] for entry in containers if "kakoi.lab" not in (entry["Labels"] or {})],
    }


def _output(*arguments: str) -> str:
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return ended.stdout
