"""What this machine must be able to do before a lab is built on it: everything that is missing, told at once."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kakoi.errors import KakoiError
from kakoi.lab.images import Recipe
from kakoi.lab.names import Lab
from kakoi.lab.podman import Podman, needs_runc
from kakoi.lab.system import missing_programs, run_anyhow

INOTIFY_INSTANCES_PER_MACHINE = 4
"""Measured: systemd holds three (control groups, time zone, system bus); one more for what roles install."""
MEMORY_MIB_PER_MACHINE = 48
DISK_MIB_PER_MACHINE = 200
"""A provisioned machine's own layer, with what it has installed."""
DISK_MIB_PER_SUITE = 1500
"""Building a suite's image and pool for the first time: package files, the tree, its archive."""

_PACKAGE_OF = {
    "apt-ftparchive": "apt-utils",
    "gpg": "gpg",
    "gpg-agent": "gpg-agent",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "podman": "podman",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}

_KERNEL_PROBES = (
    ("virtual Ethernet pairs (CONFIG_VETH)", "ip link add kakoi0 type veth peer name kakoi1"),
    ("bridges (CONFIG_BRIDGE)", "ip link add kakoi2 type bridge"),
    ("IPv6", "ip link set lo up && ip address add fd00::1/64 dev lo"),
    ("nftables for both families (CONFIG_NF_TABLES_INET)", "nft add table inet kakoi"),
    (
        "nftables: connection tracking (CONFIG_NFT_CT)",
        "nft 'table inet kakoi { chain c { ct state established accept; }; }'",
    ),
    (
        "nftables: reverse path lookup (CONFIG_NFT_FIB_INET)",
        "nft 'table inet kakoi { chain c { type filter hook prerouting priority 0; fib saddr . iif oif missing drop; }; }'",
    ),
    (
        "nftables: logging to a group (CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG)",
        "nft 'table inet kakoi { chain c { type filter hook input priority 0; log group 1; }; }'",
    ),
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that this machine lacks."""

    what: str
    remedy: str


def require_root() -> None:
    """Refuse to go on without root, before anything is touched.

    Raises:
        KakoiError: the caller is not root.
    """
    if os.geteuid() != 0:
        raise KakoiError("the lab's namespaces and machines need root", "run it again with sudo ./kakoi")


def require(lab: Lab, podman: Podman, recipes: Iterable[Recipe], machines: int) -> None:
    """Check everything that ``machines`` more machines need.

    Raises:
        KakoiError: something is missing; the message lists all of it, each with the command that mends it.
    """
    problems = tuple(missing(podman, recipes, machines))
    if problems:
        listed = "\n    ".join(
            f"{number}. {problem.what}\n       -> {problem.remedy}" for number, problem in enumerate(problems, 1)
        )
        raise KakoiError(
            f"this machine cannot host the lab {lab.name} yet:\n    {listed}", "mend these, then run this again"
        )


def missing(podman: Podman, recipes: Iterable[Recipe], machines: int) -> Iterator[Missing]:
    """Everything that is missing, cheapest question first; later questions need the programs of earlier ones."""
    yield from missing_packages()
    if missing_programs(("ip", "nft", "unshare", "podman")):
        return
    yield from missing_kernel_features()
    yield from missing_room(podman, recipes, machines)


def missing_packages() -> Iterator[Missing]:
    """Programs and keys that Debian packages bring."""
    wanted = {_PACKAGE_OF[program] for program in missing_programs(_PACKAGE_OF)}
    if needs_runc() and missing_programs(("runc",)):
        wanted.add("runc")
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        wanted.add("debian-archive-keyring")
    if wanted:
        yield Missing(
            f"Debian packages are not installed: {', '.join(sorted(wanted))}",
            f"apt-get install --no-install-recommends {' '.join(sorted(wanted))}",
        )


def missing_kernel_features() -> Iterator[Missing]:
    """Ask the kernel itself, in a network namespace that is gone afterwards."""
    for feature, script in _KERNEL_PROBES:
        status, _, errors = run_anyhow("unshare", "--net", "sh", "-ec", script)
        if status != 0:
            said = (errors.strip().splitlines() or ["no message"])[0]
            yield Missing(
                f"the kernel does not offer {feature}: {said}",
                "run it on Debian's own kernel (linux-image-amd64), on a machine or virtual machine, not in a container",
            )


def missing_room(podman: Podman, recipes: Iterable[Recipe], machines: int) -> Iterator[Missing]:
    """Memory, disk and inotify instances that the machines need and do not find."""
    free_mib, needed_mib = _free_memory_mib(), machines * MEMORY_MIB_PER_MACHINE
    if free_mib < needed_mib:
        yield Missing(
            f"{machines} machines need {needed_mib} MiB of memory, {free_mib} MiB are free",
            "end something else, or give the machine more memory",
        )
    unbuilt = [recipe.tag for recipe in recipes if not podman.has_image(recipe.tag)]
    needed_mib = machines * DISK_MIB_PER_MACHINE + len(unbuilt) * DISK_MIB_PER_SUITE
    free_mib = shutil.disk_usage("/var/lib").free // 1024**2
    if free_mib < needed_mib:
        yield Missing(
            f"{needed_mib} MiB of disk are needed below /var, {free_mib} MiB are free",
            "free some; `kakoi lab down --purge` removes images and packages of earlier labs",
        )
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    used, needed = used_inotify_instances(), machines * INOTIFY_INSTANCES_PER_MACHINE
    if limit - used < needed:
        yield Missing(
            f"{machines} machines need {needed} inotify instances; root may hold {limit} and {used} are in use",
            f"sysctl fs.inotify.max_user_instances={max(1024, limit + needed)} (kakoi itself changes no setting of this machine)",
        )


def used_inotify_instances() -> int:
    """Inotify instances that root's processes hold, on this machine and in every container."""
    held: set[tuple[int, str]] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if process.stat().st_uid != 0:
                continue
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == "anon_inode:inotify":
                    held.add((int(process.name), descriptor.name))
        except OSError:  # it ended while we looked
            continue
    return len(held)


def _free_memory_mib() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0
