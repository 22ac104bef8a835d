"""All guarantees of a policy in one answer, with everything a reader must know to weigh it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kakoi.errors import ExitStatus, InputError
from kakoi.policy.model import Policy
from kakoi.policy.sets import untrusted_zones
from kakoi.reach.network.answer import Verdict
from kakoi.reach.network.guarantees import Prover
from kakoi.reach.network.model import NetworkModel
from kakoi.reach.network.reading import read_network
from kakoi.reach.syntax import UnknownConstruct


@dataclass(frozen=True, slots=True)
class Proof:
    """Every guarantee judged over one network."""

    verdicts: tuple[Verdict, ...]
    basis: Mapping[str, str]
    """Machine -> where its rules were taken from: observed, compiled or rendered."""
    notes: tuple[str, ...]
    bound: tuple[str, ...]
    """Wires on which nobody is taken to use another's address: an assumption, not a finding."""
    unknown: tuple[tuple[str, UnknownConstruct], ...]
    """Machine and construct that was not understood, with what was assumed instead."""

    @property
    def status(self) -> ExitStatus:
        """0 all hold, 1 one is broken, 3 one could not be decided."""
        found = {verdict.holds for verdict in self.verdicts}
        if "no" in found:
            return ExitStatus.FAILED
        return ExitStatus.UNKNOWN if "unknown" in found else ExitStatus.HELD

    def as_json(self) -> dict[str, Any]:
        """The shape that ``kakoi prove --json`` prints."""
        return {
            "guarantees": [verdict.as_json() for verdict in self.verdicts],
            "hosts": dict(self.basis),
            "assumptions": {"addresses_bound_on": list(self.bound)},
            "notes": list(self.notes),
            "unknown_constructs": [
                {
                    "host": host,
                    "family": construct.family,
                    "table": construct.table,
                    "chain": construct.chain,
                    "handle": construct.handle,
                    "text": construct.text,
                    "effect": construct.effect,
                }
                for host, construct in self.unknown
            ],
        }


def prove(
    policy: Policy, observed: Path | None = None, bound: Iterable[str] = (), *, margins: bool = True
) -> tuple[Proof, NetworkModel]:
    """Judge every guarantee of a policy.

    Args:
        policy: the policy.
        observed: folder that ``kakoi observe`` wrote; machines not in it count as compiled.
        bound: zones on whose wires nobody can use another's address.
        margins: work out how many enforcement points each guarantee can lose.

    Raises:
        InputError: there is nothing to prove, or a guarantee is about nothing.
    """
    if not policy.guarantees:
        raise InputError("the policy has no guarantees, so nothing would be proved", "write them in guarantees.yml")
    model = read_network(policy, observed)
    return prove_network(policy, model, bound, margins=margins), model


def prove_network(policy: Policy, model: NetworkModel, bound: Iterable[str] = (), *, margins: bool = True) -> Proof:
    """The same over a network that was read before."""
    outside = untrusted_zones(policy)
    assumed = tuple(zone for zone in bound if zone not in outside)
    unheard = sorted(set(assumed) - set(policy.zones))
    if unheard:
        raise InputError(f"no such zone: {', '.join(unheard)}", f"use one of: {', '.join(policy.zones)}")
    prover = Prover(policy, model, assumed)
    verdicts = prover.judge_all(margins=margins)
    notes = list(model.notes)
    exhausted = sorted(name for name, one in prover.attacker.filters.items() if one.exhausted)
    if exhausted:
        notes.append(f"too many pieces to be exact, taken to accept everything asked: {', '.join(exhausted)}")
    unknown = tuple(
        (name, construct)
        for name, machine in model.machines.items()
        if machine.rules is not None
        for construct in (*machine.rules.ruleset.unknown, *machine.rules.unknown)
    )
    basis = {name: machine.basis for name, machine in model.machines.items()}
    return Proof(verdicts, basis, tuple(notes), assumed, tuple(dict.fromkeys(unknown)))
