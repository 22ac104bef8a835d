"""What everything of a lab is called, so that cleaning up needs no memory of what was built."""

import re
from dataclasses import dataclass
from pathlib import Path

from kakoi.errors import InputError

DEFAULT_NAME = "kakoi"
RUN = Path("/run/kakoi")
"""One folder for each lab; gone after a reboot, like the lab's namespaces."""
CACHE = Path("/var/cache/kakoi")
"""What is slow to make and the same for every lab: package pools and their signing key."""
LOCKS = CACHE / "locks"
"""Held while one of these is made."""
LABEL = "kakoi.lab"
"""Container label that holds the lab's name."""

_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_HOST = r"[a-z][a-z0-9_]{0,30}"


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab by its name: twelve lower-case letters and digits at most, no hyphen (it ends the name in ``lab-host``)."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could be mistaken for part of another lab's."""
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot name a lab",
                "write a lower-case letter, then up to eleven lower-case letters or digits, such as: kakoi",
            )

    @property
    def state(self) -> Path:
        """Folder with everything that lasts as long as the lab."""
        return RUN / self.name

    @property
    def ssh(self) -> Path:
        """Folder with the automation key, known_hosts, the ssh configuration and its control sockets."""
        return self.state / "ssh"

    @property
    def lock(self) -> Path:
        """File that whoever builds or removes the lab holds locked."""
        return RUN / f"{self.name}.lock"

    @property
    def fabric(self) -> str:
        """Namespace with the zones' bridges."""
        return f"{self.name}-fabric"

    @property
    def label(self) -> str:
        """Label of each of the lab's containers."""
        return f"{LABEL}={self.name}"

    def namespace(self, host: str) -> str:
        """Network namespace of a host."""
        return f"{self.name}-{host}"

    def container(self, host: str) -> str:
        """Container of a host."""
        return f"{self.name}-{host}"

    def owns(self, name: str) -> bool:
        """Whether a namespace or container of this name is the lab's."""
        return re.fullmatch(f"{self.name}-{_HOST}", name) is not None


def namespace_path(namespace: str) -> Path:
    """Where the kernel's handle of a named network namespace lies (ip-netns(8))."""
    return Path("/run/netns") / namespace
