"""A way that dies under an attack ends it soon, and every frame that proves nothing is counted as lost."""

import socket
from types import SimpleNamespace

import pytest

from kakoi.probe import agent


def _assault(monkeypatch: pytest.MonkeyPatch, *, answers: bool) -> agent._Assault:
    """An assault whose control frames are all answered, or none."""
    monkeypatch.setattr(agent, "CONTROL_FRAME_PATIENCE_SECONDS", 0.002)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(0)
    assault = agent._Assault.__new__(agent._Assault)
    assault._link = SimpleNamespace(socket=ours, unanswered={}, peer=theirs)
    assault._pulse = SimpleNamespace(
        in_flight_limit=3,
        send=lambda number: theirs.send(str(number).encode()) if answers else None,
        answered=lambda frame, awaited: int(frame) if int(frame) in awaited else None,
    )
    assault._number = assault._sent = assault._repeated = 0
    assault._lost = []
    return assault


def _stretches(count: int) -> list[agent._Stretch]:
    return [agent._Stretch(["tcp", number, number], 1, lambda _: None) for number in range(count)]


def test_every_stretch_is_sent_once_while_controls_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every control answered nothing is lost and nothing repeated."""
    assault = _assault(monkeypatch, answers=True)
    assault._sweep(_stretches(40))
    assert (assault._sent, assault._repeated, assault._lost) == (40, 0, [])


def test_a_dead_way_ends_the_attack_and_loses_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one stretch was tried in vain to the end, the others are not tried as long: all of them are lost."""
    assault = _assault(monkeypatch, answers=False)
    assault._sweep(_stretches(40))
    assert sorted(name[1] for name in assault._lost) == list(range(40))
    assert assault._repeated <= 3 * agent.STRETCH_TRIES
