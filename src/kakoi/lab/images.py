"""Images of the lab's machines: Debian as an installer leaves it, built from Debian's packages and cached.

An image's tag holds a hash of its whole recipe, so a changed recipe is a new image and an unchanged one is
never built twice. What an image is not: provisioned. nftables, time, the mirror and the rest come from the
inside package repository, by the roles, as on a real machine.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kakoi.canonical import canonical_json, sha256_of
from kakoi.lab.names import CACHE, LOCKS
from kakoi.lab.podman import Podman
from kakoi.lab.system import CommandError, Teller, locked, remove_tree, run, run_anyhow

SUITES: Mapping[str, str] = {"debian13": "trixie", "debian12": "bookworm"}
"""The policy's name of an operating system -> Debian's name of the suite."""

INSTALLATION_SOURCES = "usr/share/kakoi/installation.sources"
"""Where the image keeps the apt sources that it was built from. apt itself has none: the enclave has no internet."""

_BUILD_WAIT_SECONDS = 900

_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd-sysv",
)
_PACKAGES_OF_SUITE: Mapping[str, tuple[str, ...]] = {
    # Debian 13 moved the usual kernel settings (who may ping, among them) out of systemd's own package.
    "trixie": ("linux-sysctl-defaults",),
}

_NOT_AT_BOOT = ("systemd-logind.service",)
"""Started when something asks for them over the bus."""

_MASKED = (
    # Each of these holds an inotify instance of root, and the kernel's usual limit is 128 for all machines together.
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    # Nobody sits at a console, and there is no disk of its own.
    "console-getty.service",
    "getty.target",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    # Their source is the internet, and twenty machines would start them at the same minute.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
)

_INIT = """\
#!/bin/sh
# What stands between the container and systemd: the boot loader's and, once, the installer's part.
set -eu

# Of all kernel settings only the network's are the machine's own (they belong to its network namespace).
# The rest stays read-only: it is the kernel of the computer that carries the lab.
mount -t proc proc /mnt
mount --bind /mnt/sys/net /proc/sys/net
umount /mnt

# systemd drops underscores from a name it reads here; without the file it keeps the name it was started with.
umount /etc/hostname 2>/dev/null || true
rm -f /etc/hostname

if [ ! -e /etc/ssh/ssh_host_ed25519_key ]; then
    rm -f /etc/resolv.conf
    install -m 0644 /dev/null /etc/resolv.conf
    tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n::1 localhost ip6-localhost ip6-loopback\\n' "$HOSTNAME" >/etc/hosts
    home=/home/$KAKOI_USER
    mkdir -m 0700 "$home/.ssh"
    printf '%s\\n' "$KAKOI_AUTHORIZED_KEY" >"$home/.ssh/authorized_keys"
    chown -R "$KAKOI_USER:" "$home/.ssh"
    # Last: its presence says that the installation is complete.
    ssh-keygen -q -t ed25519 -N '' -C "$HOSTNAME" -f /etc/ssh/new_host_key
    mv /etc/ssh/new_host_key.pub /etc/ssh/ssh_host_ed25519_key.pub
    mv /etc/ssh/new_host_key /etc/ssh/ssh_host_ed25519_key
fi

exec env -i container=podman PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that the recipe adds, or a symbolic link where ``link`` names its target."""

    path: str
    text: str = ""
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that an image follows from."""

    suite: str
    packages: tuple[str, ...]
    files: tuple[ImageFile, ...]
    commands: tuple[str, ...]
    """Shell commands at the end of the build; ``$1`` is the image's root folder."""

    @property
    def tag(self) -> str:
        """Name in podman's store: the suite and the recipe's hash."""
        return f"localhost/kakoi-{self.suite}:{sha256_of(canonical_json(asdict(self)).encode())[:12]}"


def recipe(suite: str, user: str) -> Recipe:
    """The recipe of a freshly installed machine whose installer made one account, ``user``, with sudo."""
    files = (
        ImageFile("usr/sbin/kakoi-init", _INIT, 0o755),
        ImageFile(f"etc/sudoers.d/{user}", f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
        ImageFile("etc/apt/apt.conf.d/90kakoi", 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n'),
        ImageFile("etc/default/locale", "LANG=C.UTF-8\n"),
        ImageFile("etc/systemd/journald.conf.d/kakoi.conf", "[Journal]\nSystemMaxUse=16M\nRuntimeMaxUse=16M\n"),
        *(ImageFile(f"etc/systemd/system/{unit}", link="/dev/null") for unit in _MASKED),
        *(ImageFile(f"etc/systemd/system/multi-user.target.wants/{unit}", link="/dev/null") for unit in _NOT_AT_BOOT),
    )
    commands = (
        f'chroot "$1" useradd --create-home --shell /bin/bash {user}',
        # What belongs to one machine is made at its first boot; what belongs to the builder stays with the builder.
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/apt/apt.conf.d/99mmdebstrap',
        ': >"$1"/etc/machine-id',
        f'mkdir -p "$1"/usr/share/kakoi; mv "$1"/etc/apt/sources.list "$1"/{INSTALLATION_SOURCES}',
        # Boot does not rebuild caches that are fresh (systemd.unit(5), ConditionNeedsUpdate).
        'touch "$1"/etc/.updated "$1"/var/.updated',
    )
    return Recipe(suite, (*_PACKAGES, *_PACKAGES_OF_SUITE.get(suite, ())), files, commands)


def ensure_image(wanted: Recipe, podman: Podman, step: Teller) -> str:
    """Build an image unless it is there; return its tag.

    Raises:
        CommandError: the build failed, with the last lines that mmdebstrap or podman said.
        KakoiError: another build of the same image did not end.
    """
    if podman.has_image(wanted.tag):
        return wanted.tag
    name = wanted.tag.rpartition("/")[2].replace(":", "-")
    step.tell(f"another build of {wanted.tag}")
    with locked(LOCKS / f"image-{name}", _BUILD_WAIT_SECONDS, f"another process is still building {wanted.tag}"):
        if podman.has_image(wanted.tag):
            return wanted.tag
        work = CACHE / "work" / name
        remove_tree(work)
        work.mkdir(parents=True)
        try:
            step.tell(f"mmdebstrap {wanted.suite}")
            _build(wanted, work)
            step.tell(f"podman import {wanted.suite}")
            changes = ("--change", 'CMD ["/usr/sbin/kakoi-init"]', "--change", "STOPSIGNAL SIGRTMIN+3")
            podman("import", "--quiet", *changes, str(work / "root.tar"), wanted.tag)
        finally:
            remove_tree(work)
    return wanted.tag


def image_identity(podman: Podman, tag: str) -> str:
    """The image's own digest: two builds of one recipe at different times differ."""
    return podman("image", "inspect", "--format", "{{.Id}}", tag).strip()


def _build(wanted: Recipe, work: Path) -> None:
    added = work / "added.tar"
    added.write_bytes(_archive(wanted.files))
    # Documentation and translations are half of the files and a third of the time.
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    run(
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--aptopt=APT::Install-Recommends false",
        *(f"--aptopt={option}" for option in host_apt_options()),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in excluded),
        f"--include={','.join(wanted.packages)}",
        *(f"--customize-hook={command}" for command in wanted.commands),
        f"--customize-hook=tar-in {added} /",
        wanted.suite,
        str(work / "root.tar"),
        *debian_sources(wanted.suite, _host_mirrors()),
        environment={"TMPDIR": str(work)},
        dies_with_us=True,
        remedy="check that this machine reaches a Debian mirror (apt-get update), then run this again",
    )


def debian_sources(suite: str, mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """sources.list(5) lines of a suite on the mirrors that this machine itself uses.

    Args:
        suite: Debian's name of the release.
        mirrors: Label of the archive (``Debian``, ``Debian-Security``) -> address. Without ``Debian`` the choice is
            mmdebstrap's: Debian's own mirrors.
    """
    if "Debian" not in mirrors:
        return ()
    archives = [(mirrors["Debian"], suite), (mirrors["Debian"], f"{suite}-updates")]
    if "Debian-Security" in mirrors:
        archives.append((mirrors["Debian-Security"], f"{suite}-security"))
    return tuple(f"deb {address} {name} main" for address, name in archives)


def _host_mirrors() -> dict[str, str]:
    """In a closed network apt points at an inside mirror; the images come from there too."""
    wanted = ("--format", "$(LABEL) $(REPO_URI)", "Origin: Debian", "Created-By: Packages")
    _, output, _ = run_anyhow("apt-get", "indextargets", *wanted)
    return dict(reversed([(words[0], words[1]) for line in output.splitlines() if len(words := line.split()) > 1]))


def host_apt_options() -> tuple[str, ...]:
    """This machine's apt settings without which it would not reach its mirror: proxies and relaxed dates."""
    names = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    try:
        lines = run("apt-config", "dump", *names).splitlines()
    except CommandError:
        return ()
    return tuple(line.rstrip(";") for line in lines if line.startswith(names))


def _archive(files: tuple[ImageFile, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.mode = file.mode
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            data = file.text.encode()
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
