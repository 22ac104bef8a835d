"""What holds for the compiler whatever the policy: nft takes its files, and they say what the flows say, exactly."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kakoi.compile.artifacts import compile_policy
from kakoi.compile.network import endpoint_address, forward_path, topology_of
from kakoi.compile.nftables import rulesets
from kakoi.compile.truth import Cell, truth_table
from kakoi.policy.model import Policy
from kakoi.policy.sets import hosts_in
from properties.compiled_text import elements, passing
from properties.random_policies import policies

_ROOT = Path(__file__).parents[2]
_EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_EXAMPLES
@given(policies())
def test_nft_takes_every_file_of_every_policy(policy: Policy) -> None:
    """No policy compiles to something that nft or the kernel refuses: overlapping elements, unknown names, long names."""
    load_each = 'for file in "$1"/*; do nft --file "$file" || exit 1; done'
    with TemporaryDirectory() as folder:
        for host, text in rulesets(policy):
            Path(folder, host).write_text(text, encoding="utf-8")
        Path(folder, "empty").touch()
        command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", load_each, "sh", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@_EXAMPLES
@given(policies())
def test_the_truth_table_says_what_an_obvious_reading_of_the_flows_says(policy: Policy) -> None:
    """Asking every flow in turn, for each cell anew, gives the same answer as the table."""
    for cell in truth_table(policy):
        assert (cell.expected, cell.flow) == _obvious(policy, cell), cell


@_EXAMPLES
@given(policies())
def test_a_connection_passes_where_its_path_leads_and_nowhere_else(policy: Policy) -> None:
    """An open cell is in the sets of every managed machine on its path; a blocked one fails at one of ours at least."""
    files = {host: elements(text) for host, text in rulesets(policy)}
    for cell in truth_table(policy):
        if cell.expected == "no_route":
            continue
        source = endpoint_address(policy, cell.source, cell.destination, cell.family)
        destination = endpoint_address(policy, cell.destination, cell.source, cell.family)
        if source is None or destination is None:
            pytest.fail(f"{cell} asks for a family that one end does not have")
        path = _passages(policy, cell)
        seen = {host: passing(found, source, destination, cell.protocol, cell.port) for host, found in files.items()}
        assert {(host, passage) for host, flows in seen.items() for passage in flows} <= set(path), cell
        managed = [point for point in path if point[0] in files]
        if cell.expected == "open":
            assert all(passage in seen[host] for host, passage in managed), cell
        else:
            assert any(passage not in seen[host] for host, passage in managed), cell


@_EXAMPLES
@given(policies(), st.randoms(use_true_random=False))
def test_the_order_of_the_policy_files_does_not_matter(policy: Policy, chance: random.Random) -> None:
    """Zones, hosts and services in another order give the same bytes, artifact by artifact."""
    shuffled = policy.model_copy(
        update={
            "zones": _shuffled(policy.zones, chance),
            "hosts": _shuffled(policy.hosts, chance),
            "services": policy.services,
        }
    )
    assert _artifacts(shuffled) == _artifacts(policy)


@_EXAMPLES
@given(policies(), st.randoms(use_true_random=False))
def test_the_order_of_flows_decides_owners_only(policy: Policy, chance: random.Random) -> None:
    """Flows in another order open the same connections."""
    shuffled = policy.model_copy(update={"flows": _shuffled(policy.flows, chance)})
    assert _open_cells(shuffled) == _open_cells(policy)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Neither the hash seed nor the process leaves a trace in any file."""
    manifests = []
    for seed in ("0", "1"):
        out = tmp_path / seed
        command = [sys.executable, "-c", "from kakoi.cli import main; main()", "compile", "--out", str(out)]
        subprocess.run(command, cwd=_ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True)
        manifests.append((out / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
    assert b"kakoi.nft" in manifests[0]


def _obvious(policy: Policy, cell: Cell) -> tuple[str, str | None]:
    if not topology_of(policy).has_route(cell.source, cell.destination):
        return "no_route", None
    for flow in policy.flows.values():
        from_, to = _named(policy, flow.from_, cell.source, cell), _named(policy, flow.to, cell.destination, cell)
        if from_ and to and any(_has_port(policy, service, cell) for service in flow.services):
            return "open", flow.id
    ours = [host for host, _ in _passages(policy, cell) if policy.hosts[host].managed == "ansible"]
    return ("blocked" if ours else "open"), None


def _named(policy: Policy, references: tuple[str, ...], host: str, cell: Cell) -> bool:
    """Whether references mean a host; a gateway that nobody holds back has an address of its zone."""
    if host in hosts_in(policy, references):
        return True
    entry = policy.hosts[host]
    if entry.kind != "gateway" or entry.managed == "ansible":
        return False
    peer = cell.destination if host == cell.source else cell.source
    address = endpoint_address(policy, host, peer, cell.family)
    return any(
        address in network for name in references if name in policy.zones for network in policy.zones[name].networks
    )


def _has_port(policy: Policy, service_id: str, cell: Cell) -> bool:
    service = policy.services[service_id]
    if cell.protocol == "icmp":
        return bool(service.icmp if cell.family == "ipv4" else service.icmpv6)
    ranges = service.tcp if cell.protocol == "tcp" else service.udp
    return any(ports.first <= (cell.port or 0) <= ports.last for ports in ranges)


def _passages(policy: Policy, cell: Cell) -> list[tuple[str, str]]:
    """Machines on the way of a cell, and the chain in which each sees it."""
    topology = topology_of(policy)
    here = topology.facing_zone(cell.source, cell.destination)
    there = topology.facing_zone(cell.destination, cell.source)
    crossed = [
        (hop.gateway, f"{hop.in_zone}-{hop.out_zone}") for hop in forward_path(policy, cell.source, cell.destination)
    ]
    return [(cell.source, f"localhost-{there}"), *crossed, (cell.destination, f"{here}-localhost")]


def _shuffled[T](mapping: dict[str, T], chance: random.Random) -> dict[str, T]:
    names = list(mapping)
    chance.shuffle(names)
    return {name: mapping[name] for name in names}


def _artifacts(policy: Policy) -> dict[str, str]:
    """Every file but the truth table and its digest, which follow the order of the policy by design."""
    return {
        str(artifact.path): artifact.text
        for artifact in compile_policy(policy)
        if not re.fullmatch(r"truth\.json|manifest\.json", str(artifact.path))
    }


def _open_cells(policy: Policy) -> set[tuple[str, str, str, str, int | None]]:
    return {
        (cell.source, cell.destination, cell.family, cell.protocol, cell.port)
        for cell in truth_table(policy)
        if cell.expected == "open"
    }
