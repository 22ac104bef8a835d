"""The probe's hands on a host: listens, asks and attacks; standard library only, Python >= 3.11, Linux, root.

One file, because it travels: as ``module_utils`` of the Ansible module ``kakoi_probe``, or as
``python3 agent.py < order.json``. It judges nothing. One order (a JSON object) in, one answer out::

    {"action": "listen",  "socket": PATH, "lifetime_seconds": 600, "listeners": [["tcp", ADDRESS, PORT], ...],
                          "wire": "points"|"all"}
    {"action": "connect", "cells": [["tcp"|"udp"|"icmp", ADDRESS, PORT], ...], "controls": [INDEX, ...],
                          "links": [ADDRESS, ...], "names": [NAME, ...]}
    {"action": "attack",  "assaults": [{"kind": "attack"|"door"|"client", "target": ADDRESS, "via": ADDRESS,
                                         "source": ADDRESS, "protocols": [...], "ports": [[FIRST, LAST], ...],
                                         "control": [ADDRESS, PORT], "repeat": 20},
                                        {"kind": "point", "via": ADDRESS,
                                         "departures": [[*key, count] for key, count in sorted(self._departures.items())],
            "frames": [[POINT, "tcp"|"udp", SOURCE, TARGET, PORT], ...]}, ...]}
    {"action": "collect" | "stop", "socket": PATH}

Outcomes of a cell, always with a reason:

========== ==================================================================================================
open       the far end answered
refused    a reset or an ICMP port-unreachable came back: from the target or from a filter, the arrivals tell
filtered   nothing came back while every control did, or a filter said so (RFC 792 type 3 code 9, 10, 13;
           RFC 4443 type 1 code 1, 5, 6), or the host's own output filter refused to send (EPERM)
no_route   this host or a router knows no way, or the last link does not answer (that is no filter)
probe_error it could not be found out
========== ==================================================================================================

Silence is the only thing that can lie: a lost packet and a busy machine look like a filter. So every silent cell is
asked several times on sockets that all stay open until the end of its patience, cells that are known to be
open (controls) are asked all the while, and silence stands only if every control around it answered within a quarter of that
patience. Otherwise the cell is asked again with more of it, and in the end given up as ``probe_error``.
"""

import contextlib
import ctypes
import errno
import heapq
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

# ------------------------------------------------------------------------------------------ constants

ASKS_AT_SECONDS = {"tcp": (0.0, 1.0), "udp": (0.0, 0.6, 1.2, 2.0), "icmp": (0.0, 0.6, 1.2, 2.0)}
"""When a silent cell is asked again. Each TCP ask is a new socket, and the kernel repeats its SYN after 1 s (RFC 6298)."""
PATIENCE_SECONDS = 3.4
"""Silence for this long ends a cell: beyond the 3 s after which the kernel gives up on a dead neighbour."""
LONGEST_PATIENCE_SECONDS = 60.0
CONTROL_SHARE = 0.25
"""Controls must answer within this share of the patience for a silence beside them to count."""
CONTROL_EVERY_SECONDS = 0.1
ROUNDS = 5
NAME_PATIENCE_SECONDS = 12.0
LAUNCHES_PER_TURN = 24

ATTACK_PORT, CLIENT_PORT, DOOR_PORT = 61001, 61002, 61030
FIRST_POINT_PORT, LAST_POINT_PORT = 61010, 61029
"""Source ports of raw frames, above the kernel's ephemeral range: a frame says by its port what it was sent for.

Frames of kind ``point`` try one enforcement point on the way by itself; the port says which one, counted from the source.
"""
FIRST_CONTROL_PORT, LAST_CONTROL_PORT = 61100, 62123
KIND_PORTS = {"attack": ATTACK_PORT, "door": DOOR_PORT, "client": CLIENT_PORT}
PORT_KINDS = {port: kind for kind, port in KIND_PORTS.items()} | {
    port: f"point{port - FIRST_POINT_PORT}" for port in range(FIRST_POINT_PORT, LAST_POINT_PORT + 1)
}
STRETCH_FRAMES = 64
"""Frames between two control frames."""
STRETCHES_IN_FLIGHT = 3
"""Unanswered control frames at any time: bounds what can stand in a queue, whose usual size is 1,000 packets."""
STRETCH_TRIES = 12
CONTROL_FRAME_PATIENCE_SECONDS = 1.0
LATE_ANSWERS_SECONDS = 0.3

_REQUEST, _REPLY = b"kakoi-probe?", b"kakoi-probe!"
_ETHERNET_ALL, _ETHERNET_IPV4, _ETHERNET_ARP, _ETHERNET_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
_TCP, _UDP, _ICMPV6 = 6, 17, 58
_PROTOCOL_NUMBERS = {"tcp": _TCP, "udp": _UDP}
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_RXQ_OVFL = 26, 33, 40
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23
_PACKET_HOST = 0
"""Frames whose hardware address is this host's own; a bridge may flood others to it."""
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1
_SYN, _RST, _ACK = 0x02, 0x04, 0x10


class Outcome(NamedTuple):
    """What became of a cell."""

    outcome: str
    """open, refused, filtered, no_route or probe_error."""
    reason: str
    milliseconds: int
    """From the question to its answer, or to the end of patience."""


# --------------------------------------------------------------------------- what an error says, and who


class Notice(NamedTuple):
    """An ICMP error as the socket's error queue keeps it (``struct sock_extended_err``)."""

    version: int
    type: int
    code: int
    sender: str


_ICMP_REASONS = {
    # RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1
    (4, 3, 0): ("no_route", "network_unreachable"),
    (4, 3, 1): ("no_route", "host_unreachable"),
    (4, 3, 2): ("refused", "protocol_unreachable"),
    (4, 3, 3): ("refused", "port_unreachable"),
    (4, 3, 5): ("no_route", "source_route_failed"),
    (4, 3, 6): ("no_route", "network_unknown"),
    (4, 3, 7): ("no_route", "host_unknown"),
    (4, 3, 8): ("no_route", "host_isolated"),
    (4, 3, 9): ("filtered", "network_prohibited"),
    (4, 3, 10): ("filtered", "host_prohibited"),
    (4, 3, 11): ("no_route", "network_unreachable_for_service"),
    (4, 3, 12): ("no_route", "host_unreachable_for_service"),
    (4, 3, 13): ("filtered", "communication_prohibited"),
    (4, 3, 14): ("filtered", "precedence_violation"),
    (4, 3, 15): ("filtered", "precedence_cutoff"),
    (4, 11, 0): ("no_route", "routing_loop"),
    # RFC 4443 section 3
    (6, 1, 0): ("no_route", "network_unreachable"),
    (6, 1, 1): ("filtered", "communication_prohibited"),
    (6, 1, 2): ("no_route", "beyond_scope"),
    (6, 1, 3): ("no_route", "host_unreachable"),
    (6, 1, 4): ("refused", "port_unreachable"),
    (6, 1, 5): ("filtered", "source_address_policy"),
    (6, 1, 6): ("filtered", "reject_route"),
    (6, 3, 0): ("no_route", "routing_loop"),
}
_ERRNO_REASONS = {
    errno.ECONNREFUSED: ("refused", "reset"),
    errno.ECONNRESET: ("refused", "reset"),
    errno.EPERM: ("filtered", "local_policy"),
    errno.EACCES: ("filtered", "local_policy"),
    errno.ENETUNREACH: ("no_route", "no_route"),
    errno.EINVAL: ("no_route", "blackhole_route"),
    errno.EHOSTUNREACH: ("no_route", "neighbour_unresolved"),
    errno.EHOSTDOWN: ("no_route", "neighbour_unresolved"),
}
"""Without an ICMP message: the kernel's own word. EINVAL is what a blackhole route answers."""


def explain(error: int, notice: Notice | None, own_address: str) -> tuple[str, str]:
    """Outcome and reason of an error number and the ICMP message that caused it, if one did."""
    if notice is not None:
        outcome, reason = _ICMP_REASONS.get(
            (notice.version, notice.type, notice.code), ("probe_error", f"icmp_{notice.type}_{notice.code}")
        )
        if notice.sender != own_address:
            return outcome, f"{reason} from {notice.sender}"
        # The kernel tells its own sockets of a neighbour that does not answer by an ICMP error from itself.
        return (outcome, "neighbour_unresolved") if reason == "host_unreachable" else (outcome, f"{reason} from itself")
    if error in _ERRNO_REASONS:
        return _ERRNO_REASONS[error]
    return "probe_error", errno.errorcode.get(error, str(error))


def _notice(sock: socket.socket) -> Notice | None:
    """Take the ICMP message from a socket's error queue."""
    with contextlib.suppress(OSError):
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        for level, kind, data in ancillary:
            if (level, kind) in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}:
                origin, icmp_type, code = data[4], data[5], data[6]
                if origin == 2:  # noqa: PLR2004 - SO_EE_ORIGIN_ICMP
                    return Notice(4, icmp_type, code, socket.inet_ntoa(data[20:24]))
                if origin == 3:  # noqa: PLR2004 - SO_EE_ORIGIN_ICMP6
                    return Notice(6, icmp_type, code, socket.inet_ntop(socket.AF_INET6, data[24:40]))
    return None


# --------------------------------------------------------------------------------------- one question


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _sum16(data: bytes) -> int:
    """Ones' complement sum of 16-bit words (RFC 1071), not yet complemented."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:  # noqa: PLR2004 - carries fold back
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _datagram(port: int, nonce: bytes) -> bytes:
    """Ask in the words of the port's own protocol where a real server would stay silent otherwise.

    An NTP server repeats the transmit timestamp (RFC 5905), a name server the question (RFC 1035).
    """
    if port == 123:  # noqa: PLR2004 - NTP
        return b"\x23" + bytes(39) + nonce
    if port == 53:  # noqa: PLR2004 - DNS
        label = nonce.hex().encode()
        return nonce[:2] + b"\0\0\0\1\0\0\0\0\0\0" + bytes([len(label)]) + label + b"\7invalid\0\0\1\0\1"
    return _REQUEST + nonce


def _open_socket(protocol: str, address: str) -> socket.socket:
    family = _family(address)
    if protocol == "tcp":
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif protocol == "udp":
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    else:
        number = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number)
        _only_icmp(sock, family, 129 if family == socket.AF_INET6 else 0)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return sock


def _only_icmp(sock: socket.socket, family: int, wanted: int) -> None:
    """Let a raw ICMP socket hear one message type only: the kernel's filters hold a set bit for what is left out."""
    if family == socket.AF_INET6:
        words = [0xFFFFFFFF] * 8
        words[wanted // 32] &= ~(1 << (wanted % 32))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
    else:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << wanted)))


def _echo_request(version: int, identifier: int, sequence: int, nonce: bytes) -> bytes:
    if version == 6:  # noqa: PLR2004 - IPv6, where the kernel adds the checksum
        return struct.pack(">BBHHH", 128, 0, 0, identifier, sequence) + nonce
    message = struct.pack(">BBHHH", 8, 0, 0, identifier, sequence) + nonce
    return message[:2] + struct.pack(">H", ~_sum16(message) & 0xFFFF) + message[4:]


class _Question:
    """One cell being asked: its sockets stay open, and count, until it is answered or given up."""

    __slots__ = (
        "address",
        "asked",
        "control",
        "ended",
        "identifier",
        "nonce",
        "outcome",
        "port",
        "protocol",
        "sockets",
        "started",
    )

    def __init__(self, protocol: str, address: str, port: int, *, control: bool = False) -> None:
        self.protocol, self.address, self.port, self.control = protocol, address, port, control
        self.sockets: list[socket.socket] = []
        self.asked = 0
        self.nonce = os.urandom(8)
        self.identifier = int.from_bytes(self.nonce[:2])
        self.outcome: Outcome | None = None
        self.started = self.ended = 0.0

    def ask(self, poller: "_Poller") -> None:
        """Ask once more."""
        self.asked += 1
        self.started = self.started or time.monotonic()
        try:
            if self.protocol == "tcp" or not self.sockets:
                sock = _open_socket(self.protocol, self.address)
                self.sockets.append(sock)
                error = sock.connect_ex((self.address, self.port if self.protocol != "icmp" else 0))
                if error == errno.EHOSTUNREACH:  # at once, so it is the routing table's word and no neighbour's
                    self.end("no_route", "unreachable_route")
                    return
                if error not in {0, errno.EINPROGRESS}:
                    self.fail(error, sock)
                    return
                poller.add(sock, self)
            if self.protocol == "udp":
                self.sockets[0].send(_datagram(self.port, self.nonce))
            elif self.protocol == "icmp":
                message = _echo_request(_version(self.address), self.identifier, self.asked, self.nonce)
                self.sockets[0].send(message)
        except OSError as failure:
            self.fail(failure.errno or errno.EIO, self.sockets[-1] if self.sockets else None)

    def hear(self, sock: socket.socket) -> None:
        """Something happened on one of the sockets."""
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.fail(error, sock)
        elif self.protocol == "tcp":
            with contextlib.suppress(OSError):  # still on its way: the next event tells
                sock.getpeername()
                self.end("open", "answered")
        else:
            self._hear_message(sock)

    def _hear_message(self, sock: socket.socket) -> None:
        try:
            message = sock.recv(2048)
        except BlockingIOError:
            notice = _notice(sock)
            if notice is not None:
                self.end(*explain(errno.EHOSTUNREACH, notice, _own_address(sock)))
            return
        except OSError as failure:
            self.fail(failure.errno or errno.EIO, sock)
            return
        if self.protocol == "udp":
            self.end("open", "answered")
            return
        body = message[(message[0] & 0x0F) * 4 :] if _version(self.address) == 4 else message  # noqa: PLR2004
        if struct.unpack_from(">H", body, 4)[0] == self.identifier and body[8:16] == self.nonce:
            self.end("open", "answered")

    def fail(self, error: int, sock: socket.socket | None) -> None:
        """Take an error number as the answer, unless it only says that the kernel stopped asking."""
        if error == errno.ETIMEDOUT:
            return
        notice = _notice(sock) if sock is not None else None
        self.end(*explain(error, notice, _own_address(sock) if sock is not None else ""))

    def end(self, outcome: str, reason: str) -> None:
        """Settle the question; the first answer counts."""
        if self.outcome is None:
            self.ended = time.monotonic()
            self.outcome = Outcome(outcome, reason, round((self.ended - self.started) * 1000))

    def close(self) -> None:
        """Give the sockets back; a TCP connection ends with a reset, so no port stays in TIME_WAIT."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []


def _own_address(sock: socket.socket) -> str:
    try:
        return str(sock.getsockname()[0])
    except OSError:
        return ""


class _Poller:
    """epoll over the sockets of questions."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[socket.socket, _Question]] = {}

    def add(self, sock: socket.socket, question: _Question) -> None:
        """Watch one socket of a question."""
        events = select.EPOLLOUT if question.protocol == "tcp" else select.EPOLLIN
        self._waiting[sock.fileno()] = (sock, question)
        self._epoll.register(sock.fileno(), events)

    def turn(self, seconds: float) -> list[_Question]:
        """Wait for events and hand each to its question; gives the questions that they settled."""
        settled = []
        for number, _ in self._epoll.poll(max(0.0, seconds), 65536):
            sock, question = self._waiting.get(number, (None, None))
            if sock is None or question is None:
                continue  # closed by an earlier event of this same turn
            question.hear(sock)
            if question.outcome is not None:
                settled.append(question)
                self.drop(question)
        return settled

    def drop(self, question: _Question) -> None:
        """Close a question's sockets (which takes them out of epoll too)."""
        for sock in question.sockets:
            self._waiting.pop(sock.fileno(), None)
        question.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()


# ------------------------------------------------------------------------------------------- controls


class _Sample(NamedTuple):
    """One question to a control."""

    candidate: int
    started: float
    seconds: float
    """Until the answer; infinite without one."""


class _Controls:
    """Cells that are known to be open, asked over and over beside the real ones.

    A candidate that never answers in a round is dead, not slow: it proves nothing and spoils nothing.
    """

    def __init__(self, cells: list[tuple[str, str, int]], links: "list[_Link]") -> None:
        self._cells, self._links = cells, links
        self._running: list[tuple[int, _Question]] = []
        self._turn = 0
        self.samples: list[_Sample] = []

    def ask(self, poller: _Poller) -> None:
        """Ask the next candidate."""
        size = len(self._cells) + len(self._links)
        if not size:
            return
        number = self._turn % size
        self._turn += 1
        if number >= len(self._cells):
            self._links[number - len(self._cells)].ask()
            return
        question = _Question(*self._cells[number], control=True)
        question.ask(poller)
        self._running.append((number, question))

    def harvest(self, poller: _Poller, longest_seconds: float) -> bool:
        """Take in what has ended; true while an answer is still awaited."""
        now, running = time.monotonic(), []
        for number, question in self._running:
            if question.outcome is None and now - question.started < longest_seconds:
                running.append((number, question))
                continue
            answered = question.outcome is not None and question.outcome.outcome == "open"
            seconds = question.ended - question.started if answered else float("inf")
            self.samples.append(_Sample(number, question.started, seconds))
            poller.drop(question)
        self._running = running
        waiting = bool(running)
        for offset, link in enumerate(self._links):
            for started, seconds in link.harvest(longest_seconds):
                self.samples.append(_Sample(len(self._cells) + offset, started, seconds))
            waiting = waiting or bool(link.unanswered)
        return waiting

    def live(self) -> frozenset[int]:
        """Candidates that answered at least once."""
        return frozenset(sample.candidate for sample in self.samples if sample.seconds != float("inf"))

    def worst_seconds(self) -> float:
        """Slowest answer of a live candidate; infinite when one is missing or none lives."""
        live = self.live()
        return max((sample.seconds for sample in self.samples if sample.candidate in live), default=float("inf"))

    def vouch(self, started: float, ended: float, within_seconds: float) -> bool:
        """Whether every control that ran beside this span answered in time, and at least one did."""
        live = self.live()
        beside = [
            sample.seconds
            for sample in self.samples
            if sample.candidate in live and sample.started <= ended and sample.started + sample.seconds >= started
        ]
        return bool(beside) and max(beside) <= within_seconds

    def tally(self, asked: Counter[int], answered: Counter[int], slowest: dict[int, float]) -> None:
        """Add this round to the totals of each candidate."""
        for sample in self.samples:
            asked[sample.candidate] += 1
            if sample.seconds != float("inf"):
                answered[sample.candidate] += 1
                slowest[sample.candidate] = max(slowest.get(sample.candidate, 0.0), sample.seconds)


# --------------------------------------------------------------------------------------------- connect


class _Round:
    """One pass over cells with one patience for all."""

    def __init__(self, cells: dict[int, tuple[str, str, int]], controls: _Controls, patience_seconds: float) -> None:
        self.questions = {index: _Question(*cell) for index, cell in cells.items()}
        self._queue = deque(self.questions.values())
        self._controls, self._patience = controls, patience_seconds
        self._poller = _Poller()
        self._agenda: list[tuple[float, int, bool, _Question]] = []
        self._running = self._entries = 0
        self._slots = max(1, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 64) // 2)

    def run(self) -> dict[int, _Question]:
        """Ask every cell; afterwards each question has its outcome, or None for silence."""
        longest, control_due = max(10.0, 3 * self._patience), 0.0
        while self._queue or self._running or self._controls.harvest(self._poller, longest):
            asking = bool(self._queue or self._running)
            if asking and time.monotonic() >= control_due:
                self._controls.ask(self._poller)
                control_due = time.monotonic() + CONTROL_EVERY_SECONDS
            self._launch()
            for question in self._poller.turn(self._pause(control_due if asking else time.monotonic() + 0.02)):
                self._running -= not question.control
            self._follow_agenda()
            self._controls.harvest(self._poller, longest)
        self._poller.close()
        return self.questions

    def _launch(self) -> None:
        scale = self._patience / PATIENCE_SECONDS
        for _ in range(min(LAUNCHES_PER_TURN, len(self._queue), self._slots - self._running)):
            question = self._queue.popleft()
            self._running += 1
            self._ask(question)
            for at_seconds in ASKS_AT_SECONDS[question.protocol][1:]:
                self._plan(question, at_seconds * scale, last=False)
            self._plan(question, self._patience, last=True)

    def _plan(self, question: _Question, seconds: float, *, last: bool) -> None:
        if question.outcome is None:
            self._entries += 1
            heapq.heappush(self._agenda, (question.started + seconds, self._entries, last, question))

    def _ask(self, question: _Question) -> None:
        question.ask(self._poller)
        if question.outcome is not None:
            self._finish(question)

    def _finish(self, question: _Question) -> None:
        self._running -= 1
        self._poller.drop(question)

    def _pause(self, control_due: float) -> float:
        if self._queue and self._running < self._slots:
            return 0.0
        due = min(control_due, self._agenda[0][0]) if self._agenda else control_due
        return due - time.monotonic()

    def _follow_agenda(self) -> None:
        now = time.monotonic()
        while self._agenda and self._agenda[0][0] <= now:
            _, _, last, question = heapq.heappop(self._agenda)
            if question.outcome is not None:
                continue
            if not last:
                self._ask(question)
                continue
            # An answer that the kernel already holds is heard before patience ends: a busy machine wakes us late.
            for sock in question.sockets:
                question.hear(sock)
            question.ended = question.ended or time.monotonic()
            self._finish(question)


def connect(order: dict[str, Any]) -> dict[str, Any]:
    """Ask every cell of an order until it has an outcome that can be stood by."""
    begun = time.monotonic()
    _raise_descriptor_limit()
    names = _Names(order.get("names", []))
    cells = [(str(protocol), str(address), int(port)) for protocol, address, port in order["cells"]]
    links, link_errors = _links(order.get("links", []))
    control_cells = [cells[index] for index in order.get("controls", [])]
    outcomes: dict[int, Outcome] = {}
    asked: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    slowest: dict[int, float] = {}
    open_cells, patience, rounds = dict(enumerate(cells)), float(order.get("patience_seconds", PATIENCE_SECONDS)), 0
    while open_cells and rounds < ROUNDS:
        rounds += 1
        controls = _Controls(control_cells, links)
        questions = _Round(open_cells, controls, patience).run()
        controls.tally(asked, answered, slowest)
        for index, question in questions.items():
            outcomes[index] = _settle(question, controls, patience)
        open_cells = {index: cell for index, cell in open_cells.items() if outcomes[index].outcome == "probe_error"}
        if not controls.live() and rounds > 1:
            break  # without any control more patience cannot help
        worst = controls.worst_seconds()
        patience = min(LONGEST_PATIENCE_SECONDS, max(2 * patience, 5 * worst if worst != float("inf") else 0.0))
    return {
        "answers": [list(outcomes[index]) for index in range(len(cells))],
        "controls": [
            {
                "asked": asked[number],
                "answered": answered[number],
                "slowest_ms": round(slowest.get(number, 0.0) * 1000),
            }
            for number in range(len(control_cells) + len(links))
        ],
        "links": [link.address for link in links],
        "link_errors": link_errors,
        "names": names.collect(),
        "rounds": rounds,
        "milliseconds": round((time.monotonic() - begun) * 1000),
    }


def _settle(question: _Question, controls: _Controls, patience_seconds: float) -> Outcome:
    if question.outcome is not None:
        return question.outcome
    milliseconds = round((question.ended - question.started) * 1000)
    if controls.vouch(question.started, question.ended, patience_seconds * CONTROL_SHARE):
        return Outcome("filtered", "silence", milliseconds)
    return Outcome("probe_error", "controls_slow" if controls.live() else "control_silent", milliseconds)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Names:
    """Resolves names in the background, as programs on this host would (``getaddrinfo``)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._queue = deque(self._names)
        self._found: dict[str, dict[str, Any]] = {}
        self._deadline = time.monotonic() + NAME_PATIENCE_SECONDS
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(16, len(self._names)))]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while self._queue:
            try:
                name = self._queue.popleft()
            except IndexError:
                return
            self._found[name] = _resolve_name(name)

    def collect(self) -> dict[str, dict[str, Any]]:
        """Each name's addresses; a resolver that still ponders counts as no answer."""
        for thread in self._threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        found = dict(self._found)
        return {name: found.get(name, {"addresses": [], "reason": "no answer in time"}) for name in self._names}


def _resolve_name(name: str) -> dict[str, Any]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return {"addresses": [], "reason": str(error)}
    return {"addresses": sorted({str(entry[4][0]) for entry in found}), "reason": ""}


# ---------------------------------------------------------------------------------------- packet filters


def _assemble(program: list[tuple[str, str, int] | tuple[str, str, int, str, str]]) -> bytes:
    """Assemble classic BPF; jumps name the label they go to, the empty label is the next instruction."""
    codes = {
        "ld": 0x20, "ldh": 0x28, "ldb": 0x30, "ldh_x": 0x48, "ldb_x": 0x50, "ldx_header": 0xB1,
        "and": 0x54, "jeq": 0x15, "jge": 0x35, "jgt": 0x25, "jset": 0x45, "ja": 0x05, "ret": 0x06,
    }  # fmt: skip
    places = {line[0]: number for number, line in enumerate(program) if line[0]}
    code = b""
    for number, line in enumerate(program):
        name, value, jumps = line[1], line[2], line[3:]
        offsets = [places[label] - number - 1 if label else 0 for label in jumps] or [0, 0]
        if name == "ja":
            code += struct.pack("=HBBI", codes[name], 0, 0, offsets[0])
        else:
            code += struct.pack("=HBBI", codes[name], offsets[0], offsets[1], value)
    return code


def _attach(sock: socket.socket, code: bytes) -> None:
    """Attach a filter and throw away what arrived before it was there."""
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv(1)


def _opening_segments(version: int) -> bytes:
    """TCP segments with SYN and without ACK, on a raw IP socket (IPv6 ones start behind the IP header)."""
    flags: list[tuple[str, str, int] | tuple[str, str, int, str, str]] = (
        [("", "ldx_header", 0), ("", "ldb_x", 13)] if version == 4 else [("", "ldb", 13)]  # noqa: PLR2004
    )
    return _assemble(
        [
            *flags,
            ("", "and", _SYN | _ACK),
            ("", "jeq", _SYN, "take", "leave"),
            ("take", "ret", 0x40000),
            ("leave", "ret", 0),
        ]
    )


def _frames_by_port(first: int, last: int, *, source: bool, links: bool = False) -> bytes:
    """Ethernet frames with a TCP or UDP source (or destination) port in a range.

    With ``links`` ARP replies and neighbour advertisements too.
    """
    side = 0 if source else 2
    arp, advertisement = ("arp", "advertisement") if links else ("leave", "leave")
    return _assemble(
        [
            ("", "ldh", 12),
            ("", "jeq", _ETHERNET_IPV4, "", "not_ipv4"),
            ("", "ldb", 23),
            ("", "jeq", _TCP, "whole", ""),
            ("", "jeq", _UDP, "", "leave"),
            ("whole", "ldh", 20),
            ("", "jset", 0x1FFF, "leave", ""),
            ("", "ldx_header", 14),
            ("", "ldh_x", 14 + side),
            ("", "ja", 0, "range", ""),
            ("not_ipv4", "jeq", _ETHERNET_IPV6, "", arp),
            ("", "ldb", 20),
            ("", "jeq", _TCP, "port", ""),
            ("", "jeq", _UDP, "port", advertisement),
            ("port", "ldh", 54 + side),
            ("range", "jge", first, "", "leave"),
            ("", "jgt", last, "leave", "take"),
            ("arp", "jeq", _ETHERNET_ARP, "", "leave"),
            ("", "ldh", 20),
            ("", "jeq", 2, "take", "leave"),
            ("advertisement", "jeq", _ICMPV6, "", "leave"),
            ("", "ldb", 54),
            ("", "jeq", 136, "take", "leave"),
            ("take", "ret", 0x40000),
            ("leave", "ret", 0),
        ]
    )


def _departing_openings() -> bytes:
    """Frames on their way out of this host that open something: TCP SYN, UDP, ICMP echo requests.

    Raw frames of our own do not count: no output filter sees them.
    """
    return _assemble(
        [
            ("", "ld", 0xFFFFF004),  # SKF_AD_OFF + SKF_AD_PKTTYPE
            ("", "jeq", 4, "", "leave"),  # PACKET_OUTGOING
            ("", "ldh", 12),
            ("", "jeq", _ETHERNET_IPV4, "", "not_ipv4"),
            ("", "ldx_header", 14),
            ("", "ldb", 23),
            ("", "jeq", _UDP, "port", ""),
            ("", "jeq", _TCP, "", "not_tcp"),
            ("", "ldb_x", 14 + 13),
            ("", "and", _SYN | _ACK),
            ("", "jeq", _SYN, "", "leave"),
            ("port", "ldh_x", 14),
            ("", "ja", 0, "own", ""),
            ("not_tcp", "jeq", 1, "", "leave"),
            ("", "ldb_x", 14),
            ("", "jeq", 8, "take", "leave"),
            ("not_ipv4", "jeq", _ETHERNET_IPV6, "", "leave"),
            ("", "ldb", 20),
            ("", "jeq", _UDP, "port6", ""),
            ("", "jeq", _TCP, "", "not_tcp6"),
            ("", "ldb", 54 + 13),
            ("", "and", _SYN | _ACK),
            ("", "jeq", _SYN, "", "leave"),
            ("port6", "ldh", 54),
            ("own", "jge", ATTACK_PORT, "", "take"),
            ("", "jgt", LAST_CONTROL_PORT, "take", "leave"),
            ("not_tcp6", "jeq", _ICMPV6, "", "leave"),
            ("", "ldb", 54),
            ("", "jeq", 128, "take", "leave"),
            ("take", "ret", 0x40000),
            ("leave", "ret", 0),
        ]
    )


# ---------------------------------------------------------------------------------- the link to a neighbour


class Way(NamedTuple):
    """How this host reaches an address, by its routing table."""

    device: str
    source: str
    next_hop: str


def _way(address: str) -> Way:
    """Ask the kernel's routing table; KeyError or OSError where there is no way."""
    done = subprocess.run(
        ["ip", "-j", "route", "get", address], capture_output=True, text=True, check=False, timeout=10
    )
    if done.returncode != 0:
        raise OSError(errno.ENETUNREACH, done.stderr.strip() or f"no route to {address}")
    route = json.loads(done.stdout)[0]
    return Way(route["dev"], route["prefsrc"], route.get("gateway", address))


def _dropped_on(device: str) -> int:
    """Frames that the device dropped on their way out."""
    done = subprocess.run(
        ["ip", "-j", "-s", "link", "show", "dev", device], capture_output=True, text=True, check=False, timeout=10
    )
    return int(json.loads(done.stdout)[0]["stats64"]["tx"]["dropped"]) if done.returncode == 0 else 0


class _Link:
    """A neighbour on the wire that answers ARP (RFC 826) or neighbour solicitations (RFC 4861), filter or no filter."""

    def __init__(self, address: str, device: str, source: str) -> None:
        self.address = address
        self.hardware_address = b""
        self.unanswered: deque[float] = deque()
        self._ended: list[tuple[float, float]] = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        _attach(self.socket, _frames_by_port(ATTACK_PORT, LAST_CONTROL_PORT, source=False, links=True))
        self.socket.bind((device, _ETHERNET_ALL))
        self.own_hardware_address: bytes = self.socket.getsockname()[4]
        self.frame = _solicitation(self.own_hardware_address, source, address)

    def ask(self) -> None:
        """Send one request."""
        self.unanswered.append(time.monotonic())
        with contextlib.suppress(OSError):
            self.socket.send(self.frame)

    def take(self, frame: bytes) -> bool:
        """Whether a frame is the neighbour's answer; it then answers the oldest open request."""
        answer = _advertised(frame, self.address)
        if not answer:
            return False
        self.hardware_address = answer
        if self.unanswered:
            started = self.unanswered.popleft()
            self._ended.append((started, time.monotonic() - started))
        return True

    def harvest(self, longest_seconds: float) -> list[tuple[float, float]]:
        """Requests that ended: when they were sent and how long the answer took (infinite: none came)."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.take(self.socket.recv(2048))
        now = time.monotonic()
        while self.unanswered and now - self.unanswered[0] > longest_seconds:
            self._ended.append((self.unanswered.popleft(), float("inf")))
        ended, self._ended = self._ended, []
        return ended

    def resolve(self) -> bytes:
        """The neighbour's hardware address; empty when it does not answer within three asks."""
        for _ in range(3):
            self.ask()
            deadline = time.monotonic() + 1.5
            while not self.hardware_address and time.monotonic() < deadline:
                select.select([self.socket], [], [], 0.1)
                self.harvest(10.0)
            if self.hardware_address:
                break
        self.unanswered.clear()
        self._ended.clear()
        return self.hardware_address


def _links(addresses: Iterable[str]) -> tuple[list[_Link], dict[str, str]]:
    links, errors = [], {}
    for address in addresses:
        try:
            way = _way(address)
            links.append(_Link(address, way.device, way.source))
        except (OSError, KeyError, ValueError) as error:
            errors[address] = str(error)
    return links, errors


def _solicitation(own: bytes, source: str, target: str) -> bytes:
    """An ARP request or a neighbour solicitation, to everybody who might be the target."""
    if _version(target) == 4:  # noqa: PLR2004 - IPv4
        request = struct.pack(">HHBBH", 1, _ETHERNET_IPV4, 6, 4, 1)
        body = request + own + socket.inet_aton(source) + bytes(6) + socket.inet_aton(target)
        return b"\xff" * 6 + own + struct.pack(">H", _ETHERNET_ARP) + body
    address = socket.inet_pton(socket.AF_INET6, target)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + address[13:]
    header = socket.inet_pton(socket.AF_INET6, source) + group
    body = struct.pack(">BBHI", 135, 0, 0, 0) + address + b"\1\1" + own
    checksum = ~_sum16(header + struct.pack(">II", len(body), _ICMPV6) + body) & 0xFFFF
    body = body[:2] + struct.pack(">H", checksum) + body[4:]
    packet = struct.pack(">IHBB", 6 << 28, len(body), _ICMPV6, 255) + header + body
    return b"\x33\x33" + group[12:] + own + struct.pack(">H", _ETHERNET_IPV6) + packet


def _advertised(frame: bytes, address: str) -> bytes:
    """The hardware address of ``address`` as the frame states it; empty when it states none."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETHERNET_ARP and frame[20:22] == b"\0\2" and _version(address) == 4:  # noqa: PLR2004
        return frame[22:28] if frame[28:32] == socket.inet_aton(address) else b""
    if kind == _ETHERNET_IPV6 and frame[20] == _ICMPV6 and frame[54] == 136 and _version(address) == 6:  # noqa: PLR2004
        return frame[6:12] if frame[62:78] == socket.inet_pton(socket.AF_INET6, address) else b""
    return b""


# ------------------------------------------------------------------------------------------------ listen


class _Observer:
    """Listeners and raw sockets of one target: who arrived, and how far.

    ``accepted`` is what the host's input filter let through (raw IP sockets), ``wire`` what stood on its wire
    (a packet socket), ``departures`` what this host's output filter let out, and listeners give the answers where
    no real service does.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._epoll = select.epoll()
        self._hearers: dict[int, Callable[[], None]] = {}
        self._sockets: list[socket.socket] = []
        self._drops: dict[int, int] = {}
        self._arrivals: Counter[tuple[str, str, str, int]] = Counter()
        self._departures: Counter[tuple[str, str, str, int]] = Counter()
        self._frames: dict[tuple[str, str, str, str, str], set[int]] = {}
        self._frame_counts: Counter[tuple[str, str, str, str, str]] = Counter()
        self._bound: list[list[Any]] = []
        self._service: list[list[Any]] = []
        self._unavailable: list[list[Any]] = []
        self._wire: socket.socket | None = None
        self._door: socket.socket | None = None
        self._outward: socket.socket | None = None
        self._door_frames = 0
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
        self._ephemeral = range(int(first), int(last) + 1)
        self._watch_arrivals()
        if order.get("wire"):
            self._watch_departures()
            self._watch_wire(FIRST_POINT_PORT if order["wire"] == "points" else ATTACK_PORT)
        for protocol, address, port in order["listeners"]:
            self._listen(protocol, address, port)

    def report(self) -> dict[str, Any]:
        """What stands ready."""
        return {"bound": self._bound, "service": self._service, "unavailable": self._unavailable}

    def arrivals(self) -> dict[str, Any]:
        """Everything that arrived until now."""
        self._hear_all()
        wire_drops = outward_drops = 0
        if self._wire is not None and self._door is not None and self._outward is not None:
            wire_drops = _packet_statistics(self._wire)[1]
            outward_drops = _packet_statistics(self._outward)[1]
            self._door_frames += _packet_statistics(self._door)[0]
        return {
            **self.report(),
            "arrivals": [[*key, count] for key, count in sorted(self._arrivals.items())],
            "departures": [[*key, count] for key, count in sorted(self._departures.items())],
            "frames": [[*key, _ranges(ports), self._frame_counts[key]] for key, ports in sorted(self._frames.items())],
            "door_frames": self._door_frames,
            "wire_dropped": wire_drops,
            "departures_dropped": outward_drops,
            "raw_dropped": sum(self._drops.values()),
        }

    def serve(self, control: socket.socket, lifetime_seconds: float) -> None:
        """Listen until told to stop, or until the lifetime is over whatever happens."""
        deadline = time.monotonic() + lifetime_seconds
        self._epoll.register(control.fileno(), select.EPOLLIN)
        while (left := deadline - time.monotonic()) > 0:
            for number, _ in self._epoll.poll(left, 4096):
                if number != control.fileno():
                    self._hearers[number]()
                elif self._obey(control):
                    return

    def _obey(self, control: socket.socket) -> bool:
        connection, _ = control.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            word = connection.recv(16)
            connection.sendall(json.dumps(self.arrivals()).encode())
            return word == b"stop"
        return False

    def _hear_all(self) -> None:
        """Empty every queue, so that what has arrived is counted."""
        for _ in range(64):
            events = [number for number, _ in self._epoll.poll(0, 4096) if number in self._hearers]
            if not events:
                return
            for number in events:
                self._hearers[number]()

    def _hear(self, sock: socket.socket, hearer: Callable[[], None]) -> None:
        self._sockets.append(sock)
        self._hearers[sock.fileno()] = hearer
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _listen(self, protocol: str, address: str, port: int) -> None:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        try:
            sock = socket.socket(_family(address), kind | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._unavailable.append([protocol, address, port, str(error)])
            return
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
            if protocol == "tcp":
                sock.listen(4096)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                self._service.append([protocol, address, port])
            else:
                self._unavailable.append([protocol, address, port, str(error)])
            return
        self._bound.append([protocol, address, port])
        self._hear(sock, (lambda: _turn_away(sock)) if protocol == "tcp" else (lambda: _echo(sock)))

    def _watch_arrivals(self) -> None:
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            for protocol in ("tcp", "udp", "icmp"):
                number = {"tcp": _TCP, "udp": _UDP, "icmp": 1 if version == 4 else _ICMPV6}[protocol]  # noqa: PLR2004
                try:
                    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number)
                except OSError as error:
                    self._unavailable.append([protocol, f"ipv{version}", 0, str(error)])
                    continue
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
                sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
                if protocol == "tcp":
                    _attach(sock, _opening_segments(version))
                elif protocol == "icmp":
                    _only_icmp(sock, family, 8 if version == 4 else 128)  # noqa: PLR2004
                if version == 6:  # noqa: PLR2004
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
                self._hear(sock, self._arrival_hearer(sock, protocol, version))

    def _arrival_hearer(self, sock: socket.socket, protocol: str, version: int) -> Callable[[], None]:
        def hear() -> None:
            with contextlib.suppress(OSError):
                while True:
                    packet, ancillary, _, sender = sock.recvmsg(2048, 256)
                    destination = ""
                    for level, kind, data in ancillary:
                        if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                            self._drops[sock.fileno()] = struct.unpack("=I", data)[0]
                        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
                            destination = socket.inet_ntop(socket.AF_INET6, data[:16])
                    if version == 4:  # noqa: PLR2004
                        destination = socket.inet_ntoa(packet[16:20])
                        packet = packet[(packet[0] & 0x0F) * 4 :]
                    self._arrived(protocol, str(sender[0]), destination, packet)

        return hear

    def _arrived(self, protocol: str, source: str, destination: str, segment: bytes) -> None:
        if protocol == "icmp":
            self._arrivals[protocol, source, destination, 0] += 1
            return
        source_port, port = struct.unpack_from(">HH", segment)
        kind = PORT_KINDS.get(source_port)
        if kind is not None:
            self._saw(("accepted", kind, protocol, source, destination), port)
        elif not FIRST_CONTROL_PORT <= source_port <= LAST_CONTROL_PORT:
            self._arrivals[protocol, source, destination, port] += 1

    def _saw(self, key: tuple[str, str, str, str, str], port: int) -> None:
        self._frames.setdefault(key, set()).add(port)
        self._frame_counts[key] += 1

    def _watch_departures(self) -> None:
        self._outward = _packet_socket(_departing_openings(), 8 << 20, outgoing=True)
        self._hear(self._outward, self._hear_outward)

    def _hear_outward(self) -> None:
        outward = self._outward
        if outward is None:
            return
        with contextlib.suppress(OSError):
            while True:
                seen = _addressed(outward.recv(128))
                # Questions leave from the kernel's ephemeral ports, answers of services from their own port.
                if seen is not None and (seen[0] == "icmp" or seen[3] in self._ephemeral):
                    self._departures[seen[0], seen[1], seen[2], seen[4]] += 1

    def _watch_wire(self, first_port: int) -> None:
        """Frames sent at the door are only counted, by the kernel: all of them arrive on the wire, by design."""
        self._wire = _packet_socket(_frames_by_port(first_port, LAST_POINT_PORT, source=True), 16 << 20)
        self._door = _packet_socket(_frames_by_port(DOOR_PORT, DOOR_PORT, source=True), 4096)
        self._hear(self._wire, self._hear_wire)

    def _hear_wire(self) -> None:
        wire = self._wire
        if wire is None:
            return
        with contextlib.suppress(OSError):
            while True:
                frame, origin = wire.recvfrom(128)
                seen = _addressed(frame) if origin[2] == _PACKET_HOST else None
                if seen is not None and not _resets(frame):
                    protocol, source, destination, source_port, port = seen
                    kind = PORT_KINDS.get(source_port, "unknown")
                    self._saw(("wire", kind, protocol, source, destination), port)


def _packet_socket(code: bytes, buffer_bytes: int, *, outgoing: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERNET_ALL))
    if not outgoing:
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
    _attach(sock, code)
    _packet_statistics(sock)
    return sock


def _packet_statistics(sock: socket.socket) -> tuple[int, int]:
    """Packets that passed the filter and those of them that were dropped, since the last call (packet(7))."""
    packets, drops = struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return packets, drops


def _addressed(frame: bytes) -> tuple[str, str, str, int, int] | None:
    """Protocol, addresses and ports (zero for ICMP) of a frame."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETHERNET_IPV4:
        number, start = frame[23], 14 + (frame[14] & 0x0F) * 4
        source, destination = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    elif kind == _ETHERNET_IPV6:
        number, start = frame[20], 54
        source = socket.inet_ntop(socket.AF_INET6, frame[22:38])
        destination = socket.inet_ntop(socket.AF_INET6, frame[38:54])
    else:
        return None
    if number in {1, _ICMPV6}:
        return "icmp", source, destination, 0, 0
    protocol = {_TCP: "tcp", _UDP: "udp"}.get(number)
    if protocol is None:
        return None
    source_port, port = struct.unpack_from(">HH", frame, start)
    return protocol, source, destination, source_port, port


def _resets(frame: bytes) -> bool:
    """Whether a TCP or UDP frame is a TCP reset."""
    if int.from_bytes(frame[12:14]) == _ETHERNET_IPV6:
        return frame[20] == _TCP and bool(frame[67] & _RST)
    return frame[23] == _TCP and bool(frame[14 + (frame[14] & 0x0F) * 4 + 13] & _RST)


def _turn_away(listener: socket.socket) -> None:
    """Take every waiting connection and close it: the handshake was the answer."""
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def _echo(sock: socket.socket) -> None:
    """Answer datagrams, but never an answer: two listeners cannot talk to each other for ever."""
    while True:
        try:
            message, sender = sock.recvfrom(512)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EBADF}:
                return
            continue
        if not message.startswith(_REPLY):
            with contextlib.suppress(OSError):
                sock.sendto(_REPLY + message[:64], sender)


def _ranges(ports: Iterable[int]) -> list[list[int]]:
    """Ports as inclusive ranges."""
    ranges: list[list[int]] = []
    for port in sorted(ports):
        if ranges and port == ranges[-1][1] + 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return ranges


def listen(order: dict[str, Any]) -> dict[str, Any]:
    """Start the listening process, detached and bound by its lifetime, and say what stands ready."""
    with contextlib.suppress(OSError, ValueError):
        _tell(order["socket"], "stop")  # the same order, given twice
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _detach(writer)
        with contextlib.suppress(BaseException):
            _serve(order, writer)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        report = pipe.read()
    if not report:
        return {"error": "the listening process ended before it was ready"}
    answer: dict[str, Any] = json.loads(report)
    return answer


def _detach(keep: int) -> None:
    """Become a daemon: own session, no terminal, no descriptor of the caller's but one."""
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)


def _serve(order: dict[str, Any], writer: int) -> None:
    path = Path(order["socket"])
    try:
        _raise_descriptor_limit()
        observer = _Observer(order)
        path.unlink(missing_ok=True)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.umask(0o077)
        control.bind(str(path))
        control.listen(4)
    except OSError as error:
        os.write(writer, json.dumps({"error": f"cannot listen: {error}"}).encode())
        return
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(json.dumps(observer.report()).encode())
    try:
        observer.serve(control, float(order["lifetime_seconds"]))
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _tell(path: str, word: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        sock.connect(path)
        sock.sendall(word.encode())
        received = b""
        while part := sock.recv(1 << 16):
            received += part
    answer: dict[str, Any] = json.loads(received)
    return answer


def collect(order: dict[str, Any]) -> dict[str, Any]:
    """What the listening process has seen so far; ``stop`` ends it too."""
    try:
        return _tell(order["socket"], order["action"])
    except (OSError, ValueError) as error:
        return {"error": f"the listening process is gone: {error}"}


# ------------------------------------------------------------------------------------------------ attack


class _Template:
    """A frame of which only ports change, with its checksum kept right by ones' complement (RFC 1624)."""

    def __init__(
        self, protocol: str, hardware: tuple[bytes, bytes], addresses: tuple[str, str], source_port: int, port: int = 0
    ) -> None:
        own, next_hop = hardware
        source, target = addresses
        if protocol == "tcp":
            segment = struct.pack(">HHIIBBHHH", source_port, 0, 0x6B616B6F, 0, 0x50, _SYN, 64240, 0, 0)
            checksum_at = 16
        else:
            segment = struct.pack(">HHHH", source_port, 0, 8 + len(_REQUEST), 0) + _REQUEST
            checksum_at = 6
        number = _PROTOCOL_NUMBERS[protocol]
        if _version(target) == 4:  # noqa: PLR2004
            ends = socket.inet_aton(source) + socket.inet_aton(target)
            header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, number, 0) + ends
            header = header[:10] + struct.pack(">H", ~_sum16(header) & 0xFFFF) + header[12:]
            kind = _ETHERNET_IPV4
        else:
            ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
            header = struct.pack(">IHBB", 6 << 28, len(segment), number, 64) + ends
            kind = _ETHERNET_IPV6
        self.protocol = protocol
        self.frame = bytearray(next_hop + own + struct.pack(">H", kind) + header + segment)
        self._sum = _sum16(ends + struct.pack(">II", len(segment), number) + segment)
        self._start = 14 + len(header)
        self._checksum_at = self._start + checksum_at
        self._source_port = source_port
        self.port = port

    def to_port(self, port: int) -> bytes:
        """The frame to one destination port."""
        self.send(len, [port])
        return bytes(self.frame)

    def send(self, send: Callable[[Any], int], ports: Iterable[int]) -> None:
        """Send one frame to each destination port."""
        frame, base, port_at, checksum_at = self.frame, self._sum, self._start + 2, self._checksum_at
        pack = struct.Struct(">H").pack_into
        for port in ports:
            total = base + port
            pack(frame, port_at, port)
            # All ones instead of zero: for UDP a zero would say that there is no checksum (RFC 768).
            pack(frame, checksum_at, ~(total - 0xFFFF if total > 0xFFFF else total) & 0xFFFF or 0xFFFF)  # noqa: PLR2004
            _send_one(send, frame)

    def from_port(self, source_port: int) -> bytes:
        """The frame to its own port, from another source port."""
        struct.pack_into(">HH", self.frame, self._start, source_port, self.port)
        total = _sum16(
            struct.pack(">IHH", self._sum, source_port, self.port) + struct.pack(">H", ~self._source_port & 0xFFFF)
        )
        struct.pack_into(">H", self.frame, self._checksum_at, ~total & 0xFFFF or 0xFFFF)
        return bytes(self.frame)


class _Pulse:
    """The control frame after each stretch of frames: answered, it shows that what went before it was not lost.

    By an allowed connection (``flow``) the SYN takes its number as source port, so each answer names its stretch.
    By the next hop itself (``link``) answers have no number, so only one may be awaited at a time.
    """

    def __init__(self, link: _Link, template: _Template | None) -> None:
        self._link, self._template = link, template
        self.in_flight_limit = STRETCHES_IN_FLIGHT if template is not None else 1
        self.by = "link" if template is None else "flow"

    def send(self, number: int) -> None:
        """Send control frame ``number``."""
        if self._template is None:
            self._link.ask()
            return
        span = LAST_CONTROL_PORT - FIRST_CONTROL_PORT + 1
        self._link.socket.send(self._template.from_port(FIRST_CONTROL_PORT + number % span))

    def answered(self, frame: bytes, awaited: Iterable[int]) -> int | None:
        """Which of the awaited numbers a received frame answers."""
        if self._template is None:
            return next(iter(awaited), None) if self._link.take(frame) else None
        seen = _addressed(frame)
        if seen is None or seen[4] < FIRST_CONTROL_PORT or seen[3] != self._template.port:
            return None
        self._link.socket.send(_reset_for(frame))
        span = LAST_CONTROL_PORT - FIRST_CONTROL_PORT + 1
        return next((n for n in awaited if n % span == seen[4] - FIRST_CONTROL_PORT), None)


def _reset_for(frame: bytes) -> bytes:
    """The RST that ends what a SYN-ACK began, so that nothing stays half-open at the far end (RFC 9293 3.5.3)."""
    start = 14 + (frame[14] & 0x0F) * 4 if int.from_bytes(frame[12:14]) == _ETHERNET_IPV4 else 54
    far_port, own_port, _, acknowledged = struct.unpack_from(">HHII", frame, start)
    segment = struct.pack(">HHIIBBHHH", own_port, far_port, acknowledged, 0, 0x50, _RST, 0, 0, 0)
    if start == 54:  # noqa: PLR2004 - behind an IPv6 header
        ends = frame[38:54] + frame[22:38]
        header = struct.pack(">IHBB", 6 << 28, len(segment), _TCP, 64) + ends
    else:
        ends = frame[30:34] + frame[26:30]
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, _TCP, 0) + ends
        header = header[:10] + struct.pack(">H", ~_sum16(header) & 0xFFFF) + header[12:]
    checksum = ~_sum16(ends + struct.pack(">II", len(segment), _TCP) + segment) & 0xFFFF
    segment = segment[:16] + struct.pack(">H", checksum) + segment[18:]
    return frame[6:12] + frame[0:6] + frame[12:14] + header + segment


class _Stretch(NamedTuple):
    """Frames that one control frame answers for."""

    name: list[Any]
    size: int
    send: Callable[[Callable[[Any], int]], None]


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _send_all(send: Callable[[Any], int], frames: Iterable[bytes]) -> None:
    for frame in frames:
        _send_one(send, frame)


def _send_one(send: Callable[[Any], int], frame: bytes | bytearray) -> None:
    """Send a frame; where the device's queue is full, once more after a moment."""
    try:
        send(frame)
    except OSError as error:
        if error.errno not in {errno.ENOBUFS, errno.EAGAIN}:
            raise
        time.sleep(0.002)
        send(frame)


class _Assault:
    """Frames to many ports of one target, past this host's own output filter, none of them lost unnoticed."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._target: str = order.get("target", "")
        way = _way(order.get("via") or self._target)
        self._via: str = order.get("via") or way.next_hop
        self._device = way.device
        self._source: str = order.get("source") or way.source
        self._link = _Link(self._via, way.device, way.source)
        next_hop = self._link.resolve()
        if not next_hop:
            raise OSError(errno.EHOSTUNREACH, f"{self._via} does not answer on {way.device}")
        self._hardware = (self._link.own_hardware_address, next_hop)
        self._answers: set[tuple[str, int, str]] = set()
        self._pulse = _Pulse(self._link, None)
        self._number = self._sent = self._repeated = 0
        self._lost: list[list[Any]] = []
        self._flow_error = ""
        control = order.get("control")
        if control:
            template = _Template(
                "tcp", self._hardware, (way.source, str(control[0])), FIRST_CONTROL_PORT, int(control[1])
            )
            self._pulse = _Pulse(self._link, template)
            if not self._alive():
                self._flow_error = f"the allowed connection to {control[0]} port {control[1]} does not answer"
                self._pulse = _Pulse(self._link, None)

    def run(self) -> dict[str, Any]:
        """Send everything; give what was sent, what was answered and what could not be shown to have got through."""
        begun, dropped = time.monotonic(), _dropped_on(self._device)
        kind = self._order["kind"]
        if kind == "point":
            self._sweep(self._point_stretches())
        for protocol in self._order.get("protocols", ()):
            template = _Template(protocol, self._hardware, (self._source, self._target), KIND_PORTS[kind])
            ports = [port for first, last in self._order["ports"] for port in range(first, last + 1)]
            if kind == "client":
                self._knock(template, ports)
            else:
                self._sweep(
                    _Stretch([protocol, part[0], part[-1]], len(part), partial(template.send, ports=part))
                    for part in _parts(ports, STRETCH_FRAMES)
                )
        if kind != "point":
            self._listen_until(time.monotonic() + LATE_ANSWERS_SECONDS, {})
        self._link.socket.close()
        return {
            **{key: self._order[key] for key in ("kind", "target", "protocols", "ports") if key in self._order},
            "via": self._via,
            "source": self._source,
            "device": self._device,
            "sent": self._sent,
            "pulse": self._pulse.by,
            "pulses": self._number,
            "repeated": self._repeated,
            "lost": self._lost,
            "flow_error": self._flow_error,
            "answers": sorted([list(answer) for answer in self._answers]),
            "dropped": _dropped_on(self._device) - dropped,
            "milliseconds": round((time.monotonic() - begun) * 1000),
        }

    def _alive(self) -> bool:
        """Whether the pulse is answered at all."""
        for _ in range(3):
            awaited = {self._number: 0.0}
            self._pulse.send(self._number)
            self._number += 1
            self._listen_until(time.monotonic() + CONTROL_FRAME_PATIENCE_SECONDS, awaited)
            if not awaited:
                return True
        return False

    def _knock(self, template: _Template, ports: list[int]) -> None:
        """The few frames of a client that may: spread over time, each to be seen and answered."""
        for _ in range(int(self._order.get("repeat", 20))):
            template.send(self._link.socket.send, ports)
            self._sent += len(ports)
            self._listen_until(time.monotonic() + 0.1, {})

    def _point_stretches(self) -> Iterator["_Stretch"]:
        """Single frames, each with addresses of its own."""
        for number, part in enumerate(_parts(self._order["frames"], STRETCH_FRAMES)):
            frames = [
                _Template(protocol, self._hardware, (source, target), FIRST_POINT_PORT + int(point)).to_port(int(port))
                for point, protocol, source, target, port in part
            ]
            first = number * STRETCH_FRAMES
            yield _Stretch(["frames", first, first + len(part) - 1], len(part), partial(_send_all, frames=frames))

    def _sweep(self, stretches: Iterable["_Stretch"]) -> None:
        queue = deque((stretch, 1) for stretch in stretches)
        awaited: dict[int, tuple[_Stretch, int, float]] = {}
        limit = self._pulse.in_flight_limit
        while queue or awaited:
            if queue and len(awaited) < limit:
                stretch, tries = queue.popleft()
                stretch.send(self._link.socket.send)
                self._pulse.send(self._number)
                awaited[self._number] = (stretch, tries, time.monotonic())
                self._number += 1
                self._sent += stretch.size if tries == 1 else 0
                if len(awaited) < limit:
                    self._listen_until(0.0, awaited)
                    continue
            due = min(sent + _pulse_patience(tries) for _, tries, sent in awaited.values())
            self._listen_until(due, awaited, some=True)
            now = time.monotonic()
            for number, (stretch, tries, sent) in list(awaited.items()):
                if now - sent < _pulse_patience(tries):
                    continue
                del awaited[number]
                limit = 1  # a loss: from here on one stretch at a time
                self._repeated += 1
                self._link.unanswered.clear()
                if tries < STRETCH_TRIES:
                    queue.appendleft((stretch, tries + 1))
                    continue
                # The way is dead: trying each of the others as long would take hours and show nothing.
                left = [stretch, *(other for other, _, _ in awaited.values()), *(other for other, _ in queue)]
                self._lost += [other.name for other in left]
                return

    def _listen_until(self, deadline: float, awaited: dict[int, Any], *, some: bool = False) -> None:
        """Hear answers; with ``some`` only until an awaited one came, with a past deadline only what is there."""
        while True:
            try:
                frame = self._link.socket.recv(2048)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                select.select([self._link.socket], [], [], left)
                continue
            number = self._pulse.answered(frame, awaited)
            if number is not None:
                del awaited[number]
                if some or (not awaited and deadline):
                    return
            else:
                self._note_answer(frame)

    def _note_answer(self, frame: bytes) -> None:
        seen = _addressed(frame)
        own = (self._target, self._source, KIND_PORTS.get(self._order["kind"]))
        if seen is None or (seen[1], seen[2], seen[4]) != own:
            return
        protocol, port = seen[0], seen[3]
        if _resets(frame):
            self._answers.add((protocol, port, "refused"))
        else:
            self._answers.add((protocol, port, "open"))
            if protocol == "tcp":
                self._link.socket.send(_reset_for(frame))


def _pulse_patience(tries: int) -> float:
    return CONTROL_FRAME_PATIENCE_SECONDS * min(8, tries)


def attack(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out every assault of an order; one that cannot start says why."""
    begun, answers = time.monotonic(), []
    for assault in order["assaults"]:
        try:
            answers.append(_Assault(assault).run())
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            answers.append({**assault, "error": f"cannot attack: {error}"})
    return {"assaults": answers, "milliseconds": round((time.monotonic() - begun) * 1000)}


# -------------------------------------------------------------------------------------------------- main

ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "listen": listen,
    "connect": connect,
    "attack": attack,
    "collect": collect,
    "stop": collect,
}


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order."""
    return ACTIONS[order["action"]](order)


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
