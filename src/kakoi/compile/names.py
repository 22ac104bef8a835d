"""One ``/etc/hosts`` body for all hosts: nobody inside depends on a name server to find a neighbour.

A host has ``<host>.<domain> <host>``. A gateway has its plain name at its first interface and
``<host>-<zone>`` at every one, so that each leg can be named.
"""

from collections.abc import Iterator

from kakoi.policy.model import Host, Policy


def names_text(policy: Policy) -> str:
    """Body of ``names.hosts``, sorted by host."""
    lines = [
        "# Compiled from the policy by kakoi; do not edit.",
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
    ]
    domain = policy.enclave.body.domain
    for host in sorted(policy.hosts.values(), key=lambda host: host.id):
        lines += _lines(host, domain)
    return "\n".join(lines) + "\n"


def _lines(host: Host, domain: str) -> Iterator[str]:
    plain = f"{host.id}.{domain} {host.id}"
    if host.kind != "gateway":
        yield from (f"{address} {plain}" for addresses in host.interfaces.values() for address in addresses)
        return
    for index, (zone, addresses) in enumerate(sorted(host.interfaces.items())):
        leg = f"{host.id}-{zone}.{domain} {host.id}-{zone}"
        yield from (f"{address} {plain} {leg}" if index == 0 else f"{address} {leg}" for address in addresses)
