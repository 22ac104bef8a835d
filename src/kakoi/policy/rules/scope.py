"""What the rules look at: the policy, the day, and sets that several rules need, each computed once.

Unlike ``policy.sets``, everything here bears references that lead nowhere and groups that contain themselves:
the rules judge policies that may be wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from kakoi.policy.model import COMPUTED_SETS, Asset, Family, Flow, Layer, Policy
from kakoi.policy.sets import family_of

ENCLAVE_LAYERS: frozenset[Layer] = frozenset({"internet_connected", "enclave"})
"""インターネット接続系 and the enclave, which is a part of it."""


FAMILY_NAMES: Mapping[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}


@dataclass(frozen=True)
class Scope:
    """A policy on a day, with what of it could not be read."""

    policy: Policy
    today: date
    declared: Mapping[str, frozenset[str]]
    """Section -> identifiers that were written, also of entries that were refused."""
    unread: frozenset[str] = frozenset()
    """Sections of which it is not known what they declare."""
    broken: frozenset[str] = frozenset()
    """Sections with something left out."""

    @cached_property
    def _expansions(self) -> dict[tuple[tuple[str, ...], bool], frozenset[str]]:
        return {}

    @cached_property
    def hosts_of_zone(self) -> Mapping[str, tuple[str, ...]]:
        """Zone -> its hosts that are not gateways."""
        found: dict[str, list[str]] = {zone: [] for zone in self.policy.zones}
        for host in self.policy.hosts.values():
            if host.kind != "gateway":
                for zone in host.interfaces:
                    if zone in found:
                        found[zone].append(host.id)
        return {zone: tuple(hosts) for zone, hosts in found.items()}

    def members(self, references: tuple[str, ...], *, circular: bool = False) -> frozenset[str]:
        """Zones and hosts that references name, and the hosts of those zones.

        ``circular``: asked in order to compute ``internet_facing``, which then counts as empty.
        """
        key = (references, circular)
        known = self._expansions.get(key)
        if known is None:
            known = self._expansions[key] = frozenset(self._expand(references, circular=circular))
        return known

    def hosts(self, references: tuple[str, ...]) -> frozenset[str]:
        """Hosts that references name."""
        return self.members(references) & self.policy.hosts.keys()

    def zones(self, references: tuple[str, ...]) -> frozenset[str]:
        """Zones that references name, and zones in which named hosts stand that are not gateways."""
        members = self.members(references)
        return frozenset(zone for member in members for zone in self.standing(member))

    def standing(self, member: str) -> tuple[str, ...]:
        """Zones that a member of a flow counts as: a gateway stands between zones and counts as none."""
        if member in self.policy.zones:
            return (member,)
        host = self.policy.hosts.get(member)
        if host is None or host.kind == "gateway":
            return ()
        return tuple(zone for zone in host.interfaces if zone in self.policy.zones)

    def layers(self, references: tuple[str, ...]) -> frozenset[Layer]:
        """Layers in which the ends of a flow stand."""
        known = self._layers.get(references)
        if known is None:
            known = frozenset(self.policy.zones[zone].layer for zone in self.zones(references))
            self._layers[references] = known
        return known

    @cached_property
    def _layers(self) -> dict[tuple[str, ...], frozenset[Layer]]:
        return {}

    def _expand(self, references: Iterable[str], *, circular: bool) -> set[str]:
        found: set[str] = set()
        opened: set[str] = set()
        pending = list(references)
        while pending:
            reference = pending.pop()
            if reference in opened:
                continue
            opened.add(reference)
            policy = self.policy
            if reference in policy.zones:
                found.add(reference)
                found.update(self.hosts_of_zone[reference])
            elif reference in policy.hosts:
                found.add(reference)
            elif reference in policy.groups:
                pending.extend(policy.groups[reference].members)
            elif reference in policy.assets:
                found.update(store for store in policy.assets[reference].stores if store in policy.hosts)
            elif reference in COMPUTED_SETS and not (circular and reference == "internet_facing"):
                found |= self.computed(reference)
        return found

    def computed(self, name: str) -> frozenset[str]:
        """A computed set of hosts."""
        match name:
            case "managed_hosts":
                return self.managed_hosts
            case "my_number_stores":
                return self.my_number_stores
            case _:
                return frozenset(self.internet_facing)

    @cached_property
    def managed_hosts(self) -> frozenset[str]:
        """Hosts that kakoi writes to."""
        return frozenset(host.id for host in self.policy.hosts.values() if host.managed == "ansible")

    @cached_property
    def my_number_assets(self) -> tuple[Asset, ...]:
        """Assets with specific personal information (特定個人情報)."""
        return tuple(a for a in self.policy.assets.values() if a.information == "specific_personal_information")

    @cached_property
    def my_number_stores(self) -> frozenset[str]:
        """Hosts that keep one of those."""
        return frozenset(s for asset in self.my_number_assets for s in asset.stores if s in self.policy.hosts)

    @cached_property
    def outside(self) -> frozenset[str]:
        """Untrusted zones and the hosts in them."""
        zones = [zone.id for zone in self.policy.zones.values() if zone.trust == "untrusted"]
        return frozenset(zones) | frozenset(host for zone in zones for host in self.hosts_of_zone[zone])

    @cached_property
    def internet_facing(self) -> Mapping[str, Flow]:
        """Hosts that an untrusted zone reaches or that reach one, each with a flow that makes it so."""
        facing: dict[str, Flow] = {}
        for flow in self.policy.flows.values():
            sources, targets = self.members(flow.from_, circular=True), self.members(flow.to, circular=True)
            for one, other in ((sources, targets), (targets, sources)):
                if not self.outside.isdisjoint(one):
                    for host in (other & self.policy.hosts.keys()) - self.outside:
                        facing.setdefault(host, flow)
        return facing

    # ------------------------------------------------------------------------------------ routes

    @cached_property
    def families_of_host(self) -> Mapping[str, frozenset[Family]]:
        """Host -> address families that it has anywhere."""
        return {
            host.id: frozenset(family_of(address) for addresses in host.interfaces.values() for address in addresses)
            for host in self.policy.hosts.values()
        }

    def families(self, member: str) -> frozenset[Family]:
        """Address families of a zone or host."""
        if member in self.policy.zones:
            return frozenset(self.policy.zones[member].families)
        return self.families_of_host.get(member, frozenset())

    @cached_property
    def _components(self) -> Mapping[Family, Mapping[str, int]]:
        """Family -> zone -> number of the part of the network that gateways join it to."""
        return {family: self._joined(family) for family in FAMILY_NAMES}

    def _joined(self, family: Family) -> dict[str, int]:
        part = {zone: number for number, zone in enumerate(self.policy.zones)}
        for host in self.policy.hosts.values():
            if host.kind != "gateway":
                continue
            joined = [
                zone
                for zone, addresses in host.interfaces.items()
                if zone in part and any(family_of(address) == family for address in addresses)
            ]
            numbers = {part[zone] for zone in joined}
            if len(numbers) > 1:
                low = min(numbers)
                part = {zone: low if number in numbers else number for zone, number in part.items()}
        return part

    def parts(self, member: str, family: Family) -> frozenset[int]:
        """Parts of the network in which a zone or host can be reached by a family."""
        part = self._components[family]
        if member in self.policy.zones:
            return frozenset({part[member]}) if family in self.policy.zones[member].families else frozenset()
        host = self.policy.hosts.get(member)
        if host is None:
            return frozenset()
        return frozenset(
            part[zone]
            for zone, addresses in host.interfaces.items()
            if zone in part and any(family_of(address) == family for address in addresses)
        )
