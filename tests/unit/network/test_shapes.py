"""Breaks of the network's shape: routes, forwarding, translation, missing rules. Each is found where it is."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from kakoi.policy.model import Exactly, Isolated, NoInternetPath
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.network.model import Leg, Machine, Route
from kakoi.reach.network.reading import read_texts
from kakoi.reach.syntax import Chain, Rule, Ruleset

from .conftest import OFF, Body

EXACTLY = Exactly(id="g", why="w", kind="exactly", to=("allowance_store",))


def edited(machine: Machine, name: str, change: Callable[[Chain], Chain]) -> Machine:
    """A machine with one chain of its own table changed."""
    assert machine.rules is not None
    (table,) = machine.rules.ruleset.tables
    chains = {**table.chains, name: change(table.chains[name])}
    return replace(machine, rules=CompiledRuleset(Ruleset((replace(table, chains=chains),), ())))


def without(wanted: Callable[[Rule], bool]) -> Callable[[Chain], Chain]:
    """Take rules out of a chain; at least one is there."""

    def change(chain: Chain) -> Chain:
        kept = tuple(rule for rule in chain.rules if not wanted(rule))
        assert len(kept) < len(chain.rules)
        return replace(chain, rules=kept)

    return change


def reversed_rules(chain: Chain) -> Chain:
    """The last rule first."""
    return replace(chain, rules=tuple(reversed(chain.rules)))


def naming(text: str) -> Callable[[Rule], bool]:
    """Rules whose text holds something."""
    return lambda rule: text in rule.text


REPLY = naming("ct direction reply accept")
POSTGRESQL_V4, POSTGRESQL_V6 = naming("host_host.ipv4"), naming("host_host.ipv6")
MISSING = {
    "family_forgotten_at_the_store": ("allowance_store", "enclave_app-localhost", without(POSTGRESQL_V6)),
    "family_forgotten_at_the_gateway": ("enclave_gateway", "enclave_app-enclave_data", without(POSTGRESQL_V6)),
    "family_forgotten_at_the_sender": ("allowance_app", "localhost-enclave_data", without(POSTGRESQL_V6)),
    "rule_removed_at_the_store": ("allowance_store", "enclave_app-localhost", without(POSTGRESQL_V4)),
    "rule_removed_at_the_gateway": ("enclave_gateway", "enclave_app-enclave_data", without(POSTGRESQL_V4)),
    "rule_removed_at_the_sender": ("allowance_app", "localhost-enclave_data", without(POSTGRESQL_V4)),
    "reordered_at_the_store": ("allowance_store", "enclave_app-localhost", reversed_rules),
    "reordered_at_the_gateway": ("enclave_gateway", "enclave_app-enclave_data", reversed_rules),
    "reordered_at_the_sender": ("allowance_app", "localhost-enclave_data", reversed_rules),
    "answers_dropped_at_the_store": ("allowance_store", "localhost-enclave_app", without(REPLY)),
    "answers_dropped_at_the_gateway": ("enclave_gateway", "enclave_data-enclave_app", without(REPLY)),
    "answers_dropped_at_the_sender": ("allowance_app", "enclave_data-localhost", without(REPLY)),
    "dispatch_lost_at_the_gateway": ("enclave_gateway", "forward", without(naming("vmap"))),
    "dispatch_of_ipv6_lost_at_the_store": ("allowance_store", "input", without(naming("ip6 saddr"))),
    "ping_lost_at_the_gateway": ("enclave_gateway", "enclave_admin-enclave_data", without(naming("echo_host_host.ipv4"))),
    "ping6_lost_at_the_store": ("allowance_store", "enclave_admin-localhost", without(naming("echo_host_host.ipv6"))),
}  # fmt: skip


@pytest.mark.parametrize("fault", MISSING)
def test_a_flow_that_no_longer_works_is_missing(body: Body, fault: str) -> None:
    """``exactly`` means nothing less: a rule lost anywhere on the way, there or back, in one family, is found."""
    host, chain, change = MISSING[fault]
    verdict = body.judge(EXACTLY, body.changed((host, lambda machine: edited(machine, chain, change))))
    assert verdict.holds == "no"
    assert not verdict.attacks
    assert {one["to"] for one in verdict.missing} == {"allowance_store"}
    families = {one["packet"]["family"] for one in verdict.missing}
    assert (
        families == {"ip6"}
        if "6" in fault or "family" in fault
        else families == {"ip"} or "dropped" in fault or (families == {"ip", "ip6"})
    )


def test_a_lost_route_is_missing_and_a_gateway_that_stops_forwarding_too(body: Body) -> None:
    """Rules alone carry nothing."""
    no_route = body.changed(("allowance_app", lambda machine: replace(machine, routes=())))
    no_forwarding = body.changed(("enclave_gateway", lambda machine: replace(machine, forwards=frozenset())))
    for model in (no_route, no_forwarding):
        verdict = body.judge(EXACTLY, model)
        assert verdict.holds == "no"
        assert "application_to_allowance_store" in {one["flow"] for one in verdict.missing}


def test_forwarding_of_one_family_only_is_seen(body: Body) -> None:
    """A gateway that passes on IPv4 alone loses the IPv6 half of every flow."""
    model = body.changed(("enclave_gateway", lambda machine: replace(machine, forwards=frozenset((4,)))))
    assert {one["packet"]["family"] for one in body.judge(EXACTLY, model).missing} == {"ip6"}


def test_a_two_legged_host_that_forwards_is_a_way_around_the_gateway(body: Body) -> None:
    """A proxy with a second leg in the data zone carries packets past the gateway, once it forwards."""
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("core_gateway",), to=("allowance_store",))
    second = Leg("eth9", "enclave_data", (ip_interface("10.40.3.99/25"),))

    def two_legged(forwards: frozenset[int]) -> Callable[[Machine], Machine]:
        return lambda machine: replace(machine, legs=(*machine.legs, second), forwards=forwards, rules=OFF)

    store_off = ("allowance_store", lambda machine: replace(machine, rules=OFF))
    assert body.judge(guarantee, body.changed(("access_proxy", two_legged(frozenset())), store_off)).holds == "yes"
    verdict = body.judge(guarantee, body.changed(("access_proxy", two_legged(frozenset((4,)))), store_off))
    assert verdict.holds == "no"
    assert verdict.attacks[0].witness.path[0].machine == "access_proxy"


def test_a_default_route_opens_a_way_out(body: Body) -> None:
    """An inner gateway without rules reaches the internet as soon as somebody gives it a default route."""
    guarantee = NoInternetPath(id="g", why="w", kind="no_internet_path", of=("resident_registry",))
    off = [(host, lambda machine: replace(machine, rules=OFF)) for host in ("core_gateway",)]
    edge_rule = read_texts({"edge": "table inet kakoi {\n chain f {\n type filter hook forward priority 0; policy drop;\n"
                            ' iifname "office" oifname "internet" accept\n }\n}\n'})["edge"]  # fmt: skip
    edge = ("edge_gateway", lambda machine: replace(machine, rules=edge_rule))
    assert body.judge(guarantee, body.changed(*off, edge)).holds == "yes"
    route = Route(ip_network("0.0.0.0/0"), "office", int(ip_address("10.10.0.1")))
    core = ("core_gateway", lambda machine: replace(machine, rules=OFF, routes=(*machine.routes, route)))
    verdict = body.judge(guarantee, body.changed(core, edge))
    assert verdict.holds == "no"
    assert verdict.attacks[0].by == "resident_registry"
    assert [passed.machine for passed in verdict.attacks[0].witness.path][:2] == ["core_gateway", "edge_gateway"]


FORWARD_TRANSLATED = (
    "table inet kakoi\ndelete table inet kakoi\n"
    "table inet kakoi {{\n chain f {{\n type filter hook forward priority 0; policy drop;\n ct status dnat accept\n }}\n"
    " chain n {{\n type nat hook prerouting priority -100;\n {rule}\n }}\n}}\n"
)


@pytest.mark.parametrize(
    "translation",
    [
        "ip daddr 203.0.113.1 dnat ip to 10.20.0.20",
        "ip daddr 203.0.113.1 tcp dport 8080 dnat ip to 10.20.0.20:443",
        "ip daddr 203.0.113.1 dnat ip to tcp dport map { 8080 : 10.20.0.20, 8081 : 10.20.0.10 }",
        "ip daddr 203.0.113.1 udp dport 53 counter dnat ip to 10.20.0.20",
    ],
)
def test_a_leak_that_exists_only_after_translation_is_found(body: Body, translation: str) -> None:
    """The outer gateway hands packets for its own address on to LGWAN: the witness is sent to the outer address."""
    guarantee = NoInternetPath(id="g", why="w", kind="no_internet_path", of=("personnel_payroll",))
    texts = {"none": FORWARD_TRANSLATED.format(rule=""), "nat": FORWARD_TRANSLATED.format(rule=translation)}
    read = read_texts(texts)
    core = ("core_gateway", lambda machine: replace(machine, rules=OFF))

    def edge(name: str) -> tuple[str, Callable[[Machine], Machine]]:
        return "edge_gateway", lambda machine: replace(machine, rules=read[name])

    assert body.judge(guarantee, body.changed(core, edge("none"))).holds == "yes"
    verdict = body.judge(guarantee, body.changed(core, edge("nat")))
    shown = verdict.attacks[0].witness.as_json()
    assert verdict.holds == "no"
    assert shown["packet"]["daddr"] == "203.0.113.1"
    assert shown["arrives_as"]["daddr"] == "10.20.0.20"


def test_a_source_that_does_not_route_back_is_stopped_by_anti_spoofing_alone(body: Body) -> None:
    """Take the one look-up rule away, and the internet administers the outer gateway with a borrowed address."""
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("internet",), to=("edge_gateway",))
    assert body.judge(guarantee).holds == "yes"
    drop = without(naming("fib saddr"))
    verdict = body.judge(guarantee, body.changed(("edge_gateway", lambda machine: edited(machine, "prerouting", drop))))
    assert verdict.holds == "no"
    assert verdict.attacks[0].forged
    assert verdict.attacks[0].witness.as_json()["packet"]["saddr"] == "10.40.5.10"


def test_a_machine_that_routes_by_more_than_the_destination_never_makes_a_proof(body: Body) -> None:
    """With policy routing every route counts as possible, so a flow is no longer surely there."""
    model = body.changed(("enclave_gateway", lambda machine: replace(machine, routing_known=False)))
    assert body.judge(EXACTLY, model).holds != "yes"
