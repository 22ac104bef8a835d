"""Breaks seeded on purpose, at least twenty for each kind of guarantee: each is found, with a witness that shows it.

A break is a rule put into compiled rulesets. What the witness says is put to the rules themselves again: every hook on its
way must really accept the packet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from kakoi.policy.model import Exactly, Guarantee, Isolated, NoInternetPath, OnlyVia, Survives
from kakoi.reach.network.answer import Verdict
from kakoi.reach.network.boxes import point
from kakoi.reach.network.model import NetworkModel
from kakoi.reach.network.reading import read_texts
from kakoi.reach.network.witness import decide_at
from kakoi.reach.syntax import Rule

from .conftest import OFF, Body

HOLES: Mapping[str, str] = {
    "everything": "accept",
    "tcp": "meta l4proto tcp accept",
    "ipv6_only": "meta nfproto ipv6 accept",
    "ipv4_only": "meta nfproto ipv4 accept",
    "dns": "udp dport 53 accept",
    "by_source_port": "tcp sport 20 accept",
    "ping": "icmp type echo-request accept",
    "ping6": "icmpv6 type echo-request accept",
    "private_sources": "ip saddr 10.0.0.0/8 accept",
    "local_sources_6": "ip6 saddr fd00::/8 accept",
    "new": "ct state new accept",
    "high_ports": "tcp dport 1024-65535 accept",
    "syn": "tcp flags & syn == syn accept",
    "two_protocols": "meta l4proto { udp, sctp } accept",
    "one_port": "th dport 9999 accept",
    "all_but_ssh": "tcp dport != 22 accept",
    "not_invalid": "ct state != invalid accept",
    "unmarked": "meta mark 0 accept",
    "gre": "meta l4proto gre accept",
    "counted": "udp dport 5353 counter accept",
    "other_icmp": "icmp type timestamp-request accept",
}
SOMETIMES: Mapping[str, str] = {
    "limited": "limit rate 1/second accept",
    "by_hop_limit": "ip ttl > 1 accept",
    "by_option": "ip option rr exists accept",
    "even_sources": "ip saddr & 0.0.0.1 == 0.0.0.0 accept",
    "random": "numgen random mod 4 == 0 accept",
}
"""Holes that nobody can be sure of: never *held*."""
ALL = {**HOLES, **SOMETIMES}


@pytest.fixture(scope="module")
def rules() -> Mapping[str, Rule]:
    """Every hole as a rule, read through nft once."""
    lines = "\n".join(ALL.values())
    (table,) = read_texts({"holes": f"table inet holes {{\nchain holes {{\n{lines}\n}}\n}}\n"})["holes"].ruleset.tables
    return dict(zip(ALL, table.chains["holes"].rules, strict=True))


def assert_passes(verdict: Verdict, model: NetworkModel, through: str) -> None:
    """The witness passes every hook it names, one of them on the broken machine."""
    assert verdict.attacks
    machines = []
    for attack in verdict.attacks:
        for passed in attack.witness.path:
            machines.append(passed.machine)
            machine = model.machines[passed.machine]
            if machine.rules is not None and not passed.opened:
                decision = decide_at(machine, passed.hook, passed.iif, passed.oif, point(attack.witness.packet))
                assert decision.may, (passed, attack.witness.as_json())
                assert decision.must or not attack.certain
    assert through in machines


@dataclass(frozen=True)
class Break:
    """Where a hole is put, which firewalls are off beside it, and how it must show."""

    guarantee: Guarantee
    holes: tuple[tuple[str, str], ...]
    off: tuple[str, ...]
    through: str
    target: str
    bound: tuple[str, ...] = ()


BREAKS: Mapping[str, Break] = {
    "isolated_by_a_gateway": Break(
        Isolated(id="g", why="w", kind="isolated", from_=("access_proxy",), to=("allowance_store",)),
        holes=(("enclave_gateway", "enclave_access-enclave_data"),),
        off=("allowance_store",),
        through="enclave_gateway",
        target="allowance_store",
    ),
    "isolated_by_input_alone": Break(
        Isolated(id="g", why="w", kind="isolated", from_=("year_end_store",), to=("allowance_store",)),
        holes=(("allowance_store", "enclave_data-localhost"),),
        off=(),
        through="allowance_store",
        target="allowance_store",
        bound=("enclave_data",),
    ),
    "isolated_by_pivot": Break(
        Isolated(id="g", why="w", kind="isolated", from_=("public_web",), to=("allowance_store",), by="pivot"),
        holes=(("enclave_gateway", "enclave_ops-enclave_data"),),
        off=("allowance_store",),
        through="enclave_gateway",
        target="allowance_store",
    ),
    "no_internet_path": Break(
        NoInternetPath(id="g", why="w", kind="no_internet_path", of=("enclave_data",)),
        holes=(("core_gateway", "office-enclave_access"),),
        off=("edge_gateway", "enclave_gateway"),
        through="core_gateway",
        target="unlisted:enclave_data",
    ),
    "only_via": Break(
        OnlyVia(id="g", why="w", kind="only_via", from_=("employee_terminal",), to=("allowance_app",), via=("access_proxy",)),
        holes=(("core_gateway", "office-enclave_access"), ("enclave_gateway", "enclave_access-enclave_app")),
        off=("allowance_app",),
        through="core_gateway",
        target="allowance_app",
    ),
    "exactly": Break(
        Exactly(id="g", why="w", kind="exactly", to=("allowance_store",)),
        holes=(("allowance_store", "enclave_data-localhost"),),
        off=(),
        through="allowance_store",
        target="allowance_store",
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", BREAKS)
def test_every_hole_is_found_and_its_witness_passes(body: Body, rules: Mapping[str, Rule], place: str) -> None:
    """Twenty holes at one place: each breaks the guarantee, and the packet shown goes through it. Without, it holds."""
    broken = BREAKS[place]
    off = dict.fromkeys(broken.off, OFF)
    assert body.judge(broken.guarantee, body.with_rules(off), broken.bound).holds == "yes"
    for hole in HOLES:
        holed = {host: body.opened(host, chain, rules[hole]) for host, chain in broken.holes}
        model = body.with_rules({**off, **holed})
        verdict = body.judge(broken.guarantee, model, broken.bound)
        assert verdict.holds == "no", hole
        assert verdict.attacks[-1].witness.target == broken.target, hole
        assert_passes(verdict, model, broken.through)


@pytest.mark.parametrize("hole", SOMETIMES)
def test_a_hole_that_nobody_can_be_sure_of_is_unknown_and_never_held(
    body: Body, rules: Mapping[str, Rule], hole: str
) -> None:
    """What the packet alone does not decide widens *may*."""
    broken = BREAKS["isolated_by_input_alone"]
    model = body.with_rules({"allowance_store": body.opened("allowance_store", "enclave_data-localhost", rules[hole])})
    assert body.judge(broken.guarantee, model, broken.bound).holds == "unknown"


def test_a_hole_that_one_more_failure_opens_is_found(body: Body, rules: Mapping[str, Rule]) -> None:
    """The store and its gateway are open to the office; only the outer gateway still keeps the terminal out."""
    base = Isolated(id="base", why="w", kind="isolated", from_=("employee_terminal",), to=("allowance_store",))
    survives = Survives(id="s", why="w", kind="survives", guarantee="base", failures=1)
    guarded = replace(body, policy=body.policy.model_copy(update={"guarantees": {"base": base}}))
    assert guarded.judge(survives).holds == "yes"
    for hole in HOLES:
        holed = {
            "allowance_store": body.opened("allowance_store", "office-localhost", rules[hole]),
            "enclave_gateway": body.opened("enclave_gateway", "enclave_access-enclave_data", rules[hole]),
        }
        model = guarded.with_rules(holed)
        assert guarded.judge(base, model).holds == "yes", hole
        verdict = guarded.judge(survives, model)
        assert verdict.holds == "no", hole
        assert verdict.failed == ("core_gateway",), hole
        assert_passes(verdict, model, "allowance_store")
