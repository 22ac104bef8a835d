"""Addresses, routes and paths."""

from copy import deepcopy
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from golden.compile.cases import FOLDER, golden_policy, policy_from
from kakoi.compile.network import Hop, endpoint_address, forward_path, plan_network, topology_of
from kakoi.errors import InputError
from kakoi.policy import Policy, load_policy


@pytest.fixture(scope="module")
def reference() -> Policy:
    """The body in policy/."""
    return load_policy(Path(__file__).parents[3] / "policy")


def _sections(case: str) -> dict[str, Any]:
    sections: dict[str, Any] = yaml.safe_load((FOLDER / case / "policy.yml").read_text(encoding="utf-8"))
    return deepcopy(sections)


def _routes(policy: Policy, host: str) -> dict[str, str]:
    return {str(route.destination): str(route.via) for route in plan_network(policy)[host].routes}


def _refusal(sections: dict[str, Any]) -> str:
    with pytest.raises(InputError) as refused:
        plan_network(policy_from(sections))
    return str(refused.value)


# ----------------------------------------------------------------------------------------- paths


def test_a_path_lists_the_gateways_crossed_and_how(reference: Policy) -> None:
    """From office to the data zone a packet crosses core and enclave."""
    assert forward_path(reference, "employee_terminal", "allowance_store") == (
        Hop("core_gateway", "office", "enclave_access"),
        Hop("enclave_gateway", "enclave_access", "enclave_data"),
    )


def test_a_path_back_is_the_path_there_reversed(reference: Policy) -> None:
    """No pair of hosts, gateways included, is routed asymmetrically."""
    for here in reference.hosts:
        for there in set(reference.hosts) - {here}:
            back = [Hop(hop.gateway, hop.out_zone, hop.in_zone) for hop in forward_path(reference, there, here)]
            assert forward_path(reference, here, there) == tuple(reversed(back))


def test_routes_lead_along_the_path(reference: Policy) -> None:
    """Following each host's own route table, hop by hop, gives the very path that the compiler filters on."""
    plans = plan_network(reference)
    owners = {a: host.id for host in reference.hosts.values() for leg in host.interfaces.values() for a in leg}
    for source in reference.hosts:
        for destination in set(reference.hosts) - {source}:
            target = endpoint_address(reference, destination, source, "ipv6")
            assert target is not None
            if not topology_of(reference).has_route(source, destination):
                continue
            at, walked = source, []
            while at != destination:
                on_link = any(target in address.network for leg in plans[at].interfaces for address in leg.addresses)
                fitting = [route for route in plans[at].routes if target in route.destination]
                best = max(fitting, key=lambda route: route.destination.prefixlen, default=None)
                at = destination if on_link or best is None else owners[best.via]
                walked += [at] if at != destination else []
            assert walked == [hop.gateway for hop in forward_path(reference, source, destination)]


def test_a_gateway_is_met_at_the_leg_that_faces_its_peer(reference: Policy) -> None:
    """From the operations zone the edge gateway is reached at its office address."""
    assert endpoint_address(reference, "edge_gateway", "admin_station", "ipv4") == ip_address("10.10.0.1")


def test_equal_ways_are_chosen_alike_in_both_directions() -> None:
    """With two gateways between the same zones, one of them carries all traffic both ways."""
    sections = _sections("02_gateway_and_ping")
    second = {
        "name": "予備",
        "kind": "gateway",
        "interfaces": {"front": ["10.1.0.2", "fd00:1::2"], "back": ["10.2.0.2", "fd00:2::2"]},
    }
    sections["hosts"] |= {"another_gateway": second}
    policy = policy_from(sections)
    (there,), (back,) = forward_path(policy, "client", "server"), forward_path(policy, "server", "client")
    assert there.gateway == back.gateway


# ---------------------------------------------------------------------------------------- routes


def test_an_enclave_host_has_no_route_to_the_internet(reference: Policy) -> None:
    """Neither a default route nor one to the untrusted zone's own networks."""
    for host in ("allowance_store", "screen_broker", "resident_registry", "enclave_gateway", "core_gateway"):
        assert {"0.0.0.0/0", "::/0", "203.0.113.0/24"} & _routes(reference, host).keys() == set()


def test_a_host_knows_every_trusted_network(reference: Policy) -> None:
    """Routes and own wires together cover all trusted zones."""
    trusted = {str(net) for zone in reference.zones.values() if zone.trust != "untrusted" for net in zone.networks}
    own = {
        str(address.network)
        for leg in plan_network(reference)["allowance_store"].interfaces
        for address in leg.addresses
    }
    assert _routes(reference, "allowance_store").keys() | own == trusted


def test_the_attacker_outside_knows_the_way_in(reference: Policy) -> None:
    """Hosts of the untrusted zone send everything to the edge."""
    assert _routes(reference, "internet_client") == {"0.0.0.0/0": "203.0.113.1", "::/0": "2001:db8:0:ff::1"}


def test_the_gateway_at_the_edge_sends_the_rest_to_the_provider(reference: Policy) -> None:
    """With ``upstream`` the edge knows a way to the whole internet, and no other gateway does."""
    outside = reference.zones["internet"].model_copy(update={"upstream": (ip_address("203.0.113.254"),)})
    policy = reference.model_copy(update={"zones": {**reference.zones, "internet": outside}})
    assert _routes(policy, "edge_gateway")["0.0.0.0/0"] == "203.0.113.254"
    assert "0.0.0.0/0" not in _routes(policy, "core_gateway")


def test_only_gateways_forward(reference: Policy) -> None:
    """Forwarding is a property of gateways and of nothing else."""
    forwarding = {host for host, plan in plan_network(reference).items() if plan.forwarding}
    assert forwarding == {"edge_gateway", "core_gateway", "enclave_gateway"}


def test_a_zone_without_ipv6_gets_no_ipv6_route() -> None:
    """No host learns an IPv6 route through or to the printers' zone, and the printer learns none."""
    policy = golden_policy("05_two_gateways")
    assert all(":" not in destination for destination in _routes(policy, "printer"))
    assert "10.4.0.0/24" in _routes(policy, "admin")


# -------------------------------------------------------------------------------------- refusals


def test_a_zone_that_nothing_connects_is_refused() -> None:
    """An island in zones.yml is named, with what to do."""
    sections = _sections("02_gateway_and_ping")
    sections["zones"]["island"] = {"name": "島", "layer": "enclave", "trust": "internal", "networks": ["10.9.0.0/24"]}
    assert "no gateway connects zone island" in _refusal(sections)


def test_a_default_route_that_leads_another_way_than_answers_is_refused() -> None:
    """A zone whose default route is not the gateway that the internet's packets come in by is asymmetric."""
    sections = _sections("04_internet")
    sections["hosts"]["inner"] = {
        "name": "内側",
        "kind": "gateway",
        "interfaces": {"dmz": ["10.1.0.2", "fd00:1::2"], "inside": ["10.2.0.2", "fd00:2::2"]},
    }
    sections["zones"]["dmz"]["default_route"] = "inner"
    assert "answers come back through edge" in _refusal(sections)


def test_a_default_route_to_a_stranger_is_refused() -> None:
    """default_route names a gateway of the zone itself."""
    sections = _sections("04_internet")
    sections["zones"]["inside"]["default_route"] = "web"
    assert "default_route of zone inside is web" in _refusal(sections)


def test_a_family_missing_half_way_is_refused() -> None:
    """Two zones with IPv6 cannot talk through one without."""
    sections = _sections("05_two_gateways")
    sections["zones"]["middle"] |= {"networks": ["10.2.0.0/24"], "families": ["ipv4"]}
    sections["hosts"]["outer"]["interfaces"]["middle"] = ["10.2.0.1"]
    sections["hosts"]["inner"]["interfaces"]["middle"] = ["10.2.0.2"]
    assert "use ipv6, but zone middle between them does not" in _refusal(sections)


def test_a_gateway_without_an_address_of_a_zones_family_is_refused() -> None:
    """A gateway stands in every family of its zones."""
    sections = _sections("02_gateway_and_ping")
    sections["hosts"]["gateway"]["interfaces"]["back"] = ["10.2.0.1"]
    assert "gateway gateway has no ipv6 address in zone back" in _refusal(sections)


def test_an_address_outside_its_zone_is_refused() -> None:
    """Nothing stands on a wire with a foreign address."""
    sections = _sections("01_one_flow")
    sections["hosts"]["server"]["interfaces"]["desk"] = ["10.99.0.1", "fd00:1::20"]
    assert "host server has an address outside zone desk" in _refusal(sections)


@pytest.mark.parametrize("device", ["lo", "all", "default"])
def test_a_device_name_that_means_something_else_is_refused(device: str) -> None:
    """A device called lo would be let through by every chain."""
    sections = _sections("01_one_flow")
    sections["hosts"]["server"]["devices"] = {"desk": device}
    assert f"calls its device in zone desk {device}" in _refusal(sections)


def test_two_devices_of_one_name_are_refused() -> None:
    """Zone names that agree in their first 15 letters need device names of their own."""
    sections = _sections("02_gateway_and_ping")
    sections["hosts"]["gateway"]["devices"] = {"front": "eth0", "back": "eth0"}
    assert "two devices called eth0" in _refusal(sections)


def test_every_problem_is_told_at_once() -> None:
    """Two mistakes are two lines of one refusal."""
    sections = _sections("02_gateway_and_ping")
    sections["hosts"]["gateway"]["interfaces"]["back"] = ["10.2.0.1"]
    sections["hosts"]["client"]["interfaces"]["front"] = ["10.77.0.1"]
    refusal = _refusal(sections)
    assert "host client" in refusal
    assert "gateway gateway" in refusal
