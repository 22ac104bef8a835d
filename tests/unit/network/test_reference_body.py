"""The whole network of the reference body."""

import dataclasses

import pytest

from kakoi.compile.truth import truth_table
from kakoi.errors import InputError
from kakoi.policy.model import Isolated, OnlyVia, Survives
from kakoi.reach import dimensions as d
from kakoi.reach.conditions import merge
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.network.guarantees import Prover
from kakoi.reach.network.model import NetworkModel
from kakoi.reach.network.travel import Traveller

from .conftest import Body

_NUMBER = {"tcp": 6, "udp": 17}
_ICMP = {"ipv4": (1, d.ICMP_TYPE, 8), "ipv6": (58, d.ICMPV6_TYPE, 128)}


def test_the_network_answers_as_the_truth_table_says(body: Body) -> None:
    """What each host can really send arrives exactly where the compiler's own table says ``open``."""
    traveller = Traveller(body.model, filters=body.filters)
    arrived = {host: traveller.from_machine(host) for host in body.policy.hosts}
    wrong = []
    for cell in truth_table(body.policy):
        asked = {d.FAMILY: d.IPV4 if cell.family == "ipv4" else d.IPV6}
        if cell.protocol == "icmp":
            number, of, kind = _ICMP[cell.family]
            asked |= {d.PROTOCOL: IntervalSet.single(number), of: IntervalSet.single(kind)}
        else:
            asked |= {
                d.PROTOCOL: IntervalSet.single(_NUMBER[cell.protocol]),
                d.DPORT: IntervalSet.single(cell.port or 0),
            }
        found = any(
            delivery.target == cell.destination and merge(delivery.box, asked) is not None
            for delivery in arrived[cell.source]
        )
        if found != (cell.expected == "open"):
            wrong.append(cell)
    assert wrong == []


def test_every_guarantee_of_the_separated_body_holds(body: Body) -> None:
    """With administrators and servers on wires of their own, every guarantee holds against forged sources."""
    verdicts = Prover(body.policy, body.model, filters=body.filters).judge_all(margins=False)
    assert {verdict.id: verdict.holds for verdict in verdicts} == dict.fromkeys(body.policy.guarantees, "yes")


def test_a_wire_shared_with_the_administrators_is_a_way_to_the_stores(body: Body) -> None:
    """A log server on the administrators' wire can send with their address, and the pivot guarantee breaks."""
    station = body.model.machines["admin_station"]
    moved = dataclasses.replace(
        body.model.machines["log_server"],
        legs=(dataclasses.replace(station.legs[0], addresses=body.model.machines["log_server"].legs[0].addresses),),
    )
    model = NetworkModel({**body.model.machines, "log_server": moved}, body.model.spaces)
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("log_server",), to=("allowance_store",))
    verdict = body.judge(guarantee, model)
    assert verdict.holds == "no"
    assert verdict.attacks[0].forged
    assert verdict.attacks[0].witness.as_json()["packet"]["saddr"] in {
        str(address.ip) for address in station.legs[0].addresses
    }


def test_bound_addresses_take_the_forged_way_away(body: Body) -> None:
    """On a wire that binds addresses, the same host can use its own address only."""
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("package_mirror",), to=("log_server",))
    free = Prover(body.policy, body.model, filters=body.filters).judge(guarantee, margins=False)
    bound = Prover(body.policy, body.model, ("enclave_ops",), body.filters).judge(guarantee, margins=False)
    assert free.holds == bound.holds == "no"
    assert not bound.attacks[0].forged


def test_a_guarantee_about_nothing_is_an_error(body: Body) -> None:
    """An empty set never passes."""
    policy = body.policy.model_copy(update={"assets": {}})
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("internet",), to=("my_number_stores",))
    with pytest.raises(InputError, match="nothing would be proved"):
        Prover(policy, body.model, filters=body.filters).judge(guarantee)


def test_the_margin_of_a_guarantee_names_the_points_that_break_it(body: Body) -> None:
    """Two gateways stop a terminal that forges sources: the margin is two, and losing both really breaks it."""
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("employee_terminal",), to=("allowance_store",))
    prover = Prover(body.policy, body.model, filters=body.filters)
    margin = prover.judge(guarantee).margin
    assert margin is not None
    assert (margin.failures, set(margin.points), margin.exact) == (2, {"core_gateway", "enclave_gateway"}, True)
    assert prover.breach(guarantee, frozenset(margin.points)) is not None


def test_a_host_firewall_alone_cannot_see_that_a_source_is_forged(body: Body) -> None:
    """Without the gateway between them, the proxy reaches the store with the application's address."""
    guarantee = Isolated(id="g", why="w", kind="isolated", from_=("access_proxy",), to=("allowance_store",))
    prover = Prover(body.policy, body.model, filters=body.filters)
    margin = prover.judge(guarantee).margin
    assert margin is not None
    assert margin.points == ("enclave_gateway",)


def test_a_guard_that_is_not_on_the_way_guards_nothing(body: Body) -> None:
    """``only_via`` with the wrong guard shows the way around it."""
    guarantee = OnlyVia(
        id="g", why="w", kind="only_via", from_=("access_proxy",), to=("allowance_store",), via=("directory",)
    )
    verdict = body.judge(guarantee)
    assert verdict.holds == "no"
    assert [attack.witness.target for attack in verdict.attacks] == ["allowance_app", "allowance_store"]


def test_two_failures_break_what_two_firewalls_keep(body: Body) -> None:
    """``survives`` holds with one failure and finds the pair of gateways with two."""
    base = Isolated(id="base", why="w", kind="isolated", from_=("employee_terminal",), to=("allowance_store",))
    policy = body.policy.model_copy(update={"guarantees": {"base": base}})
    prover = Prover(policy, body.model, filters=body.filters)
    one = prover.judge(Survives(id="s", why="w", kind="survives", guarantee="base", failures=1), margins=False)
    two = prover.judge(Survives(id="s", why="w", kind="survives", guarantee="base", failures=2), margins=False)
    assert (one.holds, two.holds) == ("yes", "no")
    assert set(two.failed) == {"core_gateway", "enclave_gateway"}
