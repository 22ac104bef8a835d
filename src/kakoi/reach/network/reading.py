"""A network model out of a policy, out of what machines really run, or out of both.

Observed machines count with what was seen of them: addresses, routes, forwarding and rules, never with the policy's.
"""

import ipaddress
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kakoi.compile.network import HostNetwork, plan_network
from kakoi.compile.nftables import rulesets
from kakoi.errors import InputError, KakoiError
from kakoi.observe import HostObservations, read_observed
from kakoi.policy.model import Family, Policy
from kakoi.policy.sets import address_space
from kakoi.reach.compiled import CompiledRuleset
from kakoi.reach.intervals import IntervalSet
from kakoi.reach.listing import _namespace_options
from kakoi.reach.network.model import Leg, Machine, NetworkModel, Route
from kakoi.reach.reader import read_ruleset

_FAMILIES: tuple[tuple[int, Family], ...] = ((4, "ipv4"), (6, "ipv6"))
_SEPARATOR = "\x1e"
_PLAIN_TABLES = {"", "main", "default", "254", "253"}
_ORDINARY_RULES = {"local", "main", "default"}
_THROWN_AWAY = {"blackhole", "unreachable", "prohibit", "throw"}
_TIMEOUT_SECONDS = 300


def read_network(policy: Policy, observed: Path | None = None) -> NetworkModel:
    """The network of a policy; machines that were observed count as they were seen.

    Raises:
        InputError: an observation is damaged, or is of a host that the policy does not know.
        KakoiError: compiled text could not be read through nft.
    """
    return network_of(policy, read_observed(observed) if observed is not None else {})


def network_of(policy: Policy, seen: Mapping[str, HostObservations]) -> NetworkModel:
    """The same, from observations already read."""
    strangers = sorted(set(seen) - set(policy.hosts))
    if strangers:
        raise InputError(
            f"observations of hosts that the policy does not have: {', '.join(strangers)}",
            "give the policy these machines run by, or take the files out",
        )
    plans = plan_network(policy)
    texts = {host: text for host, text in rulesets(policy) if host not in seen}
    compiled = read_texts(texts)
    machines: dict[str, Machine] = {}
    for host in policy.hosts.values():
        if host.id in seen:
            machines[host.id] = observed_machine(policy, seen[host.id])
        else:
            machines[host.id] = planned_machine(plans[host.id], compiled.get(host.id), texts.get(host.id, ""))
    return NetworkModel(machines, wire_spaces(policy, machines.values()), tuple(_notes(machines, seen)))


def _notes(machines: Mapping[str, Machine], seen: Mapping[str, HostObservations]) -> Iterator[str]:
    external = [name for name, machine in machines.items() if machine.basis == "rendered"]
    if external:
        yield f"rendered, not observed (taken to accept everything): {', '.join(external)}"
    compiled = [name for name, machine in machines.items() if machine.basis == "compiled"]
    if seen and compiled:
        yield f"compiled, not observed: {', '.join(compiled)}"
    for name, machine in machines.items():
        if not machine.routing_known:
            yield f"{name} routes by more than the destination: every route counts as possible"


def planned_machine(plan: HostNetwork, rules: CompiledRuleset | None, text: str = "") -> Machine:
    """A machine as the policy plans it; without rules it accepts everything."""
    legs = tuple(Leg(one.device, one.zone, one.addresses) for one in plan.interfaces)
    routes = tuple(
        Route(route.destination, leg.device, int(route.via))
        for route in plan.routes
        for leg in legs
        if any(route.via in address.network for address in leg.addresses)
    )
    forwards = frozenset((4, 6)) if plan.forwarding else frozenset()
    return Machine(plan.host, legs, routes, forwards, rules, "compiled" if rules else "rendered", text=text)


def wire_spaces(policy: Policy, machines: Iterable[Machine]) -> Mapping[str, Mapping[int, IntervalSet]]:
    """The addresses of every wire: a zone's own, or those of the networks observed on it."""
    spaces: dict[str, dict[int, IntervalSet]] = {}
    for zone in policy.zones.values():
        spaces[zone.id] = {
            version: IntervalSet.of((int(low), int(high)) for low, high in address_space(policy, zone, family))
            for version, family in _FAMILIES
        }
    for machine in machines:
        for leg in machine.legs:
            if leg.wire not in policy.zones:
                wire = spaces.setdefault(leg.wire, {4: IntervalSet((), ()), 6: IntervalSet((), ())})
                for version in (4, 6):
                    wire[version] = wire[version].union(leg.on_link(version))
    return spaces


# ------------------------------------------------------------------------------------ compiled


def read_texts(texts: Mapping[str, str]) -> Mapping[str, CompiledRuleset]:
    """Compiled files read through nft, all in one private namespace: each replaces the table of the one before.

    Raises:
        KakoiError: no namespace can be made, or nft refuses a file that kakoi compiled.
    """
    if not texts:
        return {}
    with tempfile.TemporaryDirectory(prefix="kakoi-") as folder:
        for number, text in enumerate(texts.values()):
            (Path(folder) / str(number)).write_text(text, encoding="utf-8")
        script = (
            f"number=0; while [ $number -lt {len(texts)} ]; do nft -f $number || exit 3; "
            "nft -j list ruleset || exit 4; printf '\\036'; number=$((number+1)); done"
        )
        try:
            done = subprocess.run(
                ["unshare", *_namespace_options(), "sh", "-c", script],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KakoiError(f"nft could not be run: {error}", "install nftables and util-linux") from error
    listings = done.stdout.split(_SEPARATOR)
    if done.returncode != 0 or len(listings) != len(texts) + 1:
        host = list(texts)[min(len(listings), len(texts)) - 1]
        raise KakoiError(
            f"the compiled ruleset of {host} cannot be read through nft: {done.stderr.strip()}",
            "run as root, or allow user namespaces",
        )
    return {
        host: CompiledRuleset(read_ruleset(listing, f"{host}/kakoi.nft"))
        for host, listing in zip(texts, listings, strict=False)
    }


# ------------------------------------------------------------------------------------ observed


def observed_machine(policy: Policy, seen: HostObservations) -> Machine:
    """A machine as it was read back.

    Raises:
        InputError: something that the answer rests on was not read.
    """
    addresses = json.loads(_output(seen, "addresses"))
    legs = tuple(_legs(policy, addresses))
    devices = {leg.device for leg in legs}
    routes = tuple(
        route
        for name in ("routes_ipv4", "routes_ipv6")
        for entry in json.loads(_output(seen, name) or "[]")
        for route in _routes(entry, devices, version=4 if name.endswith("4") else 6)
    )
    rules_known = all(_ordinary(_output(seen, name)) for name in ("policy_rules_ipv4", "policy_rules_ipv6"))
    forwards = frozenset(
        version
        for version, key in ((4, "net.ipv4.conf.all.forwarding"), (6, "net.ipv6.conf.all.forwarding"))
        if _setting(_output(seen, "forwarding"), key) != "0"
    )
    ruleset = read_ruleset(_output(seen, "ruleset"), f"{seen.host}: nft -j list ruleset")
    return Machine(seen.host, legs, routes, forwards, CompiledRuleset(ruleset), "observed", rules_known)


def _output(seen: HostObservations, name: str) -> str:
    found = seen.named(name)
    if found is None or found.exit_status != 0:
        state = "was not made" if found is None else f"ended with status {found.exit_status}"
        raise InputError(f"{seen.host}: the observation {name!r} {state}", "run: kakoi observe again")
    return found.stdout


def _legs(policy: Policy, listed: Iterable[Mapping[str, Any]]) -> Iterator[Leg]:
    for device in listed:
        if "LOOPBACK" in device.get("flags", ()):
            continue
        addresses = tuple(
            ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}")
            for one in device.get("addr_info", ())
            if one.get("scope") != "link"
        )
        if addresses:
            yield Leg(device["ifname"], _wire(policy, addresses), addresses)


def _wire(policy: Policy, addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]) -> str:
    for zone in policy.zones.values():
        if any(address.ip in network for address in addresses for network in zone.networks):
            return zone.id
    return str(min(addresses, key=lambda one: one.version).network)


def _routes(entry: Mapping[str, Any], devices: set[str], version: int) -> Iterator[Route]:
    kind = entry.get("type", "unicast")
    table = str(entry.get("table", ""))
    if table == "local" or kind in {"local", "broadcast", "anycast", "multicast"}:
        return
    written = entry["dst"]
    everything = "0.0.0.0/0" if version == 4 else "::/0"  # noqa: PLR2004 - IPv4
    destination = ipaddress.ip_network(everything if written == "default" else written)
    if destination.is_link_local:
        return
    certain = table in _PLAIN_TABLES
    if kind in _THROWN_AWAY:
        yield Route(destination, None, None, certain)
        return
    for hop in entry.get("nexthops") or (entry,):
        via = hop.get("gateway") or hop.get("via", {}).get("host")
        device = hop.get("dev")
        if device in devices:
            yield Route(destination, device, int(ipaddress.ip_address(via)) if via else None, certain)


def _ordinary(rules: str) -> bool:
    if not rules.strip():
        return True
    return all(
        rule.get("table") in _ORDINARY_RULES
        and rule.get("src", "all") == "all"
        and not set(rule) - {"priority", "src", "table"}
        for rule in json.loads(rules)
    )


def _setting(text: str, key: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == key:
            return value.strip()
    return "unknown"
