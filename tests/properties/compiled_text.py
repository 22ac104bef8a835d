"""Reads compiled rulesets back by plain text matching: which flows let a connection pass a pair of zones."""

import re
from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

_SET = re.compile(r"^\tset ([a-z0-9_]+-[a-z0-9_]+)\.\S+ \{\n(.*?)^\t\}", re.MULTILINE | re.DOTALL)
_ELEMENT = re.compile(r'^\t\t\t(\S+) \. (\S+) \. (?:(tcp|udp) \. (\S+)|(echo-request)) comment "(\w+)"', re.MULTILINE)

type Address = IPv4Address | IPv6Address


class Element(NamedTuple):
    """One element of one set."""

    passage: str
    source: tuple[Address, Address]
    destination: tuple[Address, Address]
    protocol: str
    ports: tuple[int, int]
    flow: str


def elements(text: str) -> tuple[Element, ...]:
    """Every element of a compiled file."""
    return tuple(
        Element(passage, _span(source), _span(target), protocol or "icmp", _ports(ports or "0"), flow)
        for passage, body in _SET.findall(text)
        for source, target, protocol, ports, _, flow in _ELEMENT.findall(body)
    )


def passing(
    found: tuple[Element, ...], source: Address, destination: Address, protocol: str, port: int | None
) -> dict[str, set[str]]:
    """Passage -> flows whose elements cover a connection."""
    flows: dict[str, set[str]] = defaultdict(set)
    for element in found:
        if (
            element.protocol == protocol
            and element.ports[0] <= (port or 0) <= element.ports[1]
            and _within(source, element.source)
            and _within(destination, element.destination)
        ):
            flows[element.passage].add(element.flow)
    return dict(flows)


def _within(address: Address, span: tuple[Address, Address]) -> bool:
    return address.version == span[0].version and int(span[0]) <= int(address) <= int(span[1])


def _span(text: str) -> tuple[Address, Address]:
    if "-" in text:
        first, last = text.split("-")
        return ip_address(first), ip_address(last)
    network = ip_network(text)
    return network[0], network[-1]


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
