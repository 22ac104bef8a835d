"""The lab's wires: one bridge for each zone in the fabric namespace, one namespace for each host, veth between.

Every kernel setting that matters is set, never inherited: a new namespace takes some of them from the machine
that carries the lab (net.core.devconf_inherit_init_net).
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from kakoi.compile.network import HostNetwork
from kakoi.lab.names import Lab, namespace_path
from kakoi.lab.system import run

_NET = Path("/proc/sys/net")

_QUIET_FABRIC = {
    # The bridges carry both families and speak neither.
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv6/conf/default/disable_ipv6": 1,
    "ipv4/ip_forward": 0,
    # Where br_netfilter is loaded, bridged packets would meet the fabric's (empty) rules and be tracked.
    "bridge/bridge-nf-call-iptables": 0,
    "bridge/bridge-nf-call-ip6tables": 0,
    "bridge/bridge-nf-call-arptables": 0,
}


def build(lab: Lab, networks: Mapping[str, HostNetwork]) -> None:
    """Build all wires of a policy.

    Raises:
        CommandError: the kernel refused; what was built so far stays for ``remove``.
    """
    run("ip", "netns", "add", lab.fabric)
    set_kernel(lab.fabric, _QUIET_FABRIC)
    zones = _zones(networks)
    bridges = [
        line
        for number, zone in enumerate(zones)
        for line in (
            f"link add br{number} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set br{number} alias {zone} up",
        )
    ]
    _batch(lab.fabric, bridges)
    for host in networks:
        attach(lab, networks, host, forwarding=networks[host].forwarding)


def attach(lab: Lab, networks: Mapping[str, HostNetwork], host: str, *, forwarding: bool) -> None:
    """Make a host's namespace and plug it in: devices, addresses, routes; no rules."""
    network, namespace, zones = networks[host], lab.namespace(host), _zones(networks)
    run("ip", "netns", "add", namespace)
    set_kernel(namespace, _host_settings(forwarding=forwarding))
    ports = []
    for port, leg in zip(_ports(networks, host), network.interfaces, strict=True):
        card = f"{leg.device} address {hardware_address(host, leg.zone)}"
        ports.append(f"link add {port} type veth peer name {card} netns {namespace}")
        ports.append(f"link set {port} alias {host}/{leg.zone} master br{zones.index(leg.zone)} up")
    _batch(lab.fabric, ports)
    _batch(namespace, host_commands(network))


def detach(lab: Lab, networks: Mapping[str, HostNetwork], host: str) -> None:
    """Unplug a host and forget everything its namespace held: rules, settings, connections."""
    # An open socket keeps a namespace alive after its name is gone; its devices must go all the same.
    _batch(lab.fabric, [f"link delete {port}" for port in _ports(networks, host)])
    run("ip", "netns", "delete", lab.namespace(host))


def host_commands(network: HostNetwork) -> list[str]:
    """``ip -batch`` lines that give a host its addresses and routes."""
    lines = ["link set lo up"]
    for interface in network.interfaces:
        lines.append(f"link set {interface.device} up")
        lines += [
            # Duplicate address detection would hold an IPv6 address back for a second.
            f"address add {address} dev {interface.device}{' nodad' if address.version == 6 else ''}"  # noqa: PLR2004
            for address in interface.addresses
        ]
    lines += [f"route add {route.destination} via {route.via}" for route in network.routes]
    return lines


def hardware_address(host: str, zone: str) -> str:
    """The Ethernet address of a host's leg: always the same, as a card's is, so that neighbours' caches stay right.

    A locally administered unicast address (IEEE 802, second bit of the first octet) out of a hash of the names.
    """
    return ":".join(f"{octet:02x}" for octet in (0x02, *sha256(f"{host}/{zone}".encode()).digest()[:5]))


def existing(lab: Lab) -> list[str]:
    """The lab's namespaces that are there."""
    place = namespace_path("")
    return sorted(entry.name for entry in place.iterdir() if lab.owns(entry.name)) if place.is_dir() else []


def remove(lab: Lab) -> None:
    """Remove every namespace of the lab; devices go with them."""
    # The fabric first: it holds one end of every wire, also of those whose other end a socket keeps alive.
    for namespace in sorted(existing(lab), key=lambda name: name != lab.fabric):
        path = namespace_path(namespace)
        if not os.path.ismount(path):
            # `ip netns add` makes a file and then binds the namespace to it: killed between the two, it leaves the file.
            path.unlink()
            continue
        if namespace == lab.fabric:
            _empty_fabric(lab)
        run("ip", "netns", "delete", namespace)


def _empty_fabric(lab: Lab) -> None:
    names = [line.split(": ")[1].partition("@")[0] for line in run("ip", "-n", lab.fabric, "-o", "link").splitlines()]
    _batch(lab.fabric, [f"link delete {name}" for name in names if name != "lo"])


def set_kernel(namespace: str, settings: Mapping[str, int]) -> None:
    """Write settings below /proc/sys/net of a namespace; one that this kernel does not have is passed over."""

    def write() -> None:
        for name, value in settings.items():
            if (_NET / name).exists():
                (_NET / name).write_text(f"{value}\n", encoding="ascii")

    in_namespace(namespace, write)


def in_namespace[Result](namespace: str, work: Callable[[], Result]) -> Result:
    """Do something in a network namespace, in a thread of its own: setns(2) moves one thread, for good."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            descriptor = os.open(namespace_path(namespace), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(descriptor, os.CLONE_NEWNET)
            finally:
                os.close(descriptor)
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - carried over to the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=enter_and_work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _host_settings(*, forwarding: bool) -> dict[str, int]:
    settings = {
        "ipv4/ip_forward": int(forwarding),
        "ipv6/conf/all/forwarding": int(forwarding),
        "ipv4/conf/all/rp_filter": 0,
        "ipv4/conf/default/rp_filter": 0,
    }
    for scope in ("all", "default"):
        settings |= {
            f"ipv6/conf/{scope}/disable_ipv6": 0,
            f"ipv6/conf/{scope}/accept_dad": 0,
            f"ipv6/conf/{scope}/accept_ra": 0,
        }
    return settings


def _zones(networks: Mapping[str, HostNetwork]) -> list[str]:
    return list(dict.fromkeys(i.zone for network in networks.values() for i in network.interfaces))


def _ports(networks: Mapping[str, HostNetwork], host: str) -> Iterator[str]:
    """Names of a host's ports in the fabric: numbers, because a device's name has 15 characters at most."""
    number = list(networks).index(host)
    return (f"p{number}.{leg}" for leg in range(len(networks[host].interfaces)))


def _batch(namespace: str, lines: Iterable[str]) -> None:
    run("ip", "-n", namespace, "-batch", "-", stdin="".join(f"{line}\n" for line in lines))
