"""The lab's machines: systemd containers, started together and waited for."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kakoi.errors import KakoiError
from kakoi.lab.names import Lab, namespace_path
from kakoi.lab.podman import Podman
from kakoi.lab.system import Teller, end_processes, in_parallel, run_anyhow

HOST_LABEL = "kakoi.host"
"""Container label that holds the host's identifier in the policy."""
WORKERS = 4
BOOT_SECONDS = 120
"""How long machines may take to boot before the lab gives up on them."""

_POLL_SECONDS = 0.1
_ORPHAN_PATIENCE_SECONDS = 10.0
_HOST_KEY = Path("etc/ssh/ssh_host_ed25519_key.pub")


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """What one machine is made of."""

    host: str
    image: str
    volumes: tuple[tuple[Path, str], ...] = ()
    """Read-only mounts: path on this machine, path inside."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that Ansible logs in with, as the installer makes it."""

    name: str
    public_key: str


def create(lab: Lab, podman: Podman, plans: Sequence[MachinePlan], account: Account, step: Teller) -> None:
    """Start every machine; its network namespace is there already."""
    started = 0

    def count(_: str) -> None:
        nonlocal started
        started += 1
        step.tell(f"{started}/{len(plans)}")

    work = {plan.host: partial(podman, *run_arguments(lab, plan, account)) for plan in plans}
    in_parallel(work, WORKERS, count)


def run_arguments(lab: Lab, plan: MachinePlan, account: Account) -> tuple[str, ...]:
    """Arguments of ``podman run`` for one machine."""
    return (
        "run",
        "--detach",
        f"--name={lab.container(plan.host)}",
        f"--label={lab.label}",
        f"--label={HOST_LABEL}={plan.host}",
        f"--hostname={plan.host}",
        f"--network=ns:{namespace_path(lab.namespace(plan.host))}",
        "--dns=none",
        "--no-hosts",
        "--pull=never",
        "--systemd=always",
        # SYS_ADMIN: without it systemd drops its units' sandboxes in silence. Never SYS_TIME: the clock is this computer's.
        "--cap-add=NET_ADMIN,NET_RAW,SYS_ADMIN",
        # These two forbid the mount that makes the network's settings writable, where they are in force at all.
        "--security-opt=apparmor=unconfined",
        "--security-opt=label=disable",
        # `systemctl reboot` inside ends the container; `podman stop` is left alone.
        "--restart=always",
        f"--env=KAKOI_USER={account.name}",
        f"--env=KAKOI_AUTHORIZED_KEY={account.public_key}",
        "--env=LANG=C.UTF-8",
        *(f"--volume={outside}:{inside}:ro" for outside, inside in plan.volumes),
        plan.image,
    )


def container_ids(lab: Lab, podman: Podman) -> dict[str, int]:
    """Process id of each machine's systemd, 0 where it does not run, by host."""
    return {found["Labels"][HOST_LABEL]: int(found["Pid"]) for found in podman.containers(lab.label)}


def wait_until_running(
    lab: Lab, podman: Podman, hosts: Iterable[str], step: Teller, seconds: float = BOOT_SECONDS
) -> None:
    """Wait until systemd says ``running`` on every machine.

    Raises:
        KakoiError: a machine has failed units, or did not finish in time; it names machine and units.
    """
    waiting = dict.fromkeys(hosts, "no answer")
    total = len(waiting)
    failed: list[str] = []
    deadline = time.monotonic() + seconds
    while waiting:
        process_ids = container_ids(lab, podman)
        for host in tuple(waiting):
            waiting[host] = machine_state(process_ids.get(host, 0))
            if waiting[host] == "degraded":
                failed.append(f"{host}: failed units: {', '.join(failed_units(process_ids[host])) or 'unknown'}")
            if waiting[host] in {"running", "degraded"}:
                del waiting[host]
        step.tell(f"{total - len(waiting)}/{total}  {' '.join(list(waiting)[:3])}")
        if time.monotonic() > deadline:
            failed += [f"{host}: still {state} after {seconds:.0f} s" for host, state in waiting.items()]
            break
        if waiting:
            time.sleep(_POLL_SECONDS)
    if failed:
        raise KakoiError(
            "these machines did not boot well:\n    " + "\n    ".join(failed),
            f"look inside with `kakoi lab shell HOST --name {lab.name}`, or remove the lab with `kakoi lab down --name {lab.name}`",
        )


def machine_state(process_id: int) -> str:
    """What systemd says of itself: ``running``, ``degraded``, ``starting``...; ``stopped`` without a process."""
    if process_id == 0:
        return "stopped"
    _, output, _ = run_anyhow(*_inside(process_id), "systemctl", "is-system-running")
    return output.strip() or "booting"


def is_up(process_id: int) -> bool:
    """Whether a machine has finished booting. A unit that failed later is for ``status`` to show."""
    return machine_state(process_id) in {"running", "degraded"}


def has_rules(process_id: int) -> bool | None:
    """Whether a machine's kernel holds any nftables table; None when that could not be found out.

    Asked with the machine's own nft: one that is older than the one that loaded the rules may crash on them.
    """
    if process_id == 0:
        return None
    status, output, errors = run_anyhow(*_inside(process_id), "nft", "list", "tables")
    if status == 0:
        return bool(output.strip())
    return False if "nft: No such file" in errors else None


def failed_units(process_id: int) -> tuple[str, ...]:
    """Units that systemd could not start or that ended badly."""
    listed = ("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    _, output, _ = run_anyhow(*_inside(process_id), *listed)
    return tuple(line.split()[0] for line in output.splitlines() if line.split())


def host_keys(lab: Lab, podman: Podman) -> dict[str, str]:
    """Each machine's ssh host key, read from its disk: nothing on the lab's network can forge it."""
    return {
        host: (Path("/proc") / str(process_id) / "root" / _HOST_KEY).read_text(encoding="ascii").strip()
        for host, process_id in container_ids(lab, podman).items()
    }


def start(lab: Lab, podman: Podman, hosts: Iterable[str]) -> None:
    """Start machines that are stopped."""
    in_parallel({host: partial(podman, "start", lab.container(host)) for host in hosts}, WORKERS)


def remove(lab: Lab, podman: Podman) -> None:
    """Remove every container of the lab, however it came to be left behind."""
    # A `podman run` outlives the `lab up` that was killed, and would add a container after we have looked.
    end_processes(lambda arguments: _starts_machine_of(lab, arguments), _ORPHAN_PATIENCE_SECONDS)
    labelled = {name for found in podman.containers(lab.label) for name in found["Names"]}
    # podman killed half way leaves storage that only --external shows and that bears no label.
    listed = podman("ps", "--all", "--external", "--format", "{{.Names}}").split()
    names = labelled | {name for name in listed if lab.owns(name)}
    if names:
        podman("rm", "--force", "--time=0", *sorted(names))


def _starts_machine_of(lab: Lab, arguments: Iterable[str]) -> bool:
    words = list(arguments)
    return len(words) > 1 and Path(words[0]).name == "podman" and words[1] == "run" and f"--label={lab.label}" in words


def _inside(process_id: int) -> tuple[str, ...]:
    return ("nsenter", f"--target={process_id}", "--mount", "--uts", "--ipc", "--net", "--pid", "--")
