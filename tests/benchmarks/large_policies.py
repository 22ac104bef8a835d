"""Large made-up bodies for measuring: zones around gateways, and as many hosts and flows as asked for.

Builds the files' content as plain data; ``write_policy`` puts it into a folder and ``build_policy`` types it. The same
flows can be written as input for ferm, a compiler to compare with.
"""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from kakoi.policy.model import Policy

type Content = dict[str, dict[str, Any]]

_PORTS = (22, 443, 5432)
_TODAY = datetime.now(tz=UTC).date()
_APPROVAL = {
    "purpose": "計測",
    "approver": "計測",
    "approved": str(_TODAY - timedelta(days=7)),
    "review_by": str(_TODAY + timedelta(days=300)),
}


def body(hosts: int, flows: int, zones: int = 8, *, managed: str = "ansible") -> Content:
    """A body with one gateway between its zones; every flow is a pair of hosts of different zones and one port.

    With ``managed="external"`` the gateway and the controller alone are kakoi's.
    """
    names = [f"zone{place}" for place in range(zones)]
    content: Content = {
        "zones": {
            "internet": _zone("outside", "untrusted", ["203.0.113.0/24", "2001:db8:ffff::/64"])
            | {"default_route": "gateway"}
        },
        "hosts": {"gateway": {"name": "中央", "kind": "gateway", "interfaces": {}}},
        "services": {f"tcp{port}": {"name": "計測", "tcp": [port]} for port in _PORTS},
        "flows": {},
    }
    for place, name in enumerate(names):
        networks = [f"10.{place}.0.0/16", f"fd00:{place:x}::/64"]
        content["zones"][name] = _zone("internet_connected", "internal", networks)
        content["hosts"]["gateway"]["interfaces"][name] = [f"10.{place}.255.1", f"fd00:{place:x}::1"]
    content["hosts"]["gateway"]["interfaces"]["internet"] = ["203.0.113.1", "2001:db8:ffff::1"]
    for place in range(hosts):
        zone, number = place % zones, 256 + place // zones
        addresses = [f"10.{zone}.{number // 256}.{number % 256}", f"fd00:{zone:x}::{number:x}"]
        content["hosts"][f"host{place}"] = {
            "name": "計測",
            "kind": "server",
            "managed": managed if place else "ansible",
            "interfaces": {names[zone]: addresses},
        }
    administration = {"from": ["host0"], "to": ["managed_hosts"], "services": ["tcp22"]}
    updates = {"from": ["managed_hosts"], "to": ["host0"], "services": ["http", "ntp"]}
    content["services"] |= {"http": {"name": "計測", "tcp": [8080]}, "ntp": {"name": "計測", "udp": [123]}}
    content["flows"] = {"administration": administration | _APPROVAL, "updates": updates | _APPROVAL}
    content["flows"] |= {f"flow{place}": flow | _APPROVAL for place, flow in enumerate(_flows(hosts, flows, zones))}
    return content


def _flows(hosts: int, flows: int, zones: int) -> list[dict[str, Any]]:
    """Distinct flows: hosts at growing distance, which never stand in the same zone, port after port."""
    distances = (distance for distance in range(1, hosts) if distance % zones)
    ways = product(distances, range(hosts), _PORTS[1:])
    return [
        {"from": [f"host{start}"], "to": [f"host{(start + distance) % hosts}"], "services": [f"tcp{port}"]}
        for _, (distance, start, port) in zip(range(flows), ways, strict=False)
    ]


def _zone(layer: str, trust: str, networks: list[str]) -> dict[str, Any]:
    return {"name": "計測", "layer": layer, "trust": trust, "networks": networks}


def enclave() -> dict[str, Any]:
    """A body for the measurement."""
    return {
        "body": {"name": "架空県", "name_en": "Kakuu Prefecture", "domain": "kakuu.example", "fictional": True},
        "model": "beta_prime",
        "guideline": {"name": "計測", "version": "計測"},
        "tasks": {},
        "administration": {
            "controller": "host0",
            "automation_user": "automation",
            "package_mirror": "host0",
            "time_server": "host0",
        },
    }


def build_policy(content: Content) -> Policy:
    """The typed policy."""
    sections = {name: {key: {"id": key} | entry for key, entry in section.items()} for name, section in content.items()}
    return Policy.model_validate({"enclave": enclave(), **sections})


def write_policy(content: Content, folder: Path) -> None:
    """The policy's files, as JSON, which every YAML reader reads."""
    folder.mkdir()
    documents: dict[str, Any] = {name: {name: section} for name, section in content.items()}
    documents |= {"enclave": enclave(), "assets": {"assets": {}}, "guarantees": {"guarantees": {}}}
    for name, document in documents.items():
        (folder / f"{name}.yml").write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def ferm_input(content: Content) -> str:
    """The same flows as ferm's forward chains, one rule for each flow and family."""
    rules: list[str] = []
    for family, place in (("ip", 0), ("ip6", 1)):
        rules.append(f"domain {family} table filter chain FORWARD {{ policy DROP; mod state state ESTABLISHED ACCEPT;")
        for flow in content["flows"].values():
            if "managed_hosts" in flow["from"] + flow["to"]:
                continue
            source, target = (_address(content, flow[end][0], place) for end in ("from", "to"))
            ports = " ".join(str(content["services"][service]["tcp"][0]) for service in flow["services"])
            rules.append(f"saddr {source} daddr {target} proto tcp dport ({ports}) ACCEPT;")
        rules.append("}")
    return "\n".join(rules)


def _address(content: Content, host: str, place: int) -> str:
    (addresses,) = content["hosts"][host]["interfaces"].values()
    return str(addresses[place])
