"""The way into the lab over ssh: a key of the lab's own, its machines' host keys, and a configuration for ssh.

Managed hosts are entered as in real life: from the controller, at the address that the controller sees, through
every firewall on the way. Hosts outside the body's power are entered at their own loopback: the lab plays them.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from kakoi.compile.network import HostNetwork, endpoint_address
from kakoi.lab.names import Lab
from kakoi.lab.system import run, run_anyhow, write_private
from kakoi.policy import Policy

NSCONNECT = Path(__file__).with_name("nsconnect.py")


def make_key(lab: Lab) -> str:
    """Make the lab's automation key and return its public half."""
    lab.ssh.mkdir(mode=0o700)
    key = lab.ssh / "automation"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"automation of lab {lab.name}", "-f", str(key))
    return key.with_suffix(".pub").read_text(encoding="ascii").strip()


def write_known_hosts(lab: Lab, networks: Mapping[str, HostNetwork], host_keys: Mapping[str, str]) -> None:
    """Write known_hosts (sshd(8)): each machine by its name and by every address that it has."""
    lines = []
    for host, key in host_keys.items():
        addresses = [str(address.ip) for leg in networks[host].interfaces for address in leg.addresses]
        lines.append(f"{','.join([host, *addresses])} {' '.join(key.split()[:2])}\n")
    write_private(lab.ssh / "known_hosts", "".join(lines), 0o600)


def write_configuration(lab: Lab, policy: Policy) -> None:
    """Write ssh_config(5), so that ``ssh -F /run/kakoi/<lab>/ssh/config HOST`` is all one needs."""
    write_private(lab.ssh / "config", "\n".join([*_hosts(lab, policy), _common(lab, policy)]), 0o600)


def _hosts(lab: Lab, policy: Policy) -> list[str]:
    controller = policy.enclave.administration.controller
    blocks = []
    for host in policy.hosts.values():
        seen = [endpoint_address(policy, host.id, controller, family) for family in ("ipv4", "ipv6")]
        inside = host.managed == "ansible"
        address = next((str(address) for address in seen if address is not None), "") if inside else "127.0.0.1"
        entrance = lab.namespace(controller if inside else host.id)
        blocks.append(
            f"Host {host.id}\n"
            f"  HostName {address}\n"
            f"  HostKeyAlias {host.id}\n"
            f"  ProxyCommand {shlex.join([sys.executable, '-IS', str(NSCONNECT), entrance])} %h %p\n"
        )
    return blocks


def _common(lab: Lab, policy: Policy) -> str:
    options = {
        "User": policy.enclave.administration.automation_user,
        "IdentityFile": lab.ssh / "automation",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": lab.ssh / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "ProxyUseFdpass": "yes",
        "PasswordAuthentication": "no",
    }
    return "Host *\n" + "".join(f"  {name} {value}\n" for name, value in options.items())


def end_masters(lab: Lab) -> None:
    """End the lab's shared ssh connections (ControlMaster), whoever opened them."""
    if lab.ssh.is_dir():
        for entry in lab.ssh.iterdir():
            if entry.is_socket():
                run_anyhow("ssh", "-S", str(entry), "-O", "exit", "lab")
