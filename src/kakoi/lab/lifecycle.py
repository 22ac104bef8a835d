"""Build, look at, and remove a lab. Whatever happens half way, ``down`` cleans up and ``up`` starts again."""

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from kakoi.canonical import canonical_json, sha256_of
from kakoi.compile.network import HostNetwork, plan_network
from kakoi.errors import InputError, KakoiError
from kakoi.lab import fabric, machines, ssh
from kakoi.lab.images import SUITES, Recipe, ensure_image, recipe
from kakoi.lab.machines import Account, MachinePlan
from kakoi.lab.names import CACHE, RUN, Lab
from kakoi.lab.packages import SIGNING_KEY, Pool, ensure_pool
from kakoi.lab.podman import Podman, podman_for
from kakoi.lab.requirements import require, require_root
from kakoi.lab.state import HostState, LabState, find_state, network_document, networks_of, read_state, write_state
from kakoi.lab.system import Progress, Teller, in_parallel, locked, remove_tree
from kakoi.policy import Policy, load_policy

MIRROR_ROOT = "/srv/mirror"
"""Where the package mirror keeps the suites' repositories and their public key."""

_BUSY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as it is now."""

    host: str
    addresses: Mapping[str, tuple[str, ...]]
    """Zone -> addresses there."""
    os: str
    managed: bool
    state: str
    """What systemd says: ``running``, ``degraded``, ``starting``...; ``stopped`` or ``missing`` without it."""
    rules: bool | None
    """Whether its network namespace holds any nftables table; None when it could not be found out."""
    uptime_seconds: int | None


def up(lab: Lab, policy_directory: Path, progress: Progress) -> bool:
    """Build the policy's network, or finish and mend what is there; False when there was nothing to do.

    Raises:
        InputError: the policy is wrong, or the lab that is up was built from another network.
        KakoiError: this machine cannot host it, or a machine did not boot.
    """
    require_root()
    policy = load_policy(policy_directory)
    networks = plan_network(policy)
    if "fabric" in networks:
        raise InputError("a host named fabric cannot stand in the lab", "give the host another name in hosts.yml")
    with _holding(lab):
        podman = podman_for(lab)
        state = find_state(lab)
        with progress("この計算機の条件 / What this machine can host"):
            require(lab, podman, recipes_of(policy).values(), 0 if state else len(networks))
        with progress("イメージとパッケージ / Images and packages") as step:
            images, pools = _images_and_pools(policy, podman, step)
        digest = _digest(policy, networks, images, pools)
        if state is not None and state.plan_sha256 != digest:
            raise InputError(
                f"the lab {lab.name} is up, but was built from another network, system or package list ({state.policy})",
                f"kakoi lab down --name {lab.name}, then up again; or build this one beside it with --name",
            )
        if state is not None:
            return _mend(lab, podman, networks, progress)
        _clear(lab, podman)
        _build(lab, podman, policy, _plans(policy, images, pools), progress)
        hosts = {
            host.id: HostState(lab.container(host.id), lab.namespace(host.id), host.os, host.managed == "ansible")
            for host in policy.hosts.values()
        }
        controller = policy.enclave.administration.controller
        directory = str(policy_directory.resolve())
        document = [network_document(network) for network in networks.values()]
        write_state(lab, LabState(lab.name, directory, controller, digest, str(SIGNING_KEY), hosts, document))
    return True


def down(lab: Lab, progress: Progress, *, purge: bool = False) -> bool:
    """Remove everything of a lab, complete or not; False when there was nothing.

    Args:
        lab: Which lab.
        progress: Shows the steps.
        purge: Also remove what every lab shares: images and package pools.
    """
    require_root()
    with _holding(lab):
        there = lab.state.exists() or bool(fabric.existing(lab))
        podman = podman_for(lab)
        with progress("撤去 / Removing the lab"):
            there = _clear(lab, podman) or there
            if purge:
                _purge(podman)
            remove_tree(lab.state)
            lab.lock.unlink()
    with suppress(OSError):  # another lab's folder is in it
        RUN.rmdir()
    return there


def status(lab: Lab) -> tuple[Machine, ...]:
    """Every machine as it is now, in policy order.

    Raises:
        KakoiError: the lab is not up.
    """
    require_root()
    state = read_state(lab)
    found = {entry["Labels"][machines.HOST_LABEL]: entry for entry in podman_for(lab).containers(lab.label)}
    now = datetime.now(UTC).timestamp()
    result = []
    for host, network in networks_of(state).items():
        about, entry = state.hosts[host], found.get(host)
        process_id = int(entry["Pid"]) if entry else 0
        result.append(
            Machine(
                host=host,
                addresses={leg.zone: tuple(str(a.ip) for a in leg.addresses) for leg in network.interfaces},
                os=about.os,
                managed=about.managed,
                state=machines.machine_state(process_id) if entry else "missing",
                rules=machines.has_rules(process_id),
                uptime_seconds=int(now - entry["StartedAt"]) if entry and process_id else None,
            )
        )
    return tuple(result)


def coldboot(lab: Lab, host: str, progress: Progress) -> None:
    """Switch a machine off, forget everything that its kernel held, and switch it on.

    A namespace outlives its container with rules, settings and connections, so a restart alone would prove
    nothing about booting. Addresses and routes are set again as the machine's network configuration would;
    forwarding is off, as in every kernel at its start, until the machine itself turns it on.

    Raises:
        KakoiError: the lab is not up, has no such host, or the machine did not boot.
    """
    require_root()
    state = read_state(lab)
    require_host(state, host)
    networks = networks_of(state)
    with _holding(lab), progress(f"コールドブート / Cold boot of {host}") as step:
        podman = podman_for(lab)
        podman("stop", "--time=10", lab.container(host))
        fabric.detach(lab, networks, host)
        fabric.attach(lab, networks, host, forwarding=False)
        podman("start", lab.container(host))
        machines.wait_until_running(lab, podman, [host], step)


def require_host(state: LabState, host: str) -> HostState:
    """The state of a host of the lab.

    Raises:
        InputError: there is none of this name.
    """
    if host not in state.hosts:
        raise InputError(f"the lab {state.name} has no host {host!r}", f"its hosts are: {', '.join(state.hosts)}")
    return state.hosts[host]


def recipes_of(policy: Policy) -> dict[str, Recipe]:
    """The image recipe of each Debian suite that the policy's hosts run."""
    user = policy.enclave.administration.automation_user
    return {suite: recipe(suite, user) for suite in sorted({SUITES[host.os] for host in policy.hosts.values()})}


def _plans(policy: Policy, images: Mapping[str, str], pools: Mapping[str, Pool]) -> list[MachinePlan]:
    shelves = [(pool.directory, f"{MIRROR_ROOT}/{suite}") for suite, pool in pools.items()]
    shelves.append((SIGNING_KEY, f"{MIRROR_ROOT}/{SIGNING_KEY.name}"))
    mirror = policy.enclave.administration.package_mirror
    return [
        MachinePlan(host.id, images[SUITES[host.os]], tuple(shelves) if host.id == mirror else ())
        for host in policy.hosts.values()
    ]


def _build(lab: Lab, podman: Podman, policy: Policy, plans: list[MachinePlan], progress: Progress) -> None:
    networks = plan_network(policy)
    with progress("配線 / Zones, gateways, addresses and routes"):
        fabric.build(lab, networks)
    account = Account(policy.enclave.administration.automation_user, ssh.make_key(lab))
    with progress("電源投入 / Switching machines on") as step:
        machines.create(lab, podman, plans, account, step)
    with progress("起動 / Waiting until every machine runs") as step:
        machines.wait_until_running(lab, podman, networks, step)
    ssh.write_known_hosts(lab, networks, machines.host_keys(lab, podman))
    ssh.write_configuration(lab, policy)


def _mend(lab: Lab, podman: Podman, networks: Mapping[str, HostNetwork], progress: Progress) -> bool:
    """Start what has stopped; refuse what cannot be mended without losing a machine."""
    process_ids = machines.container_ids(lab, podman)
    lost = [host for host in networks if host not in process_ids]
    lost += [host for host in networks if lab.namespace(host) not in fabric.existing(lab)]
    if lost:
        raise KakoiError(
            f"machines or namespaces of the lab {lab.name} were removed from outside: {', '.join(dict.fromkeys(lost))}",
            f"kakoi lab down --name {lab.name}, then up again",
        )
    stopped = [host for host, process_id in process_ids.items() if process_id == 0]
    booting = [host for host, process_id in process_ids.items() if not machines.is_up(process_id)]
    with progress("起動 / Waiting until every machine runs") as step:
        machines.start(lab, podman, stopped)
        machines.wait_until_running(lab, podman, booting, step)
    return bool(booting)


def _images_and_pools(policy: Policy, podman: Podman, step: Teller) -> tuple[dict[str, str], dict[str, Pool]]:
    def prepare(wanted: Recipe) -> tuple[str, Pool]:
        image = ensure_image(wanted, podman, step)
        return image, ensure_pool(wanted.suite, image, podman, step)

    work = {suite: partial(prepare, wanted) for suite, wanted in recipes_of(policy).items()}
    made = in_parallel(work, len(SUITES))
    return {suite: image for suite, (image, _) in made.items()}, {suite: pool for suite, (_, pool) in made.items()}


def _digest(
    policy: Policy, networks: Mapping[str, HostNetwork], images: Mapping[str, str], pools: Mapping[str, Pool]
) -> str:
    """Everything that machines and wires follow from. Flows are none of it: they may change while a lab is up."""
    facts = {
        "hosts": {
            host: {
                "commands": fabric.host_commands(network),
                "zones": [leg.zone for leg in network.interfaces],
                "forwarding": network.forwarding,
                "image": images[SUITES[policy.hosts[host].os]],
            }
            for host, network in networks.items()
        },
        "pools": {suite: str(pool.directory) for suite, pool in pools.items()},
        "administration": policy.enclave.administration.model_dump(mode="json"),
    }
    return sha256_of(canonical_json(facts).encode())


def _clear(lab: Lab, podman: Podman) -> bool:
    """Remove machines, connections, wires and keys; True when there was any."""
    there = bool(machines.container_ids(lab, podman)) or bool(fabric.existing(lab))
    ssh.end_masters(lab)
    machines.remove(lab, podman)
    fabric.remove(lab)
    remove_tree(lab.ssh)
    (lab.state / "lab.json").unlink(missing_ok=True)
    return there


def _purge(podman: Podman) -> None:
    images = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    ours = [image for image in images if image.startswith("localhost/kakoi-")]
    in_use = {entry["Image"] for entry in podman.containers("kakoi.lab")}
    if in_use & set(ours):
        raise KakoiError("another lab still uses the images", "kakoi lab down --name NAME for each of the others first")
    if ours:
        podman("rmi", *ours)
    shutil.rmtree(CACHE, ignore_errors=True)


def _holding(lab: Lab) -> AbstractContextManager[None]:
    return locked(lab.lock, _BUSY_SECONDS, f"another kakoi is building or removing the lab {lab.name}")
