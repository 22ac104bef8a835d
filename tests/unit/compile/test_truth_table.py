"""The truth table: what the deployed network must answer."""

from copy import deepcopy
from typing import Any

import yaml

from golden.compile.cases import FOLDER, golden_policy, policy_from
from kakoi.compile.truth import Cell, cell_limit, truth_table
from kakoi.policy.model import Policy


def _sections(case: str) -> dict[str, Any]:
    sections: dict[str, Any] = yaml.safe_load((FOLDER / case / "policy.yml").read_text(encoding="utf-8"))
    return deepcopy(sections)


def _cell(policy: Policy, source: str, destination: str, service: str, family: str = "ipv4") -> Cell:
    (cell,) = (
        cell
        for cell in truth_table(policy)
        if (cell.source, cell.destination, cell.service, cell.family) == (source, destination, service, family)
    )
    return cell


def test_a_flow_opens_a_cell_in_its_own_direction() -> None:
    """ssh from client to server is open by its flow; the other way it is blocked."""
    policy = golden_policy("02_gateway_and_ping")
    there, back = _cell(policy, "client", "server", "ssh"), _cell(policy, "server", "client", "ssh")
    assert (there.expected, there.flow) == ("open", "administration")
    assert (back.expected, back.flow) == ("blocked", None)


def test_ping_is_a_cell_without_port() -> None:
    """ICMP has no port."""
    cell = _cell(golden_policy("02_gateway_and_ping"), "client", "gateway", "ping", "ipv6")
    assert (cell.protocol, cell.port, cell.expected) == ("icmp", None, "open")


def test_a_host_without_a_way_out_has_no_route() -> None:
    """Inside, the kernel itself says that there is no way to the internet; the visitor's packets are dropped."""
    policy = golden_policy("04_internet")
    assert _cell(policy, "admin", "visitor", "https").expected == "no_route"
    assert _cell(policy, "visitor", "admin", "https").expected == "blocked"


def test_a_family_that_one_end_lacks_is_not_asked_for() -> None:
    """Nobody can probe the printer by IPv6."""
    cells = truth_table(golden_policy("05_two_gateways"))
    assert {cell.family for cell in cells if "printer" in (cell.source, cell.destination)} == {"ipv4"}


def test_what_nobody_of_ours_guards_is_not_called_blocked() -> None:
    """Between two external hosts on one wire everything is open, by no flow."""
    sections = _sections("01_one_flow")
    for host in sections["hosts"].values():
        host["managed"] = "external"
    cell = _cell(policy_from(sections), "server", "admin", "ssh")
    assert (cell.expected, cell.flow) == ("open", None)


def test_an_external_gateway_can_do_what_its_zone_may() -> None:
    """Nothing holds back a gateway that is not managed: its address is one of the zone's."""
    sections = _sections("03_zones_ranges_and_overlaps")
    sections["flows"]["desk_use"] = {"from": "front", "to": "admin", "services": ["ssh"]}
    ours = policy_from(sections)
    sections["hosts"]["gateway"]["managed"] = "external"
    theirs = policy_from(sections)
    assert _cell(ours, "gateway", "admin", "ssh").expected == "blocked"
    assert _cell(theirs, "gateway", "admin", "ssh").flow == "desk_use"


def test_a_range_stands_by_its_two_ends() -> None:
    """8000-8999 is asked for at 8000 and 8999."""
    ports = {cell.port for cell in truth_table(golden_policy("03_zones_ranges_and_overlaps")) if cell.protocol == "udp"}
    assert ports == {8000, 8999}


def test_the_limit_is_never_below_the_table() -> None:
    """The estimate that decides whether the table is written counts at least every cell."""
    for case in ("02_gateway_and_ping", "05_two_gateways"):
        policy = golden_policy(case)
        assert len(truth_table(policy)) <= cell_limit(policy)
