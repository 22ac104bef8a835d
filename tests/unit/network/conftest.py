"""The reference body with its administrators' and servers' wires apart, compiled and read once for all tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kakoi.compile.network import plan_network
from kakoi.compile.nftables import rulesets
from kakoi.policy import load_policy
from kakoi.policy.model import Guarantee, Policy, Zone
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.network.answer import Verdict
from kakoi.reach.network.filters import MachineFilter
from kakoi.reach.network.guarantees import Prover
from kakoi.reach.network.model import Machine, NetworkModel
from kakoi.reach.network.reading import planned_machine, read_texts, wire_spaces
from kakoi.reach.syntax import Rule, Ruleset

ROOT = Path(__file__).resolve().parents[3]
_MOVED = {"admin_station": "enclave_admin", "groupware": "office_servers", "web_proxy": "office_servers"}
_NEW = {"enclave_admin": ("enclave_ops", "10.40.5", "fd6b:616b:6f69:45:", "enclave_gateway"),
        "office_servers": ("office", "10.10.1", "fd6b:616b:6f69:11:", "edge_gateway")}  # fmt: skip


def separated(policy: Policy) -> Policy:
    """The policy with hosts on wires of their own whose addresses nobody else there may claim."""
    if set(_NEW) <= set(policy.zones):
        return policy
    zones: dict[str, Zone] = dict(policy.zones)
    hosts = dict(policy.hosts)
    for name, (like, ipv4, ipv6, gateway) in _NEW.items():
        networks = (ip_network(f"{ipv4}.0/24"), ip_network(f"{ipv6}:/64"))
        zones[name] = policy.zones[like].model_copy(update={"id": name, "networks": networks})
        legs = {**hosts[gateway].interfaces, name: (ip_address(f"{ipv4}.1"), ip_address(f"{ipv6}:1"))}
        hosts[gateway] = hosts[gateway].model_copy(update={"interfaces": legs})
        for number, host in enumerate((host for host, zone in _MOVED.items() if zone == name), start=10):
            legs = {name: (ip_address(f"{ipv4}.{number}"), ip_address(f"{ipv6}:{number}"))}
            hosts[host] = hosts[host].model_copy(update={"interfaces": legs})
    return policy.model_copy(update={"zones": zones, "hosts": hosts})


@dataclass(frozen=True)
class Body:
    """A policy, its compiled texts and its network."""

    policy: Policy
    texts: Mapping[str, str]
    model: NetworkModel
    filters: dict[str, MachineFilter]

    def judge(self, guarantee: Guarantee, model: NetworkModel | None = None, bound: tuple[str, ...] = ()) -> Verdict:
        """One guarantee over this network, or over a changed one."""
        prover = Prover(self.policy, model or self.model, bound, self.filters)
        verdict = prover.judge(guarantee, margins=False)
        if model is None:
            self.filters.update(prover.attacker.filters)
        return verdict

    def changed(self, *changes: tuple[str, Callable[[Machine], Machine]]) -> NetworkModel:
        """The network with some machines changed."""
        machines = dict(self.model.machines)
        for name, change in changes:
            machines[name] = change(machines[name])
        return NetworkModel(machines, wire_spaces(self.policy, machines.values()))

    def with_rules(self, rules: Mapping[str, CompiledRuleset]) -> NetworkModel:
        """The network with other rules on some machines."""
        return self.changed(*((host, lambda old, host=host: replace(old, rules=rules[host])) for host in rules))

    def opened(self, host: str, chain: str, rule: Rule) -> CompiledRuleset:
        """A machine's rules with one put at the head of a chain."""
        whole = self.model.machines[host].rules
        assert whole is not None
        (table,) = whole.ruleset.tables
        old = table.chains[chain]
        moved = replace(rule, table=table.name, chain=chain, handle=9999)
        chains = {**table.chains, chain: replace(old, rules=(moved, *old.rules))}
        return CompiledRuleset(Ruleset((replace(table, chains=chains),), whole.ruleset.unknown))


OFF = CompiledRuleset(Ruleset((), ()))
"""A machine whose firewall is off."""


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The reference body, its wires separated."""
    return separated(load_policy(ROOT / "policy"))


@pytest.fixture(scope="session")
def body(policy: Policy) -> Body:
    """The reference body compiled and read."""
    plans = plan_network(policy)
    texts = dict(rulesets(policy))
    read = read_texts(texts)
    machines = {host: planned_machine(plans[host], read.get(host), texts.get(host, "")) for host in policy.hosts}
    return Body(policy, texts, NetworkModel(machines, wire_spaces(policy, machines.values())), {})
