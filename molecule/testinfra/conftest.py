"""Every managed host of a lab, as testinfra sees it over the lab's own ssh: as root, in-band, host keys checked.

The lab is the one that KAKOI_LAB names. A lab that is not there is an error, never a skipped test.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import testinfra
import testinfra.host

from kakoi.policy import Policy, load_policy
from kakoi.policy.model import Host

ROOT = Path(__file__).resolve().parents[2]
LAB = os.environ.get("KAKOI_LAB", "kakoi")
STATE = Path("/run/kakoi") / LAB


@cache
def lab_hosts() -> dict[str, dict[str, Any]]:
    """Hosts of the lab, from its state."""
    hosts: dict[str, dict[str, Any]] = json.loads((STATE / "lab.json").read_text(encoding="utf-8"))["hosts"]
    return hosts


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The policy that the lab was built from."""
    state = json.loads((STATE / "lab.json").read_text(encoding="utf-8"))
    return load_policy(Path(state["policy"]))


@pytest.fixture(scope="session")
def time_server(policy: Policy) -> Host:
    """The host that gives the time."""
    return policy.hosts[policy.enclave.administration.time_server]


@pytest.fixture(scope="session")
def mirror(policy: Policy) -> Host:
    """The host that serves packages."""
    return policy.hosts[policy.enclave.administration.package_mirror]


def addresses(host: Host) -> set[str]:
    """Every address of a host of the policy."""
    return {str(address) for own in host.interfaces.values() for address in own}


@cache
def connect(name: str) -> testinfra.host.Host:
    """One shared connection to a host."""
    return testinfra.get_host(
        f"ssh://{name}",
        ssh_config=str(STATE / "ssh" / "config"),
        controlpath=f"{STATE}/ssh/{name}.testinfra",
        sudo=True,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``machine`` once for every managed host."""
    managed = [name for name, host in lab_hosts().items() if host["managed"]]
    if "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", managed, indirect=True)


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> testinfra.host.Host:
    """One managed host."""
    return connect(request.param)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The host's name in the policy."""
    return str(request.node.callspec.params["machine"])


@pytest.fixture
def compiled(name: str) -> Path:
    """The host's compiled files."""
    return ROOT / "build" / "compiled" / name
