"""Kernel network settings of one host, as a ``sysctl.d`` file.

Every setting is named for ``all`` (which also binds interfaces that exist already) and ``default`` (interfaces
still to come). Only ``net.*``: nothing here touches memory, processes or file systems.
"""

from kakoi.compile.network import HostNetwork

_SAME_FOR_ALL = (
    ("Answer only for the way a packet came (RFC 3704): a second guard beside the firewall's own.", (
        ("net.ipv4.conf.{scope}.rp_filter", 1),
    )),
    ("Routes come from the policy alone: no redirects (RFC 1122), no source routing (RFC 5095, RFC 7126).", (
        ("net.ipv4.conf.{scope}.accept_redirects", 0),
        ("net.ipv4.conf.{scope}.secure_redirects", 0),
        ("net.ipv4.conf.{scope}.send_redirects", 0),
        ("net.ipv4.conf.{scope}.accept_source_route", 0),
        ("net.ipv6.conf.{scope}.accept_redirects", 0),
        ("net.ipv6.conf.{scope}.accept_source_route", 0),
    )),
    ("Addresses are static: no router advertisements, no addresses made up from them (RFC 4861, RFC 4862).", (
        ("net.ipv6.conf.{scope}.accept_ra", 0),
        ("net.ipv6.conf.{scope}.autoconf", 0),
        ("net.ipv6.conf.{scope}.router_solicitations", 0),
    )),
    ("Answer ARP only on the interface that has the address.", (
        ("net.ipv4.conf.{scope}.arp_ignore", 1),
        ("net.ipv4.conf.{scope}.arp_announce", 2),
    )),
    ("Keep quiet towards broadcasts and bogus errors (RFC 1122); survive floods of half-open connections (RFC 4987).", (
        ("net.ipv4.icmp_echo_ignore_broadcasts", 1),
        ("net.ipv4.icmp_ignore_bogus_error_responses", 1),
        ("net.ipv4.tcp_syncookies", 1),
    )),
)  # fmt: skip
"""A reason and the settings it gives; ``{scope}`` stands for ``all`` and ``default``."""


def sysctl_text(network: HostNetwork) -> str:
    """Body of ``sysctl.conf`` for one host."""
    forwarding = int(network.forwarding)
    role = "A gateway forwards" if forwarding else "Only gateways forward"
    lines = [f"# kakoi: {network.host}. Compiled from the policy; do not edit.", "", f"# {role}."]
    lines += [f"net.ipv4.ip_forward = {forwarding}"]
    lines += [f"net.ipv6.conf.{scope}.forwarding = {forwarding}" for scope in ("all", "default")]
    for reason, settings in _SAME_FOR_ALL:
        lines += ["", f"# {reason}"]
        for key, value in settings:
            scopes = ("all", "default") if "{scope}" in key else ("",)
            lines += [f"{key.format(scope=scope)} = {value}" for scope in scopes]
    return "\n".join(lines) + "\n"
