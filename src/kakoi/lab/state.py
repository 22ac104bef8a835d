"""What a finished lab is, in ``/run/kakoi/<lab>/lab.json``: written last, so its presence says "complete"."""

import json
from dataclasses import asdict, dataclass
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from kakoi.canonical import canonical_json
from kakoi.compile.network import HostNetwork, Interface, Route
from kakoi.errors import KakoiError
from kakoi.lab.names import Lab
from kakoi.lab.system import write_private


@dataclass(frozen=True, slots=True)
class HostState:
    """One machine of the lab."""

    container: str
    namespace: str
    os: str
    managed: bool
    """False for hosts outside the body's power, which the lab plays."""


@dataclass(frozen=True, slots=True)
class LabState:
    """A finished lab."""

    name: str
    policy: str
    """Folder of the policy, absolute."""
    controller: str
    """Host whose namespace ssh enters the lab through."""
    plan_sha256: str
    """Digest of everything that the lab was built from: network, systems, images, packages."""
    mirror_key: str
    """Public key of the inside package repository (armoured), on this machine."""
    hosts: dict[str, HostState]
    networks: list[dict[str, Any]]
    """Wires as they were built, in policy order (``network_document``): the policy may have changed since."""


def network_document(network: HostNetwork) -> dict[str, Any]:
    """A host's network as JSON data."""
    return {
        "host": network.host,
        "forwarding": network.forwarding,
        "interfaces": [
            {"zone": leg.zone, "device": leg.device, "addresses": [str(address) for address in leg.addresses]}
            for leg in network.interfaces
        ],
        "routes": [{"destination": str(route.destination), "via": str(route.via)} for route in network.routes],
    }


def networks_of(state: LabState) -> dict[str, HostNetwork]:
    """The wires of a lab, by host, in policy order."""
    return {
        document["host"]: HostNetwork(
            host=document["host"],
            interfaces=tuple(
                Interface(leg["zone"], leg["device"], tuple(ip_interface(text) for text in leg["addresses"]))
                for leg in document["interfaces"]
            ),
            routes=tuple(
                Route(ip_network(route["destination"]), ip_address(route["via"])) for route in document["routes"]
            ),
            forwarding=document["forwarding"],
        )
        for document in state.networks
    }


def state_path(lab: Lab) -> Path:
    """Where a lab's state lies."""
    return lab.state / "lab.json"


def write_state(lab: Lab, state: LabState) -> None:
    """Declare a lab complete."""
    write_private(state_path(lab), canonical_json(asdict(state)))


def find_state(lab: Lab) -> LabState | None:
    """The lab's state; None where there is no complete lab."""
    try:
        data: dict[str, Any] = json.loads(state_path(lab).read_text(encoding="utf-8"))
        return LabState(**{**data, "hosts": {host: HostState(**about) for host, about in data["hosts"].items()}})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise KakoiError(f"{state_path(lab)} cannot be read: {error}", f"kakoi lab down --name {lab.name}") from None


def read_state(lab: Lab) -> LabState:
    """The lab's state.

    Raises:
        KakoiError: the lab is not up.
    """
    state = find_state(lab)
    if state is None:
        raise KakoiError(f"the lab {lab.name} is not up", f"kakoi lab up --name {lab.name}")
    return state
