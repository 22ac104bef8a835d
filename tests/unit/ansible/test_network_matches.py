"""``network_matches``: every difference between a host and the policy is found and named."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from kakoi.ansible.modules import network_matches
from kakoi.ansible.modules.network_matches import (
    address_differences,
    main,
    read_release,
    route_differences,
    system_differences,
)

INTERFACES = [{"zone": "office", "device": "office", "addresses": ["10.10.0.10/24", "fd00::10/64"]}]
ROUTES = [{"destination": "0.0.0.0/0", "via": "10.10.0.1"}, {"destination": "fd01::/64", "via": "fd00::1"}]


def link(name: str, *addresses: str, scope: str = "global") -> dict[str, Any]:
    """One device as ``ip -j address`` shows it."""
    parts = (address.split("/") for address in addresses)
    return {"ifname": name, "addr_info": [{"local": ip, "prefixlen": int(size), "scope": scope} for ip, size in parts]}


def found_routes(*, extra: dict[str, Any] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Routes as ``ip -j route`` shows them, the kernel's own among them."""
    ipv4 = [
        {"dst": "default", "gateway": "10.10.0.1", "dev": "office", "protocol": "static"},
        {"dst": "10.10.0.0/24", "dev": "office", "protocol": "kernel", "scope": "link"},
    ]
    ipv6 = [
        {"dst": "fd01::/64", "gateway": "fd00::1", "dev": "office", "protocol": "static"},
        {"dst": "fe80::/64", "dev": "office", "protocol": "kernel"},
    ]
    return {"-4": [*ipv4, *([extra] if extra else [])], "-6": ipv6}


def test_equal_addresses_are_no_difference() -> None:
    """Addresses as written, whatever their spelling, are no difference; loopback and link-local do not count."""
    links = [
        link("lo", "127.0.0.1/8"),
        {"ifname": "office", "addr_info": link("office", "10.10.0.10/24", "fd00:0:0::10/64")["addr_info"]
         + link("office", "fe80::1/64", scope="link")["addr_info"]},
    ]  # fmt: skip
    assert list(address_differences(INTERFACES, links)) == []


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ([link("office", "10.10.0.10/24")], "office (zone office) lacks the address fd00::10/64"),
        ([link("office", "10.10.0.10/16", "fd00::10/64")], "office (zone office) lacks the address 10.10.0.10/24"),
        ([link("office", "10.10.0.10/24", "fd00::10/64", "10.99.0.1/24")], "has 10.99.0.1/24, which the policy does not know"),
        ([link("eth0", "10.10.0.10/24")], "there is no device office for zone office (devices: eth0)"),
        ([link("office", "10.10.0.10/24", "fd00::10/64"), link("wlan0", "192.168.1.5/24")], "wlan0 stands in no zone but has 192.168.1.5/24"),
    ],
)  # fmt: skip
def test_names_each_difference_of_addresses(links: list[dict[str, Any]], sentence: str) -> None:
    """A missing address, a wrong prefix, an extra address, a missing device and an unknown device are each named."""
    assert any(sentence in found for found in address_differences(INTERFACES, links))


def test_equal_routes_are_no_difference() -> None:
    """The routes as written, besides the kernel's own, are no difference."""
    assert list(route_differences(ROUTES, found_routes())) == []


def test_names_a_missing_route() -> None:
    """A route that the host lacks is named with its gateway."""
    wanted = [*ROUTES, {"destination": "10.20.0.0/24", "via": "10.10.0.2"}]
    assert list(route_differences(wanted, found_routes())) == ["the route to 10.20.0.0/24 via 10.10.0.2 is missing"]


@pytest.mark.parametrize(
    "extra",
    [
        {"dst": "10.30.0.0/24", "gateway": "10.10.0.9", "dev": "office", "protocol": "boot"},
        {"dst": "10.30.0.0/24", "protocol": "ra", "nexthops": [{"gateway": "10.10.0.9", "dev": "office"}]},
    ],
)
def test_names_a_route_too_many(extra: dict[str, Any]) -> None:
    """A route that the policy does not know is named, multipath routes too: it is another way out."""
    (found,) = route_differences(ROUTES, found_routes(extra=extra))
    assert found == "there is a route to 10.30.0.0/24 via 10.10.0.9, which the policy does not know"


def test_names_a_route_straight_to_a_device() -> None:
    """A route without a gateway that somebody added is named by its device."""
    extra = {"dst": "10.30.0.0/24", "dev": "tun0", "protocol": "static"}
    (found,) = route_differences(ROUTES, found_routes(extra=extra))
    assert "via device tun0" in found


def test_system_is_compared() -> None:
    """Another release than the policy says is a difference, the same one is not."""
    release = read_release('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n')
    assert list(system_differences("debian13", release)) == []
    assert "the host runs debian13" in "".join(system_differences("debian12", release))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A host that answers with the addresses in this list, and with the expected routes."""
    links = [link("office", "10.10.0.10/24", "fd00::10/64")]
    monkeypatch.setattr(
        network_matches, "ask_ip", lambda *asked: links if asked[0] == "address" else found_routes()[asked[0]]
    )
    monkeypatch.setattr(network_matches, "system_differences", lambda *_: iter(()))
    return links


def test_module_passes_a_host_that_matches(
    run_module: Callable[..., dict[str, Any]], host: list[dict[str, Any]]
) -> None:
    """A host as the policy says passes, unchanged."""
    assert host
    result = run_module(main, os="debian13", network={"interfaces": INTERFACES, "routes": ROUTES})
    assert (result["changed"], result["differences"]) == (False, [])


def test_module_fails_with_every_difference(
    run_module: Callable[..., dict[str, Any]], host: list[dict[str, Any]]
) -> None:
    """All differences come in one go."""
    host[:] = [link("office", "10.10.0.99/24")]
    result = run_module(main, os="debian13", network={"interfaces": INTERFACES, "routes": ROUTES[:1]})
    assert result["failed"] is True
    assert len(result["differences"]) == 4


def test_module_says_so_when_it_cannot_read(
    run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that cannot be read is a failure, never a match."""

    def broken(*_: str) -> list[dict[str, Any]]:
        raise subprocess.CalledProcessError(1, ["ip"])

    monkeypatch.setattr(network_matches, "ask_ip", broken)
    result = run_module(main, os="debian13", network=json.loads('{"interfaces": [], "routes": []}'))
    assert "could not be read" in result["msg"]
