"""The inside package repository: what roles install, as a real, signed Debian repository for each suite.

Layout of one pool (DebianRepository/Format on wiki.debian.org), mounted at ``/srv/mirror/<suite>`` of the
package mirror:

    pool/*.deb
    dists/<suite>/InRelease, Release, Release.gpg
    dists/<suite>/main/binary-<architecture>/Packages, Packages.gz

A pool holds the packages below with everything they need beyond the image, resolved by apt against the
image's own list of installed packages. A pool's name is a hash of the image and of the list.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from kakoi.canonical import canonical_json, sha256_of
from kakoi.lab.images import INSTALLATION_SOURCES, host_apt_options, image_identity
from kakoi.lab.names import CACHE, LOCKS
from kakoi.lab.podman import Podman
from kakoi.lab.system import Teller, locked, remove_tree, run, run_anyhow, write_private

ROLE_PACKAGES = (
    "chrony",
    "netbase",
    "nftables",
    "nginx-light",
)
"""What roles install. Add a package here when a role needs it; what it depends on follows by itself."""

SIGNING_KEY = CACHE / "keys" / "kakoi-mirror.asc"
"""Public key of the repository, armoured (RFC 9580)."""

_SECRET_KEY = SIGNING_KEY.with_suffix(".secret")
_FORMAT = 1
_WAIT_SECONDS = 900
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SIGNER = "kakoi lab package mirror <mirror@kakoi.invalid>"


@dataclass(frozen=True, slots=True)
class Pool:
    """A finished repository on this machine."""

    suite: str
    directory: Path
    """What the mirror serves as ``/srv/mirror/<suite>``."""


def ensure_pool(suite: str, image: str, podman: Podman, step: Teller) -> Pool:
    """Make a suite's repository unless it is there.

    Raises:
        CommandError: a package does not exist, or the download or the signature failed.
    """
    ensure_signing_key()
    facts = [
        _FORMAT,
        suite,
        image_identity(podman, image),
        list(ROLE_PACKAGES),
        SIGNING_KEY.read_text(encoding="utf-8"),
    ]
    digest = sha256_of(canonical_json(facts).encode())[:12]
    pool = Pool(suite, CACHE / "pool" / suite / digest)
    if pool.directory.exists():
        return pool
    step.tell(f"another download for {suite}")
    with locked(LOCKS / f"pool-{suite}", _WAIT_SECONDS, f"another process is still making the pool of {suite}"):
        if pool.directory.exists():
            return pool
        work = CACHE / "work" / f"pool-{suite}"
        remove_tree(work)
        repository = work / "repository"
        (repository / "pool").mkdir(parents=True)
        try:
            step.tell(f"downloading for {suite}")
            _download(podman, image, work, repository / "pool")
            step.tell(f"signing for {suite}")
            write_index(repository, suite)
            sign(repository, suite)
            pool.directory.parent.mkdir(parents=True, exist_ok=True)
            repository.rename(pool.directory)
        finally:
            remove_tree(work)
    return pool


def _download(podman: Podman, image: str, work: Path, destination: Path) -> None:
    """Let this machine's apt resolve against the image's packages and sources, in a folder of its own."""
    wanted = ("var/lib/dpkg/status", INSTALLATION_SOURCES)
    apt = work / "apt"
    for folder in ("etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial"):
        (apt / folder).mkdir(parents=True)
    for name, text in _read_image(podman, image, wanted).items():
        place = {wanted[0]: "var/lib/dpkg/status", wanted[1]: "etc/apt/sources.list"}[name]
        (apt / place).write_text(text, encoding="utf-8")
    # Read before everything else (apt.conf(5), APT_CONFIG): from then on this machine's own settings are out of sight.
    (apt / "apt.conf").write_text(
        f'Dir "{apt}/";\nDir::State::status "{apt}/var/lib/dpkg/status";\n'
        f'Dir::Etc::trusted "{_KEYRING}";\nAPT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n'
        'Acquire::Languages "none";\n' + "".join(f"{option};\n" for option in host_apt_options()),
        encoding="utf-8",
    )
    environment = {"APT_CONFIG": str(apt / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    mend = "check that this machine reaches a Debian mirror (apt-get update), then run this again"
    run("apt-get", "--quiet=2", "update", environment=environment, dies_with_us=True, remedy=mend)
    run(
        *("apt-get", "--quiet=2", "--yes", "--download-only", "install", *ROLE_PACKAGES),
        environment=environment,
        dies_with_us=True,
        remedy=mend,
    )
    for package in sorted((apt / "var/cache/apt/archives").glob("*.deb")):
        package.rename(destination / package.name)


def _read_image(podman: Podman, image: str, paths: tuple[str, ...]) -> dict[str, str]:
    """Text files of an image, through a container that runs nothing else."""
    script = 'for path do cat "/$path" && printf "\\0"; done'
    command = ("run", "--rm", "--network=none", "--pull=never", "--entrypoint=/bin/sh", image, "-ec", script, "sh")
    return dict(zip(paths, podman(*command, *paths).split("\0"), strict=False))


def write_index(repository: Path, suite: str) -> None:
    """Write ``Packages`` and ``Release`` for what lies in ``pool/``."""
    architecture = run("dpkg", "--print-architecture").strip()
    release = repository / "dists" / suite
    binary = release / "main" / f"binary-{architecture}"
    binary.mkdir(parents=True)
    packages = run("apt-ftparchive", "packages", "pool", directory=repository)
    (binary / "Packages").write_text(packages, encoding="utf-8")
    (binary / "Packages.gz").write_bytes(gzip.compress(packages.encode(), mtime=0))
    about = {
        "Origin": "kakoi",
        "Label": "kakoi inside mirror",
        "Suite": suite,
        "Codename": suite,
        "Components": "main",
        "Architectures": architecture,
    }
    options = [word for key, value in about.items() for word in ("-o", f"APT::FTPArchive::Release::{key}={value}")]
    text = run("apt-ftparchive", *options, "release", ".", directory=release)
    (release / "Release").write_text(text, encoding="utf-8")


def ensure_signing_key() -> None:
    """Make the repository's key pair, once for this machine. The secret half never enters a machine of the lab."""
    with locked(LOCKS / "mirror-key", _WAIT_SECONDS, "another process is still making the signing key"):
        if SIGNING_KEY.exists() and _SECRET_KEY.exists():
            return
        SIGNING_KEY.parent.mkdir(parents=True, exist_ok=True)
        with _Gpg() as gpg:
            gpg("--quick-gen-key", _SIGNER, "ed25519", "sign", "never")
            write_private(_SECRET_KEY, gpg("--armor", "--export-secret-keys"), 0o600)
            write_private(SIGNING_KEY, gpg("--armor", "--export"))


def sign(repository: Path, suite: str) -> None:
    """Sign ``Release`` both ways that apt knows: inside (``InRelease``) and beside (``Release.gpg``)."""
    release = repository / "dists" / suite
    with _Gpg() as gpg:
        gpg("--import", str(_SECRET_KEY))
        gpg("--clear-sign", "--output", str(release / "InRelease"), str(release / "Release"))
        gpg("--armor", "--detach-sign", "--output", str(release / "Release.gpg"), str(release / "Release"))


class _Gpg:
    """gpg in a home of its own that is thrown away; the agent it starts ends with each call."""

    def __enter__(self) -> Self:
        self._home = TemporaryDirectory(prefix="kakoi-gpg-")
        return self

    def __exit__(self, *_: object) -> None:
        run_anyhow("gpgconf", "--homedir", self._home.name, "--remove-socketdir")
        self._home.cleanup()

    def __call__(self, *arguments: str) -> str:
        unattended = ("--batch", "--quiet", "--pinentry-mode=loopback", "--passphrase=")
        return run("gpg", "--homedir", self._home.name, *unattended, *arguments, dies_with_us=True)
