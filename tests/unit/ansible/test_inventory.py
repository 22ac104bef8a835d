"""The inventory that follows from the policy, and the plugin that hands it to Ansible."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kakoi.ansible.inventory_plan import LabAccess, PlannedInventory, plan_inventory
from kakoi.policy import Policy
from kakoi.policy.sets import managed_hosts

ROOT = Path(__file__).resolve().parents[3]
COMPILED = Path("/build/compiled")
LAB = LabAccess(name="some", state=Path("/run/kakoi/some"), connect=Path("/connect.py"), python=Path("/python"))


@pytest.fixture(scope="module")
def real(policy: Policy) -> PlannedInventory:
    """The inventory of real machines."""
    return plan_inventory(policy, COMPILED)


@pytest.fixture(scope="module")
def lab(policy: Policy) -> PlannedInventory:
    """The inventory of a lab."""
    return plan_inventory(policy, COMPILED, LAB)


def members(inventory: PlannedInventory, group: str) -> set[str]:
    """Hosts of a group."""
    return {name for name, host in inventory.hosts.items() if group in host.groups}


def test_managed_and_external_divide_the_hosts(policy: Policy, real: PlannedInventory) -> None:
    """Every host is in exactly one of the two groups, as the policy says."""
    assert members(real, "managed") == set(managed_hosts(policy))
    assert members(real, "external") == set(policy.hosts) - set(managed_hosts(policy))


@pytest.mark.parametrize(
    ("group", "hosts"),
    [
        ("gateways", {"edge_gateway", "core_gateway", "enclave_gateway"}),
        ("controllers", {"admin_station"}),
        ("package_mirrors", {"package_mirror"}),
        ("time_servers", {"log_server"}),
        ("zone_enclave_data", {"enclave_gateway", "allowance_store", "year_end_store"}),
        ("os_debian12", {"groupware", "year_end_store"}),
    ],
)
def test_groups_follow_the_policy(real: PlannedInventory, group: str, hosts: set[str]) -> None:
    """Each group holds the hosts that the policy puts there."""
    assert members(real, group) == hosts


def test_no_group_is_named_like_a_host(real: PlannedInventory) -> None:
    """A group named like a host would let Ansible take one for the other."""
    assert not {group for host in real.hosts.values() for group in host.groups} & real.hosts.keys()


def test_a_gateway_is_met_at_the_leg_that_faces_the_controller(real: PlannedInventory) -> None:
    """The controller stands behind the enclave gateway, so it meets the core gateway at the enclave's entrance."""
    assert real.hosts["core_gateway"].variables["ansible_host"] == "10.40.1.1"
    assert real.hosts["enclave_gateway"].variables["ansible_host"] == "10.40.5.1"


def test_the_mirror_installs_from_its_own_disk(real: PlannedInventory) -> None:
    """Only the mirror itself does not need the mirror."""
    assert real.hosts["package_mirror"].variables["kakoi_package_uri"] == "file:/srv/mirror/trixie"
    assert real.hosts["groupware"].variables["kakoi_package_uri"] == "http://package_mirror.kakuu.example/bookworm"


def test_everybody_but_the_time_server_asks_it(real: PlannedInventory) -> None:
    """The time server asks nobody inside, everybody else asks it, over both families."""
    assert real.hosts["log_server"].variables["kakoi_time_servers"] == []
    assert real.hosts["edge_gateway"].variables["kakoi_time_servers"] == ["10.40.4.30", "fd6b:616b:6f69:44::30"]


def test_real_machines_have_plain_ssh(real: PlannedInventory) -> None:
    """Without a lab there are no ssh arguments, and nobody logs in to what is not ours."""
    assert not [name for host in real.hosts.values() for name in host.variables if name.startswith("ansible_ssh")]
    assert "ansible_host" not in real.hosts["resident_registry"].variables


def test_lab_hosts_are_entered_through_the_controller(lab: PlannedInventory) -> None:
    """Managed hosts are met in-band: from the controller's namespace, at their real address."""
    variables = lab.hosts["allowance_store"].variables
    assert variables["ansible_host"] == "10.40.3.10"
    assert "ProxyCommand='/python -IS /connect.py some-admin_station %h %p'" in str(
        variables["ansible_ssh_common_args"]
    )


def test_outside_hosts_are_entered_from_within(lab: PlannedInventory) -> None:
    """Hosts that the lab plays are entered in their own namespace, never across the network under test."""
    variables = lab.hosts["internet_client"].variables
    assert variables["ansible_host"] == "127.0.0.1"
    assert "some-internet_client %h %p" in str(variables["ansible_ssh_common_args"])
    assert "internet_client" in members(lab, "lab_outside")


def test_each_lab_host_has_its_own_socket_and_key_name(lab: PlannedInventory) -> None:
    """Outside hosts share 127.0.0.1: neither their connection nor their host key may be taken for another's."""
    sockets = [host.variables["ansible_control_path"] for host in lab.hosts.values()]
    assert len(set(sockets)) == len(lab.hosts)
    assert all(
        f"HostKeyAlias={name}" in str(host.variables["ansible_ssh_common_args"]) for name, host in lab.hosts.items()
    )


def test_sockets_fit_a_socket_address(lab: PlannedInventory) -> None:
    """A path of a Unix socket has 107 bytes at most, and ssh adds 17 while it makes one (unix(7))."""
    assert max(len(str(host.variables["ansible_control_path"])) for host in lab.hosts.values()) + 17 <= 107


def ansible_inventory(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-inventory as an engineer would."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(config), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", **environment},
    )


def test_the_plugin_publishes_the_plan() -> None:
    """Ansible shows a lab's host with its variables; KAKOI_LAB chooses the lab."""
    run = ansible_inventory(ROOT / "inventories/lab", "--host", "allowance_store", KAKOI_LAB="other")
    variables: dict[str, Any] = json.loads(run.stdout)
    assert variables["kakoi_zones"] == ["enclave_data"]
    assert "other-admin_station" in variables["ansible_ssh_common_args"]
    assert variables["base_clock_control"] is False


def test_the_example_needs_no_lab() -> None:
    """The example inventory has the same hosts, over plain ssh."""
    variables = json.loads(ansible_inventory(ROOT / "inventories/example", "--host", "allowance_store").stdout)
    assert variables["ansible_host"] == "10.40.3.10"
    assert "nsconnect" not in json.dumps(variables)


def test_a_wrong_policy_stops_with_its_own_message(tmp_path: Path) -> None:
    """A policy that is not there is refused by name, and an empty inventory is never used instead."""
    config = tmp_path / "kakoi.yml"
    config.write_text("plugin: kakoi_policy\npolicy: nowhere\n")
    run = ansible_inventory(config, "--list")
    assert run.returncode != 0
    assert f"{tmp_path}/nowhere" in run.stderr
    assert "Traceback" not in run.stderr
