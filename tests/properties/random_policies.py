"""Random valid policies for hypothesis: a tree of zones joined by gateways, hosts, services and flows of every kind."""

from typing import Any

from hypothesis import strategies as st

from golden.compile.cases import policy_from
from kakoi.policy.model import Policy

type Section = dict[str, dict[str, Any]]

_PORTS = st.one_of(
    st.sampled_from([22, 53, 443, 8080]),
    st.tuples(st.integers(8000, 8090), st.integers(0, 90)).map(lambda pair: f"{pair[0]}-{pair[0] + pair[1]}"),
)
_SERVICES = st.fixed_dictionaries(
    {"name": st.just("例")},
    optional={
        "tcp": st.lists(_PORTS, min_size=1, max_size=2),
        "udp": st.lists(_PORTS, min_size=1, max_size=2),
        "icmp": st.just(["echo-request"]),
        "icmpv6": st.just(["echo-request"]),
    },
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy whose every flow can be routed; small enough to judge cell by cell."""
    return policy_from(draw(policy_sections()))


@st.composite
def policy_sections(draw: st.DrawFn) -> dict[str, Section]:
    """The four sections of such a policy, before they are typed."""
    count = draw(st.integers(1, 5))
    outside = count > 1 and draw(st.booleans())
    zones = {f"zone{place}": _zone(draw, place, outside=outside and place == 0) for place in range(count)}
    hosts = _gateways(draw, zones)
    if outside:
        _set_default_routes(draw, zones, hosts)
    for zone, entry in zones.items():
        for place in range(draw(st.integers(0, 2))):
            hosts[f"host_{zone}_{place}"] = _host(draw, zone, entry, 10 + place)
    if not hosts:
        hosts["host_zone0_0"] = _host(draw, "zone0", zones["zone0"], 10)
    services = {f"service{place}": draw(_SERVICES) for place in range(draw(st.integers(1, 4)))}
    return {"zones": zones, "hosts": hosts, "services": services, "flows": _flows(draw, zones, hosts, services)}


def _zone(draw: st.DrawFn, place: int, *, outside: bool) -> dict[str, Any]:
    both = place < 2 or draw(st.booleans())
    networks = [f"10.{place}.0.0/24", f"fd00:{place}::/64"]
    if outside:
        networks = ["203.0.113.0/24", "2001:db8::/64"]
    return {
        "name": "例",
        "layer": "outside" if outside else "enclave",
        "trust": "untrusted" if outside else "restricted",
        "networks": networks if both else networks[:1],
        "families": ["ipv4", "ipv6"] if both else ["ipv4"],
    }


def _gateways(draw: st.DrawFn, zones: Section) -> Section:
    """Join every zone to an earlier one that has its families, by a new gateway or by one that is there already."""
    names, gateways = list(zones), dict[str, dict[str, Any]]()
    for place, zone in enumerate(names[1:], start=1):
        parent = draw(st.sampled_from([name for name in names[:place] if "ipv6" in zones[name]["families"]]))
        there = [name for name, gateway in gateways.items() if parent in gateway["interfaces"]]
        gateway = draw(st.sampled_from([*there, f"gateway{place}"]))
        entry = gateways.setdefault(gateway, _gateway(draw))
        for leg in (parent, zone):
            address = 1 + int(gateway.removeprefix("gateway"))
            entry["interfaces"].setdefault(leg, _addresses(zones[leg], address))
    return gateways


def _gateway(draw: st.DrawFn) -> dict[str, Any]:
    return {"name": "例", "kind": "gateway", "managed": draw(_managed()), "interfaces": {}}


def _host(draw: st.DrawFn, zone_id: str, zone: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "name": "例",
        "kind": "server",
        "managed": draw(_managed()),
        "interfaces": {zone_id: _addresses(zone, number)},
    }


def _managed() -> st.SearchStrategy[str]:
    return st.sampled_from(["ansible", "ansible", "ansible", "external"])


def _addresses(zone: dict[str, Any], number: int) -> list[str]:
    return [network.split("/")[0].removesuffix(".0") + f".{number}" if "." in network else
            network.split("/")[0] + f"{number:x}" for network in zone["networks"]]  # fmt: skip


def _set_default_routes(draw: st.DrawFn, zones: Section, gateways: Section) -> None:
    """Name the gateway towards zone0 as default route, in zone0 itself where only one gateway leads away from it."""
    exits = [name for name, gateway in gateways.items() if "zone0" in gateway["interfaces"]]
    if len(exits) == 1:
        zones["zone0"]["default_route"] = exits[0]
    reached = {"zone0"}
    waiting = dict(gateways)
    while waiting:
        name = next(name for name, gateway in waiting.items() if reached & gateway["interfaces"].keys())
        for leg in waiting.pop(name)["interfaces"].keys() - reached:
            reached.add(leg)
            if zones[leg]["families"] == ["ipv4", "ipv6"] and draw(st.booleans()):
                zones[leg]["default_route"] = name


def _flows(draw: st.DrawFn, zones: Section, hosts: Section, services: Section) -> Section:
    inside = [name for name in (*zones, *hosts) if not _outside(zones, hosts, name)]
    online = [name for name in inside if _online(zones, hosts, name)] if "default_route" in zones["zone0"] else []
    outside = [name for name in (*zones, *hosts) if name not in inside and name not in _legs(zones, hosts)]
    flows: Section = {}
    for place in range(draw(st.integers(0, 6))):
        ends = [inside, inside]
        if online and outside:
            ends = draw(st.sampled_from([ends, [online, outside], [outside, online]]))
        source, target = (draw(st.lists(st.sampled_from(end), min_size=1, max_size=2, unique=True)) for end in ends)
        chosen = draw(st.lists(st.sampled_from(list(services)), min_size=1, max_size=2, unique=True))
        flows[f"flow{place}"] = {"from": source, "to": target, "services": chosen}
    return flows


def _outside(zones: Section, hosts: Section, name: str) -> bool:
    legs = [name] if name in zones else hosts[name]["interfaces"]
    return any(zones[leg]["trust"] == "untrusted" for leg in legs)


def _online(zones: Section, hosts: Section, name: str) -> bool:
    legs = [name] if name in zones else hosts[name]["interfaces"]
    return name not in _legs(zones, hosts) and all("default_route" in zones[leg] for leg in legs)


def _legs(zones: Section, hosts: Section) -> set[str]:
    """Gateways: left out of flows with the outside, where having a route depends on where they stand."""
    return {name for name in hosts if hosts[name]["kind"] == "gateway" and name not in zones}
