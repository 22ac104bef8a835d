"""Every compiled file, and how it gets on disk so that no reader ever sees half of it.

Layout below the output folder::

    <host>/kakoi.nft                    managed hosts: the whole firewall
    <host>/network.json                 every host: addresses, routes, forwarding
    <host>/sysctl.conf                  managed hosts: network settings of the kernel
    <host>/networkd/10-<device>.network managed hosts: the same addresses and routes for systemd-networkd
    names.hosts                         one /etc/hosts body for all
    truth.json                          what the network must answer, cell by cell (see ``truth``)
    manifest.json                       digest of the policy and of every file; what was left out, and why

The truth table grows with the square of the hosts. Above ``TRUTH_CELLS_WRITTEN`` cells it is not written, the manifest
says so, and who needs it works it out cell by cell (``truth.truth_cells``).
"""

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kakoi.canonical import sha256_of
from kakoi.compile.names import names_text
from kakoi.compile.network import HostNetwork, plan_network
from kakoi.compile.networkd import networkd_units
from kakoi.compile.nftables import rulesets
from kakoi.compile.sysctl import sysctl_text
from kakoi.compile.truth import Cell, cell_limit, truth_cells
from kakoi.errors import InputError
from kakoi.policy.model import Policy

MANIFEST = PurePosixPath("manifest.json")
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_TRUTH = PurePosixPath("truth.json")
TRUTH_CELLS_WRITTEN = 100_000
"""Largest truth table that is written out: about 16 MB."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file: where it goes below the output folder, and its text."""

    path: PurePosixPath
    text: str


def compile_policy(policy: Policy) -> Iterator[Artifact]:
    """Every file of a policy, host by host in policy order; the manifest comes last."""
    digests: dict[str, str] = {}
    for artifact in _files(policy):
        digests[str(artifact.path)] = sha256_of(artifact.text.encode())
        yield artifact
    manifest: dict[str, object] = {"policy_sha256": policy_digest(policy), "files": digests}
    if str(_TRUTH) not in digests:
        manifest["left_out"] = {
            str(_TRUTH): f"up to {cell_limit(policy)} cells, more than {TRUTH_CELLS_WRITTEN}: worked out when asked for"
        }
    yield Artifact(MANIFEST, _readable_json(manifest))


def count_artifacts(policy: Policy) -> int:
    """How many files a policy gives, for showing progress."""
    managed = [host for host in policy.hosts.values() if host.managed == "ansible"]
    per_host = len(policy.hosts) + sum(2 + len(host.interfaces) for host in managed)
    return per_host + 2 + (cell_limit(policy) <= TRUTH_CELLS_WRITTEN)


def policy_digest(policy: Policy) -> str:
    """SHA-256 of the policy's meaning: comments, key order and layout of the files do not count."""
    content = json.dumps(policy.model_dump(mode="json", by_alias=True), ensure_ascii=False, sort_keys=True)
    return sha256_of(content.encode())


def write_artifacts(artifacts: Iterable[Artifact], out: Path) -> int:
    """Replace the output folder by exactly these files, all or nothing; returns how many were written.

    Everything is written into a sibling folder first, which then takes the place of ``out``: whatever goes wrong
    before leaves ``out`` as it was, and files of an earlier run are gone.
    """
    try:
        _refuse_foreign_folder(out)
        with _sibling(out) as fresh:
            count = _write(artifacts, fresh)
            _swap(fresh, out)
    except OSError as error:
        raise InputError(
            f"cannot write to {out}: {error.strerror}", "name a folder that you may write to, on a disk with room"
        ) from error
    return count


def _write(artifacts: Iterable[Artifact], folder: Path) -> int:
    count = 0
    made: set[PurePosixPath] = set()
    for artifact in artifacts:
        path = folder / artifact.path
        if artifact.path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(artifact.path.parent)
        path.write_text(artifact.text, encoding="utf-8")
        count += 1
    return count


def _files(policy: Policy) -> Iterator[Artifact]:
    for host, text in rulesets(policy):
        yield Artifact(PurePosixPath(host, "kakoi.nft"), text)
    for host, network in plan_network(policy).items():
        folder = PurePosixPath(host)
        yield Artifact(folder / "network.json", network_json(network))
        if policy.hosts[host].managed == "ansible":
            yield Artifact(folder / "sysctl.conf", sysctl_text(network))
            for name, text in networkd_units(network):
                yield Artifact(folder / "networkd" / name, text)
    yield Artifact(PurePosixPath("names.hosts"), names_text(policy))
    if cell_limit(policy) <= TRUTH_CELLS_WRITTEN:
        yield Artifact(_TRUTH, truth_json(truth_cells(policy)))


def network_json(network: HostNetwork) -> str:
    """A host's network as canonical JSON."""
    return _readable_json(
        {
            "host": network.host,
            "forwarding": network.forwarding,
            "interfaces": [
                {"zone": leg.zone, "device": leg.device, "addresses": [str(address) for address in leg.addresses]}
                for leg in network.interfaces
            ],
            "routes": [{"destination": str(route.destination), "via": str(route.via)} for route in network.routes],
        }
    )


def truth_json(cells: Iterable[Cell]) -> str:
    """A truth table as a JSON list, one cell a line."""
    lines = ",\n".join(json.dumps(_fields(cell), sort_keys=True) for cell in cells)
    return f"[\n{lines}\n]\n"


def _fields(cell: Cell) -> dict[str, object]:
    return {name: getattr(cell, name) for name in Cell.__slots__}


def _readable_json(content: object) -> str:
    """JSON that people read too: sorted keys, one entry a line; equal content gives equal bytes."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


def _refuse_foreign_folder(out: Path) -> None:
    """Never replace a folder that is not ours: a slip in ``--out`` must not cost anybody's files."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder", "name a folder that kakoi may replace, such as build/compiled")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError(
            f"{out} holds files that are not kakoi's (it has no {MANIFEST}), and compiling replaces the whole folder",
            "name a new or empty folder, such as build/compiled",
        )


@contextmanager
def _sibling(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out``; one writer at a time, and what a killed one left behind is removed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
    fresh = out.with_name(f".{out.name}.new")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(_retired(out), ignore_errors=True)
        fresh.mkdir()
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(_retired(out), ignore_errors=True)
        os.close(lock)


def _retired(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _swap(fresh: Path, out: Path) -> None:
    """Put the fresh folder in place of the old one in one step, so that ``out`` is never missing."""
    if not out.exists():
        fresh.rename(out)
    elif not _exchange(fresh, out):
        out.rename(_retired(out))
        fresh.rename(out)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders by Linux's renameat2(2); False where the file system cannot."""
    system = ctypes.CDLL(None, use_errno=True)
    return bool(system.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
