"""24,500 cells over 50 namespaces: fast on a quiet machine, right on a busy one.

Fifty hosts around one router; a random 30 % of all (source, destination, port) may pass, looked up in one hash set.
"""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from lab.probe_namespaces import Net

pytestmark = [pytest.mark.benchmark, pytest.mark.lab]

HOSTS = [f"h{number}" for number in range(50)]
PORTS = (22, 25, 53, 80, 123, 443, 636, 2514, 3128, 5432)
ALLOWED_SHARE = 0.3
SECONDS = 10.0
BUSY_PROCESSES = 3

type Cell = tuple[str, str, int]


def policy(hosts: list[str], seed: int) -> dict[Cell, bool]:
    """Every cell, and whether it may pass; each source has its control."""
    chance = random.Random(seed)  # noqa: S311 - a test's own dice
    cells = [(source, target, port) for source in hosts for target in hosts if source != target for port in PORTS]
    return {cell: chance.random() < ALLOWED_SHARE for cell in cells}


def load(net: Net, wanted: dict[Cell, bool]) -> None:
    """Let the router pass exactly what the policy allows."""
    elements = ", ".join(
        f"{net.address(source)} . {net.address(target)} . {port}"
        for (source, target, port), open_ in wanted.items()
        if open_
    )
    net.filter(
        "router",
        "forward",
        f"ct state established,related accept\nip saddr . ip daddr . tcp dport {{ {elements} }} accept\ndrop",
    )


def ask_all(net: Net, wanted: dict[Cell, bool]) -> tuple[float, Counter[str]]:
    """Ask every cell from all sources at once; seconds, and how many answers were what kind of wrong."""
    orders: dict[str, tuple[list[Cell], dict[str, Any]]] = {}
    for host in net.hosts:
        own = [cell for cell in wanted if cell[0] == host]
        controls = [number for number, cell in enumerate(own) if wanted[cell]][:4]
        cells = [["tcp", net.address(target), port] for _, target, port in own]
        orders[host] = (own, {"action": "connect", "cells": cells, "controls": controls})
    begun = time.monotonic()
    running = {host: net.start(host, order) for host, (_, order) in orders.items()}
    answers = {host: agent.answer() for host, agent in running.items()}
    seconds = time.monotonic() - begun
    wrong: Counter[str] = Counter()
    for host, (own, _) in orders.items():
        for cell, (outcome, reason, _) in zip(own, answers[host]["answers"], strict=True):
            if outcome != ("open" if wanted[cell] else "filtered"):
                wrong[f"{outcome} ({reason}) where {'open' if wanted[cell] else 'filtered'} is right"] += 1
    return seconds, wrong


@contextmanager
def network(hosts: list[str], wanted: dict[Cell, bool]) -> Iterator[Net]:
    """Namespaces, rules and listeners, ready to be asked."""
    with Net(hosts) as net, ExitStack() as listening:
        load(net, wanted)
        for host in hosts:
            listening.enter_context(net.listening(host, [["tcp", net.address(host), port] for port in PORTS]))
        yield net


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[Net, dict[Cell, bool]]]:
    """Fifty hosts and all of their cells."""
    wanted = policy(HOSTS, seed=20261123)
    with network(HOSTS, wanted) as net:
        yield net, wanted


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy_machine() -> Iterator[None]:
    """Processes that do nothing but spin."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(BUSY_PROCESSES)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def test_every_cell_is_right_and_fast(large: tuple[Net, dict[Cell, bool]]) -> None:
    """24,500 cells are answered within ten seconds, none of them wrong."""
    net, wanted = large
    assert len(wanted) == 24_500
    seconds, wrong = ask_all(net, wanted)
    print(f"24,500 cells: {seconds:.1f} s, wrong: {dict(wrong)}")  # noqa: T201 - the measurement
    assert wrong == Counter()
    assert seconds < SECONDS


def test_a_busy_machine_makes_it_slower_never_wrong(large: tuple[Net, dict[Cell, bool]]) -> None:
    """While more processes spin than there are cores, every cell is still right."""
    net, wanted = large
    with busy_machine():
        seconds, wrong = ask_all(net, wanted)
    print(f"24,500 cells on a busy machine: {seconds:.1f} s, wrong: {dict(wrong)}")  # noqa: T201 - the measurement
    assert wrong == Counter()


def test_twenty_runs_in_a_row_agree() -> None:
    """A table of 1,200 cells gives the same right answers twenty times over."""
    hosts = HOSTS[:12]
    wanted = policy(hosts, seed=7)
    with network(hosts, wanted) as net:
        for _ in range(20):
            assert ask_all(net, wanted)[1] == Counter()
