"""The Ansible inventory that follows from a policy: hosts, groups and variables, as plain data.

``plan_inventory`` is pure; ``inventory/kakoi_policy.py`` hands its result to Ansible. Values are plain
``str``, ``bool``, ``list`` and ``dict``: what Ansible can tag, copy and print.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kakoi.compile.network import endpoint_address
from kakoi.policy import Policy
from kakoi.policy.model import Address, Host

type Value = str | bool | list[str] | dict[str, list[str]]

SUITES: Mapping[str, str] = {"debian13": "trixie", "debian12": "bookworm"}
"""Operating system of the policy -> the Debian suite its packages come from."""
MIRROR_ROOT = PurePosixPath("/srv/mirror")
"""Where the package mirror keeps its pools, one folder per suite."""


@dataclass(frozen=True)
class LabAccess:
    """How to reach the hosts of a lab on this machine."""

    name: str
    """Prefix of its namespaces."""
    state: Path
    """Folder with the lab's ssh key and known_hosts."""
    connect: Path
    """Program that opens a connection inside a namespace and hands the socket to ssh."""
    python: Path
    """Interpreter that runs it."""


@dataclass(frozen=True)
class PlannedHost:
    """One host of the inventory."""

    groups: tuple[str, ...]
    variables: Mapping[str, Value]


@dataclass(frozen=True)
class PlannedInventory:
    """Every host, and what holds for all of them."""

    variables: Mapping[str, Value]
    hosts: Mapping[str, PlannedHost]


def plan_inventory(policy: Policy, compiled: Path, lab: LabAccess | None = None) -> PlannedInventory:
    """Lay out the inventory of a policy.

    Args:
        policy: The whole policy.
        compiled: Folder that ``kakoi compile`` writes to on the controller.
        lab: Access to a lab; None for machines that are reached over plain ssh.
    """
    return PlannedInventory(
        variables=_common_variables(policy, compiled),
        hosts={
            host.id: PlannedHost(
                groups=_groups(policy, host, in_lab=lab is not None),
                variables={**_host_variables(policy, host, compiled), **_connection(policy, host, lab)},
            )
            for host in policy.hosts.values()
        },
    )


def _common_variables(policy: Policy, compiled: Path) -> dict[str, Value]:
    administration = policy.enclave.administration
    return {
        "kakoi_automation_user": administration.automation_user,
        "kakoi_compiled_directory": str(compiled),
        "kakoi_controller": administration.controller,
        "kakoi_domain": policy.enclave.body.domain,
        "kakoi_managed_networks": _managed_networks(policy),
    }


def _managed_networks(policy: Policy) -> list[str]:
    """Networks that managed hosts stand in: whom the inside servers answer."""
    zones = {zone for host in policy.hosts.values() if host.managed == "ansible" for zone in host.interfaces}
    return [
        str(network)
        for zone in policy.zones.values()
        if zone.id in zones and zone.trust != "untrusted"
        for network in zone.networks
    ]


def _groups(policy: Policy, host: Host, *, in_lab: bool) -> tuple[str, ...]:
    """Names carry a prefix or are plural, so that no zone or host of a policy can be mistaken for a group."""
    administration = policy.enclave.administration
    groups = [f"zone_{zone}" for zone in host.interfaces]
    groups += [f"kind_{host.kind}", f"os_{host.os}"]
    groups += ["managed"] if host.managed == "ansible" else ["external"]
    groups += ["gateways"] if host.kind == "gateway" else []
    groups += ["lab_outside"] if in_lab and host.managed == "external" else []
    groups += ["controllers"] if host.id == administration.controller else []
    groups += ["package_mirrors"] if host.id == administration.package_mirror else []
    groups += ["time_servers"] if host.id == administration.time_server else []
    return tuple(groups)


def _host_variables(policy: Policy, host: Host, compiled: Path) -> dict[str, Value]:
    administration = policy.enclave.administration
    return {
        "kakoi_addresses": {zone: [str(address) for address in own] for zone, own in host.interfaces.items()},
        "kakoi_artifacts": str(compiled / host.id),
        "kakoi_controller_address": next(
            (str(address) for address in _reachable_addresses(policy, host.id, administration.controller)), ""
        ),
        "kakoi_kind": host.kind,
        "kakoi_os": host.os,
        "kakoi_package_suite": SUITES[host.os],
        "kakoi_package_uri": _package_uri(policy, host),
        "kakoi_serves_time": host.id == administration.time_server,
        "kakoi_time_servers": []
        if host.id == administration.time_server
        else [str(address) for address in _reachable_addresses(policy, host.id, administration.time_server)],
        "kakoi_zones": list(host.interfaces),
    }


def _package_uri(policy: Policy, host: Host) -> str:
    """The mirror provisions itself from its own disk, everybody else over http (the Release file is signed)."""
    mirror = policy.enclave.administration.package_mirror
    if host.id == mirror:
        return f"file:{MIRROR_ROOT / SUITES[host.os]}"
    return f"http://{mirror}.{policy.enclave.body.domain}/{SUITES[host.os]}"


def _reachable_addresses(policy: Policy, source: str, destination: str) -> tuple[Address, ...]:
    """Addresses, IPv4 first, at which a host meets another one."""
    found = (endpoint_address(policy, destination, source, family) for family in ("ipv4", "ipv6"))
    return tuple(address for address in found if address is not None)


def _connection(policy: Policy, host: Host, lab: LabAccess | None) -> dict[str, Value]:
    """Where and how ssh goes. A managed host is met in-band, at the address that the controller sees."""
    administration = policy.enclave.administration
    user: dict[str, Value] = {"ansible_user": administration.automation_user}
    if host.managed == "external":
        return {**user, **_lab_ssh(lab, host.id, host.id), "ansible_host": "127.0.0.1"} if lab else {}
    seen = _reachable_addresses(policy, administration.controller, host.id)
    address: dict[str, Value] = {"ansible_host": str(seen[0])} if seen else {}
    return {**user, **address, **(_lab_ssh(lab, host.id, administration.controller) if lab else {})}


def _lab_ssh(lab: LabAccess, host: str, entrance: str) -> dict[str, Value]:
    """Ssh that enters the lab through a host's network namespace, with the lab's own key and known hosts."""
    ssh = lab.state / "ssh"
    proxy = f"{lab.python} -IS {lab.connect} {lab.name}-{entrance} %h %p"
    options = (
        f"ProxyCommand='{proxy}'",
        "ProxyUseFdpass=yes",
        f"UserKnownHostsFile={ssh / 'known_hosts'}",
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={host}",
        "IdentitiesOnly=yes",
    )
    return {
        "ansible_ssh_private_key_file": str(ssh / "automation"),
        "ansible_ssh_common_args": " ".join(f"-o {option}" for option in options),
        # One socket per lab host: several outside hosts share 127.0.0.1, and two labs share every address.
        "ansible_control_path": str(ssh / f"{host}.socket"),
    }
