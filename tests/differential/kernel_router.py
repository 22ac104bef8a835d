"""A client, a router and a server in network namespaces of their own: what the kernel really does with a packet.

Packets are raw frames (forward, input) or raw IP packets (output) with a tag in the IPv4 identification or the IPv6 flow
label. A table of our own at the very end of each hook keeps the tags that got there; another at the very beginning counts
arrivals, so that nothing is read before the kernel is done. Errors and resets that the router itself sends are not ours.
"""

import json
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from kakoi.reach.listing import complete_listing

LAN, WAN = "klan0", "kwan0"
LOCAL = ("192.0.2.1", "192.0.2.9", "2001:db8:1::1", "2001:db8:1::9")
"""Addresses of the router itself."""
_OBSERVER = f"""
table inet kakoi_observer {{
  set input4 {{ typeof ip id; size 65535; flags dynamic; }}
  set input6 {{ typeof ip6 flowlabel; size 65535; flags dynamic; }}
  set through4 {{ typeof ip id; size 65535; flags dynamic; }}
  set through6 {{ typeof ip6 flowlabel; size 65535; flags dynamic; }}
  counter arrived {{ }}
  chain arrive {{ type filter hook prerouting priority -2147483648; iifname "{LAN}" counter name "arrived"; }}
  chain leave {{ type filter hook output priority -2147483648; meta mark & 0xff000000 == 0x7f000000 counter name "arrived"; }}
  chain own {{ type filter hook output priority -2147483647; meta mark & 0xff000000 == 0x7f000000 meta mark set 0; }}
  chain input {{ type filter hook input priority 2147483647; iifname "{LAN}" jump keep_input; }}
  chain keep_input {{ update @input4 {{ ip id }}; update @input6 {{ ip6 flowlabel }}; }}
chain through {{
    type filter hook postrouting priority 2147483647;
    oifname "{WAN}" iifname "{LAN}" jump keep_through;
    oifname "{WAN}" meta skuid 0 jump keep_through;
  }}
  chain keep_through {{ update @through4 {{ ip id }}; update @through6 {{ ip6 flowlabel }}; }}
}}
"""
_FORGET_ALL = struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, socket.AF_UNSPEC, 0, 0)
"""A request to ctnetlink to delete every connection, to be acknowledged."""
_REFUSED_LINE = re.compile(r"^/dev/stdin:(\d+):", re.MULTILINE)
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; ``hook`` says which way it goes through the router."""

    hook: str
    saddr: str
    daddr: str
    proto: int
    sport: int = 0
    dport: int = 0
    flags: int = 0x02
    type: int = 0
    code: int = 0
    ct: str = "new"

    @property
    def version(self) -> int:
        """4 or 6."""
        return ip_address(self.daddr).version

    @property
    def way(self) -> str:
        """Where it is looked for."""
        return "input" if self.hook == "input" else "through"

    @property
    def spec(self) -> str:
        """The packet as kakoi's command line writes it."""
        words = [f"saddr={self.saddr}", f"daddr={self.daddr}", f"proto={self.proto}", f"ct={self.ct}"]
        if self.hook != "output":
            words.append(f"iif={LAN}")
        if self.hook != "input":
            words.append(f"oif={WAN}")
        if self.proto in {6, 17}:
            words += [f"sport={self.sport}", f"dport={self.dport}"]
        if self.proto == 6:
            names = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
            words.append("flags=" + ",".join(name for bit, name in enumerate(names) if self.flags >> bit & 1))
        if self.proto in {1, 58}:
            words += [f"type={self.type}", f"code={self.code}"]
        return " ".join(words)


class Router:
    """The router's namespace, with ways to load rules, send packets and see what got through."""

    def __init__(self, prefix: str) -> None:
        self._names = {role: f"{prefix}-{role}" for role in ("c", "r", "s")}
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        for name in self._names.values():
            _run("ip", "netns", "add", name)
        try:
            self._wire()
        except BaseException:
            self.close()
            raise

    def _wire(self) -> None:
        client, router, server = (self._names[role] for role in ("c", "r", "s"))
        _run("ip", "link", "add", LAN, "netns", router, "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "k0", "netns", client, "address", "02:00:00:00:00:02")  # fmt: skip
        _run("ip", "link", "add", WAN, "netns", router, "address", "02:00:00:00:00:03", "type", "veth", "peer", "name", "k0", "netns", server, "address", "02:00:00:00:00:04")  # fmt: skip
        for name, device in ((client, "k0"), (server, "k0"), (router, LAN), (router, WAN)):
            _run("ip", "-n", name, "link", "set", device, "up")
        self._enter(client)
        self._wire_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._wire_socket.bind(("k0", 0))
        self._enter(server)
        self._server_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._server_socket.bind(("k0", 0))
        self._enter(router)
        _run("ip", "link", "set", "lo", "up")
        settings = {f"ipv4/conf/{name}/rp_filter": "0" for name in ("all", "default", LAN, WAN)}
        settings |= {f"ipv6/conf/{name}/forwarding": "1" for name in ("all", LAN, WAN)}
        settings |= {"ipv4/ip_forward": "1", "ipv4/icmp_ratelimit": "0", f"ipv4/conf/{WAN}/send_redirects": "0"}
        for key, value in settings.items():
            Path("/proc/sys/net", key).write_text(value)
        for address in LOCAL:
            _run("ip", "address", "add", address, "dev", LAN, *(["nodad"] if ":" in address else []))
        _run("ip", "address", "add", "198.18.0.1/30", "dev", WAN)
        _run("ip", "address", "add", "2001:db8:ffff::1/64", "dev", WAN, "nodad")
        for gateway in ("198.18.0.2", "2001:db8:ffff::2"):
            _run("ip", "neigh", "add", gateway, "lladdr", "02:00:00:00:00:04", "dev", WAN, "nud", "permanent")
            _run("ip", "route", "add", "default", "via", gateway, "dev", WAN)
        _nft(_OBSERVER)
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        self._raw = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }
        self._raw[6].setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
        for one in self._raw.values():
            one.setsockopt(socket.SOL_SOCKET, 36, 0x7F000000)  # SO_MARK

    def _enter(self, name: str) -> None:
        with Path("/run/netns", name).open("rb") as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)

    def close(self) -> None:
        """Go home and leave nothing behind."""
        os.setns(self._home, os.CLONE_NEWNET)
        os.close(self._home)
        for one in ("_wire_socket", "_server_socket", "_netlink", "_raw"):
            found = getattr(self, one, None)
            for opened in found.values() if isinstance(found, dict) else [found]:
                if opened is not None:
                    opened.close()
        for name in self._names.values():
            with suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", name)

    def establish(self, packets: Sequence[Packet]) -> None:
        """Let the connections of forwarded UDP packets be seen in both directions, before any ruleset is there."""
        self.clear()
        _nft("table inet kakoi_tracking {\n chain f { type filter hook forward priority 0; ct state new; }\n}")
        self.send(packets)
        for packet in packets:
            answer = replace(packet, saddr=packet.daddr, daddr=packet.saddr, sport=packet.dport, dport=packet.sport)
            ethertype = 0x0800 if packet.version == 4 else 0x86DD
            ends = bytes.fromhex("020000000003020000000004")
            self._server_socket.send(ends + struct.pack("!H", ethertype) + _ip_packet(answer, 60000))

    def load(self, text: str, *, forget: bool = True) -> str:
        """Load a ruleset in place of the one before, without the lines that nft refuses; its JSON listing.

        Raises:
            ValueError: nft refuses it without telling a line that can be left out.
        """
        self.clear(forget=forget)
        lines = text.splitlines()
        while True:
            try:
                _nft("\n".join(lines))
                break
            except ValueError as error:
                refused = {int(found) - 1 for found in _REFUSED_LINE.findall(str(error))}
                if not refused:
                    raise
                lines = ["" if number in refused else line for number, line in enumerate(lines)]
        listed = json.loads(
            complete_listing(*(_run("nft", *way, "list", "ruleset") for way in (["-j"], [], ["--debug=netlink"])))
        )
        listed["nftables"] = [item for item in listed["nftables"] if "kakoi_observer" not in json.dumps(item)]
        return json.dumps(listed)

    def clear(self, *, forget: bool = True) -> None:
        """Take every table away but the observer's, and all that is remembered of connections."""
        _nft(f"flush ruleset\n{_OBSERVER}")
        if not forget:
            return
        self._netlink.send(_FORGET_ALL)
        (status,) = struct.unpack_from("=i", self._netlink.recv(4096), 16)
        assert status == 0, "connections could not be forgotten"

    def send(self, packets: Sequence[Packet]) -> list[bool]:
        """Send packets; which of them got through all hooks on their way."""
        flush = [f"flush set inet kakoi_observer {way}{version}" for way in ("input", "through") for version in (4, 6)]
        _nft("\n".join([*flush, "reset counters table inet kakoi_observer"]))
        for tag, packet in enumerate(packets, start=1):
            self._send(packet, tag)
        self._wait(len(packets))
        seen = {(way, version): _seen(f"{way}{version}") for way in ("input", "through") for version in (4, 6)}
        return [tag in seen[packet.way, packet.version] for tag, packet in enumerate(packets, start=1)]

    def _send(self, packet: Packet, tag: int) -> None:
        body = _ip_packet(packet, tag)
        if packet.hook == "output":
            with suppress(PermissionError):
                self._raw[packet.version].sendto(body, (packet.daddr, 0))
            return
        ethertype = 0x0800 if packet.version == 4 else 0x86DD
        self._wire_socket.send(bytes.fromhex("020000000001020000000002") + struct.pack("!H", ethertype) + body)

    def _wait(self, sent: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            listed = json.loads(_run("nft", "-j", "list", "counter", "inet", "kakoi_observer", "arrived"))
            arrived = next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)
            if arrived >= sent:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {arrived} of {sent} packets arrived")


@contextmanager
def router(prefix: str) -> Iterator[Router]:
    """A router for one test run, pinned to one processor so that packets keep their order."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    made = Router(prefix)
    try:
        yield made
    finally:
        made.close()
        os.sched_setaffinity(0, before)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _nft(text: str) -> None:
    result = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(f"nft refuses:\n{result.stderr}")


def _seen(name: str) -> set[int]:
    listed = json.loads(_run("nft", "-j", "list", "set", "inet", "kakoi_observer", name))
    (found,) = [item["set"] for item in listed["nftables"] if "set" in item]
    return {element["elem"]["val"] if isinstance(element, dict) else element for element in found.get("elem", ())}


def _ip_packet(packet: Packet, tag: int) -> bytes:
    payload = _transport(packet)
    if packet.version == 4:
        total = 20 + len(payload)
        source, target = IPv4Address(packet.saddr).packed, IPv4Address(packet.daddr).packed
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, tag, 0, 64, packet.proto, 0, source, target)
        return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + payload
    source, target = IPv6Address(packet.saddr).packed, IPv6Address(packet.daddr).packed
    return struct.pack("!IHBB16s16s", 6 << 28 | tag, len(payload), packet.proto, 64, source, target) + payload


def _transport(packet: Packet) -> bytes:
    data = b"kakoi"
    match packet.proto:
        case 6:
            segment = struct.pack("!HHIIBBHHH", packet.sport, packet.dport, 1, 0, 0x50, packet.flags, 1024, 0, 0)
            at = 16
        case 17:
            segment = struct.pack("!HHHH", packet.sport, packet.dport, 8 + len(data), 0) + data
            at = 6
        case 1 | 58:
            segment = struct.pack("!BBHHH", packet.type, packet.code, 0, packet.sport, 1) + data
            at = 2
        case _:
            return bytes(16)
    pseudo = b"" if packet.proto == 1 else _pseudo_header(packet, len(segment))
    return segment[:at] + struct.pack("!H", _checksum(pseudo + segment)) + segment[at + 2 :]


def _pseudo_header(packet: Packet, length: int) -> bytes:
    source, target = ip_address(packet.saddr).packed, ip_address(packet.daddr).packed
    return source + target + struct.pack("!IxxxB", length, packet.proto)


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
