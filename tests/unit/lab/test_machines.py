"""Machines and wires: what is asked of podman and of ip, word by word."""

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from resource import RLIM_INFINITY

import pytest

from kakoi.compile.network import HostNetwork, Interface, Route
from kakoi.lab.fabric import host_commands
from kakoi.lab.machines import Account, MachinePlan, run_arguments
from kakoi.lab.names import Lab
from kakoi.lab.podman import configuration_text
from kakoi.lab.state import LabState, network_document, networks_of

NETWORK = HostNetwork(
    host="store",
    interfaces=(Interface("data", "data0", (ip_interface("10.40.3.10/24"), ip_interface("fd00:43::10/64"))),),
    routes=(
        Route(ip_network("0.0.0.0/0"), ip_address("10.40.3.1")),
        Route(ip_network("fd00:44::/64"), ip_address("fd00:43::1")),
    ),
    forwarding=False,
)


def _arguments() -> tuple[str, ...]:
    plan = MachinePlan("store", "localhost/kakoi-trixie:1", ((Path("/pool"), "/srv/mirror/trixie"),))
    return run_arguments(Lab("b"), plan, Account("automation", "ssh-ed25519 AAAA"))


def test_a_machine_never_gets_power_over_this_computer() -> None:
    """Not privileged, no clock, no unmasked kernel settings, no network of this computer."""
    line = " ".join(_arguments())
    assert not [word for word in ("privileged", "SYS_TIME", "unmask", "SYS_MODULE", "network=host") if word in line]


def test_a_machine_keeps_its_units_sandboxes() -> None:
    """Without SYS_ADMIN systemd drops ProtectSystem and the like in silence."""
    assert "--cap-add=NET_ADMIN,NET_RAW,SYS_ADMIN" in _arguments()


def test_a_machine_stands_in_its_own_namespace_and_bears_its_labs_label() -> None:
    """Cleaning up finds it by the label, whatever else is lost."""
    assert {"--network=ns:/run/netns/b-store", "--label=kakoi.lab=b", "--hostname=store"} <= set(_arguments())


def test_the_pool_is_mounted_read_only() -> None:
    """A machine of the lab cannot change what other labs install."""
    assert "--volume=/pool:/srv/mirror/trixie:ro" in _arguments()


def test_hybrid_control_groups_need_runc() -> None:
    """crun refuses anything but purely version 2."""
    assert 'runtime = "runc"' in configuration_text(cgroup_v2=False, limits=(1024, 1024))


def test_version_2_keeps_the_machines_own_runtime() -> None:
    """An ordinary machine's podman already knows its runtime."""
    assert "runtime" not in configuration_text(cgroup_v2=True, limits=(1024, 1024))


@pytest.mark.parametrize(
    ("limits", "granted"),
    [
        ((20000, 96364), ("nofile=20000:20000", "nproc=16384:16384")),
        ((1_000_000, 1000), ("nofile=65536:65536", "nproc=1000:1000")),
        ((RLIM_INFINITY, RLIM_INFINITY), ("nofile=65536:65536", "nproc=16384:16384")),
    ],
)
def test_limits_stay_within_the_callers(limits: tuple[int, int], granted: tuple[str, str]) -> None:
    """A limit above the caller's own cannot be set where root lacks CAP_SYS_RESOURCE."""
    text = configuration_text(cgroup_v2=True, limits=limits)
    assert all(f'"{limit}"' in text for limit in granted)


def test_a_host_gets_its_addresses_and_routes() -> None:
    """Both families, IPv6 without the second that duplicate address detection takes."""
    assert host_commands(NETWORK) == [
        "link set lo up",
        "link set data0 up",
        "address add 10.40.3.10/24 dev data0",
        "address add fd00:43::10/64 dev data0 nodad",
        "route add 0.0.0.0/0 via 10.40.3.1",
        "route add fd00:44::/64 via fd00:43::1",
    ]


def test_wires_come_back_from_the_labs_state_as_they_were() -> None:
    """A cold boot rebuilds what was built, even if the policy has changed since."""
    state = LabState("b", "/policy", "store", "digest", "key", {}, [network_document(NETWORK)])
    assert networks_of(state) == {"store": NETWORK}
