"""What the plan asks, of whom, and with which controls."""

from ipaddress import ip_address

import pytest

from kakoi.compile.truth import Cell, truth_table
from kakoi.policy import Policy
from kakoi.policy.sets import internet_facing, managed_hosts, my_number_stores
from kakoi.probe.plan import Plan, plan_probe


@pytest.fixture(scope="module")
def shared_wire(policy: Policy) -> Policy:
    """The reference body with groupware and web proxy on the terminals' wire, between two gateways."""
    moved = {
        host: policy.hosts[host].model_copy(
            update={"interfaces": {"office": (ip_address(f"10.10.0.{n}"), ip_address(f"fd6b:616b:6f69:10::{n}"))}}
        )
        for host, n in (("groupware", 20), ("web_proxy", 21))
    }
    return policy.model_copy(update={"hosts": {**policy.hosts, **moved}})


def test_every_cell_is_asked_once_by_its_own_source(policy: Policy) -> None:
    """No cell of the truth table is left out, none is asked by somebody else."""
    cells = truth_table(policy)
    plan = plan_probe(policy, cells, policy.hosts, "quick")
    asked = [(host, number) for host, own in plan.hosts.items() for number in own.questions]
    assert sorted(number for _, number in asked) == list(range(len(cells)))
    assert all(plan.questions[number].cell.source == host for host, number in asked)


def test_the_same_policy_gives_the_same_plan(policy: Policy, cells: tuple[Cell, ...]) -> None:
    """Planning is deterministic."""
    plans = [plan_probe(policy, cells, policy.hosts) for _ in range(2)]
    assert plans[0] == plans[1]


def test_probes_go_only_to_addresses_of_the_policy(plan: Plan) -> None:
    """Every address in every order belongs to a host of the policy."""
    known = {ip_address(address) for address in plan.owners}
    for own in plan.hosts.values():
        assert {ip_address(address) for _, address, _ in own.orders["connect"]["cells"]} <= known
        assert {ip_address(address) for address in own.orders["connect"]["links"]} <= known
        for assault in own.orders["attack"]["assaults"]:
            assert ip_address(assault["via"]) in known
            assert ip_address(assault.get("target", assault["via"])) in known
            assert {ip_address(frame[3]) for frame in assault.get("frames", ())} <= known


def test_every_source_has_a_control_in_both_families(plan: Plan) -> None:
    """A source is controlled by what it may reach, or by its next hop where it may reach nothing."""
    for host, own in plan.hosts.items():
        families = {plan.questions[own.questions[position]].cell.family for position in own.controls.questions}
        families |= {"ipv6" if ":" in link else "ipv4" for link in own.controls.links}
        assert families == {"ipv4", "ipv6"}, host


def test_controls_are_expected_open(plan: Plan) -> None:
    """Nothing that must be blocked serves as a control."""
    for own in plan.hosts.values():
        for position in own.controls.questions:
            assert plan.questions[own.questions[position]].cell.expected == "open"


def test_a_host_that_may_reach_nothing_has_its_gateway_as_control(plan: Plan) -> None:
    """The residents' registry may open no connection at all."""
    controls = plan.hosts["resident_registry"].controls
    assert controls.questions == ()
    assert controls.links == ("10.30.0.1", "fd6b:616b:6f69:30::1")


def test_every_asked_port_has_a_listener_on_its_own_address(plan: Plan) -> None:
    """Listeners are bound to the address that is asked, never to all."""
    for question in plan.questions:
        if question.cell.port is not None:
            listeners = plan.hosts[question.cell.destination].orders["listen"]["listeners"]
            assert [question.cell.protocol, question.address, question.cell.port] in listeners


def test_every_internet_facing_host_attacks_every_store_on_all_ports(policy: Policy, whole: Plan) -> None:
    """The attack view leaves out no pair, port, protocol or family."""
    attacks = {
        (a.attacker, a.store, a.family) for a in whole.assaults if a.kind == "attack" and a.ports == ((1, 65535),)
    }
    facing = {*internet_facing(policy), "internet_client", "internet_server"} - set(my_number_stores(policy))
    assert attacks == {(h, s, f) for h in facing for s in my_number_stores(policy) for f in ("ipv4", "ipv6")}
    orders = [a for own in whole.hosts.values() for a in own.orders["attack"]["assaults"] if a["kind"] == "attack"]
    assert all(order["protocols"] == ["tcp", "udp"] for order in orders)


def test_an_attacker_tries_every_gateway_on_its_wire(shared_wire: Policy) -> None:
    """The web proxy stands beside two gateways, and root on it may choose."""
    plan = plan_probe(shared_wire, truth_table(shared_wire), shared_wire.hosts)
    vias = {a.via for a in plan.assaults if (a.kind, a.attacker, a.family) == ("attack", "web_proxy", "ipv4")}
    assert vias == {"10.10.0.1", "10.10.0.2"}


def test_attacks_are_controlled_by_a_connection_through_the_same_gateway(shared_wire: Policy) -> None:
    """The control frame leaves by the way that the frames take."""
    plan = plan_probe(shared_wire, truth_table(shared_wire), shared_wire.hosts)
    attacks = [a for a in plan.assaults if (a.kind, a.attacker, a.family) == ("attack", "web_proxy", "ipv4")]
    assert {(a.via, a.control) for a in attacks} == {
        ("10.10.0.1", ("203.0.113.10", 80)),
        ("10.10.0.2", ("10.40.4.20", 80)),
    }


def test_every_store_has_a_client_that_must_be_seen(whole: Plan) -> None:
    """Without frames that must arrive, none arriving would prove nothing."""
    clients = {(a.store, a.family): (a.host, bool(a.allowed)) for a in whole.assaults if a.kind == "client"}
    assert clients == {
        ("allowance_store", "ipv4"): ("allowance_app", True),
        ("allowance_store", "ipv6"): ("allowance_app", True),
        ("year_end_store", "ipv4"): ("allowance_app", True),
        ("year_end_store", "ipv6"): ("allowance_app", True),
        ("resident_registry", "ipv4"): ("core_gateway", False),
        ("resident_registry", "ipv6"): ("core_gateway", False),
    }


def test_every_managed_machine_on_the_way_is_tried_by_itself(policy: Policy) -> None:
    """From the internet to a store: two outside machines are not ours, three gateways and the store are."""
    plan = plan_probe(policy, truth_table(policy), policy.hosts, "quick")
    tried = [
        (test.host, test.role)
        for test in plan.points
        if (test.question.cell.source, test.question.cell.destination) == ("internet_client", "allowance_store")
        and (test.question.cell.service, test.question.cell.family) == ("postgresql", "ipv4")
    ]
    assert tried == [
        ("edge_gateway", "forward"),
        ("core_gateway", "forward"),
        ("enclave_gateway", "forward"),
        ("allowance_store", "input"),
    ]


def test_a_flow_of_a_whole_zone_covers_the_gateways_leg_in_it(shared_wire: Policy) -> None:
    """Groupware serves every address of the office, so only the gateway itself keeps the gateway from asking."""
    plan = plan_probe(shared_wire, truth_table(shared_wire), shared_wire.hosts, "quick")
    tried = {
        test.role
        for test in plan.points
        if (test.question.cell.source, test.question.cell.destination) == ("edge_gateway", "groupware")
        and test.question.cell.service == "https"
    }
    assert tried == {"output"}


def test_without_a_login_a_host_gets_no_orders(policy: Policy) -> None:
    """Machines of others are neither asked nor listened on, and are named."""
    plan = plan_probe(policy, truth_table(policy), managed_hosts(policy))
    assert set(plan.hosts) == set(managed_hosts(policy))
    assert plan.no_vantage == {
        "internet_client",
        "internet_server",
        "screen_broker",
        "personnel_payroll",
        "resident_registry",
    }
    assert plan.unprobed_attackers == ("internet_client", "internet_server")


def test_enforcement_points_before_foreign_machines_are_tried_from_a_neighbour(policy: Policy) -> None:
    """Where nobody can log in to the attacker, a managed host on the same wire lays its frames."""
    plan = plan_probe(policy, truth_table(policy), managed_hosts(policy), "quick")
    injectors = {
        test.injector
        for test in plan.points
        if (test.host, test.question.cell.source) == ("enclave_gateway", "internet_client") and test.role == "forward"
    }
    assert injectors == {"core_gateway"}
