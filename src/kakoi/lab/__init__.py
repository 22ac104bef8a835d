"""The lab: the policy's whole network on one machine, every host a real machine of its own.

A host is a systemd container (podman) in a network namespace of its own; a zone is a bridge in one namespace
that holds nothing else (the fabric). The machine that carries the lab keeps its own addresses, routes, rules,
sysctls and containers: nothing is added to its root namespace.

``up`` leaves the network as a body has it before kakoi: addresses and routes set, gateways forwarding, no rules.
"""

from kakoi.lab.lifecycle import Machine, coldboot, down, status, up
from kakoi.lab.names import DEFAULT_NAME, Lab
from kakoi.lab.state import LabState, read_state

__all__ = ["DEFAULT_NAME", "Lab", "LabState", "Machine", "coldboot", "down", "read_state", "status", "up"]
