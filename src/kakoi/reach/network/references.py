"""Names in a guarantee as places in the network: who starts, what is reached."""

from collections.abc import Iterable, Mapping

from kakoi.errors import InputError
from kakoi.policy.model import Policy
from kakoi.policy.sets import expand, hosts_in, untrusted_zones
from kakoi.reach.network.attack import NOBODY, Attacker
from kakoi.reach.network.travel import by_target, unlisted


class References:
    """Resolves the references of one policy against one network."""

    def __init__(self, policy: Policy, attacker: Attacker) -> None:
        self.policy = policy
        self.attacker = attacker
        self.outside_zones = untrusted_zones(policy)
        self.outside_targets = frozenset(
            [
                *(unlisted(zone) for zone in self.outside_zones),
                *(
                    host.id
                    for host in policy.hosts.values()
                    if host.kind != "gateway" and set(host.interfaces) & set(self.outside_zones)
                ),
            ]
        )
        self._facing: dict[tuple[frozenset[str], int], frozenset[str]] = {}
        self._sending_out: dict[int, Mapping[str, tuple[frozenset[str], ...]]] = {}

    def starts(
        self, references: Iterable[str], of: str, failed: frozenset[str] = NOBODY, most_opened: int = 0
    ) -> tuple[str, ...]:
        """Machines and zones where an attacker stands. Internet-facing is what really is so, on top of what flows say.

        Raises:
            InputError: nobody is meant.
        """
        found = dict.fromkeys(expand(self.policy, references))
        if "internet_facing" in self._named(references):
            found.update(dict.fromkeys(sorted(self.internet_facing(failed, most_opened))))
        return self._not_empty(tuple(found), references, of)

    def targets(self, references: Iterable[str], of: str) -> tuple[str, ...]:
        """Machines, and addresses without one, that count as reached.

        Raises:
            InputError: nothing is meant.
        """
        zones = [name for name in expand(self.policy, references) if name in self.policy.zones]
        found = [*hosts_in(self.policy, references), *(unlisted(zone) for zone in zones)]
        return self._not_empty(tuple(dict.fromkeys(found)), references, of)

    def machines(self, references: Iterable[str], of: str) -> tuple[str, ...]:
        """Listed machines only.

        Raises:
            InputError: nothing is meant.
        """
        return self._not_empty(hosts_in(self.policy, references), references, of)

    def internet_facing(self, failed: frozenset[str] = NOBODY, most_opened: int = 0) -> frozenset[str]:
        """Machines that somebody outside can open a connection to, or that can open one to the outside."""
        key = (failed, most_opened)
        if key not in self._facing:
            reached = {
                target
                for zone in self.outside_zones
                for foothold in self.attacker.footholds(zone)
                for target, deliveries in self.attacker.edges(foothold, most_opened).items()
                if any(delivery.opened <= failed for delivery in deliveries)
            }
            sending = {
                name for name, ways in self._leaving(most_opened).items() if any(opened <= failed for opened in ways)
            }
            self._facing[key] = frozenset(
                name for name in reached | sending if name in self.policy.hosts and name not in self.outside_targets
            )
        return self._facing[key]

    def _leaving(self, most_opened: int) -> Mapping[str, tuple[frozenset[str], ...]]:
        if most_opened not in self._sending_out:
            traveller = self.attacker.traveller(most_opened)
            found = {}
            for name in self.attacker.model.machines:
                if name in self.outside_targets:
                    continue
                arrived = by_target(traveller.from_machine(name))
                ways = {one.opened for target in self.outside_targets for one in arrived.get(target, ())}
                if ways:
                    found[name] = tuple(ways)
            self._sending_out[most_opened] = found
        return self._sending_out[most_opened]

    def _named(self, references: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(references)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.policy.groups[name].members if name in self.policy.groups else ())
        return frozenset(found)

    def _not_empty(self, found: tuple[str, ...], references: Iterable[str], of: str) -> tuple[str, ...]:
        if not found:
            raise InputError(
                f"guarantee {of}: {', '.join(references)} means no host and no zone, so nothing would be proved",
                "name hosts, zones or assets that exist, or delete the guarantee",
            )
        return found
