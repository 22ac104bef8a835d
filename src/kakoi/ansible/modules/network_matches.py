"""Ansible module: see that a host is the one the policy means, and stands where the policy says. Changes nothing."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: network_matches
short_description: Compares a host's system, addresses and routes with the policy
description:
  - Reads C(/etc/os-release), C(ip -j address) and C(ip -j route), and fails with every difference from what is expected.
  - An address or route that the policy does not know is a difference too, and so is a device in no zone that is up with an
    address, since that is a second way in or out. Loopback and link-local addresses are not.
options:
  os: {description: The system as the policy names it., type: str, required: true}
  network:
    description: The host's C(network.json), as C(kakoi compile) wrote it.
    type: dict
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: [kakoi]
"""

EXAMPLES = r"""
- name: Compare the host with the policy
  network_matches:
    os: "{{ kakoi_os }}"
    network: "{{ lookup('ansible.builtin.file', kakoi_artifacts ~ '/network.json') | from_json }}"
"""

RETURN = r"""
differences:
  description: One sentence for each difference.
  type: list
  elements: str
  returned: always
"""

_FAMILIES = ("-4", "-6")
_LOOPBACK = "lo"
_LOCAL_TABLE_TYPES = {"local", "broadcast", "multicast", "anycast"}
_EVERYTHING = {"-4": "0.0.0.0/0", "-6": "::/0"}
_SILENT_PROTOCOLS = {"kernel"}
"""Routes that the kernel makes from the addresses themselves."""


def system_differences(expected: str, release: dict[str, str]) -> Iterator[str]:
    """Whether ``debian13`` is what runs here."""
    found = f"{release.get('ID', 'unknown')}{release.get('VERSION_ID', '')}"
    if found != expected:
        yield f"the policy says {expected}, the host runs {found}: correct `os` in hosts.yml, or install {expected}"


def address_differences(expected: list[dict[str, Any]], links: list[dict[str, Any]]) -> Iterator[str]:
    """Addresses missing and addresses too many, device by device."""
    found = {link["ifname"]: set(_addresses(link)) for link in links if link["ifname"] != _LOOPBACK}
    for interface in expected:
        device, zone = interface["device"], interface["zone"]
        if device not in found:
            devices = ", ".join(sorted(found)) or "none"
            yield f"there is no device {device} for zone {zone} (devices: {devices}): name it under `devices` in hosts.yml"
            continue
        wanted = {str(ipaddress.ip_interface(address)) for address in interface["addresses"]}
        yield from (f"{device} (zone {zone}) lacks the address {each}" for each in sorted(wanted - found[device]))
        yield from (
            f"{device} (zone {zone}) has {each}, which the policy does not know"
            for each in sorted(found[device] - wanted)
        )
    known = {interface["device"] for interface in expected}
    for device in sorted(found.keys() - known):
        yield from (
            f"{device} stands in no zone but has {each}: give it a zone, or take the address away"
            for each in sorted(found[device])
        )


def _addresses(link: dict[str, Any]) -> Iterator[str]:
    for entry in link.get("addr_info", []):
        if entry.get("scope") == "global":
            yield str(ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))


def route_differences(expected: list[dict[str, str]], routes: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Routes missing and routes too many; the kernel's own for directly connected networks are left out."""
    wanted = {(route["destination"], route["via"]) for route in expected}
    found = {pair for family, entries in routes.items() for entry in entries for pair in _pairs(family, entry)}
    yield from (f"the route to {to} via {via} is missing" for to, via in sorted(wanted - found))
    yield from (
        f"there is a route to {to} via {via}, which the policy does not know" for to, via in sorted(found - wanted)
    )


def _pairs(family: str, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if entry.get("protocol") in _SILENT_PROTOCOLS or entry.get("type") in _LOCAL_TABLE_TYPES:
        return
    if entry.get("dev") == _LOOPBACK:
        return
    destination = _EVERYTHING[family] if entry["dst"] == "default" else str(ipaddress.ip_network(entry["dst"]))
    for hop in entry.get("nexthops", [entry]):
        yield destination, hop.get("gateway") or f"device {hop.get('dev')}"


def read_release(text: str) -> dict[str, str]:
    """Fields of ``/etc/os-release``."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip('"') for key, _, value in pairs}


def ask_ip(*arguments: str) -> list[dict[str, Any]]:
    """What iproute2 answers, from JSON."""
    result = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, check=True)
    answer: list[dict[str, Any]] = json.loads(result.stdout or "[]")
    return answer


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"os": {"type": "str", "required": True}, "network": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    expected = module.params["network"]
    try:
        release = read_release(Path("/etc/os-release").read_text(encoding="utf-8"))
        links = ask_ip("address", "show")
        routes = {family: ask_ip(family, "route", "show", "table", "main") for family in _FAMILIES}
    except (OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"the host's own addresses and routes could not be read: {error}", differences=[])
    differences = [
        *system_differences(module.params["os"], release),
        *address_differences(expected["interfaces"], links),
        *route_differences(expected["routes"], routes),
    ]
    if differences:
        listed = "\n".join(f"  - {difference}" for difference in differences)
        module.fail_json(
            msg=f"this host is not as the policy says, nothing was changed:\n{listed}\n"
            "-> correct the policy, or the host's network; files for systemd-networkd stand beside network.json",
            differences=differences,
        )
    module.exit_json(changed=False, differences=[])


if __name__ == "__main__":
    main()
