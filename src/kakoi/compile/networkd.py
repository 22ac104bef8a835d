"""Addresses and routes as systemd-networkd units, for real machines.

One unit for each interface. The lab sets the same addresses and routes itself and does not use these.
"""

from collections.abc import Iterator

from kakoi.compile.network import HostNetwork, Interface


def networkd_units(network: HostNetwork) -> Iterator[tuple[str, str]]:
    """File name and text of every unit of one host."""
    for interface in network.interfaces:
        yield f"10-{interface.device}.network", "\n".join(_unit(network, interface)) + "\n"


def _unit(network: HostNetwork, interface: Interface) -> Iterator[str]:
    yield f"# kakoi: {network.host}, zone {interface.zone}. Compiled from the policy; do not edit."
    yield "[Match]"
    yield f"Name={interface.device}"
    yield ""
    yield "[Network]"
    yield from (f"Address={address}" for address in interface.addresses)
    yield "DHCP=no"
    yield "IPv6AcceptRA=no"
    yield "LLDP=no"
    yield "LLMNR=no"
    yield "MulticastDNS=no"
    on_link = [address.network for address in interface.addresses]
    for route in network.routes:
        if any(route.via in wire for wire in on_link):
            yield ""
            yield "[Route]"
            yield f"Destination={route.destination}"
            yield f"Gateway={route.via}"
