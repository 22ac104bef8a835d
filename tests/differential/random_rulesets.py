"""Random rulesets and packets: every construct the reader knows, small worlds so that rules and packets meet."""

import re
from dataclasses import dataclass, replace
from random import Random

from kernel_router import LAN, LOCAL, WAN, Packet

_V4 = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "198.51.100.1", "198.51.100.129", "203.0.113.5")
_V6 = ("2001:db8:5::1", "2001:db8:5::2", "2001:db8:5:1::1", "2001:db8:6::1", "2001:db8:6::8000", "fd00::5")
_PREFIX4 = (
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/31",
    "198.51.100.0/24",
    "198.51.100.128/25",
    "192.0.2.0/24",
    "0.0.0.0/1",
)
_PREFIX6 = ("2001:db8:5::/48", "2001:db8::/32", "fd00::/8", "2001:db8:6::/112", "2001:db8:5::/64")
_RANGE4 = ("10.0.0.1-10.0.1.0", "192.0.2.5-198.51.100.100")
_RANGE6 = ("2001:db8:5::1-2001:db8:6::1",)
_PORTS = (22, 53, 80, 443, 1000, 1001, 1002, 8080)
_PORT_SETS = ("22", "80", "443", "53", "1-100", "1000-1001", "1024-65535")
_MARKS = ("0x0", "0x1", "0x2", "0x3", "0x10")
_NAMES = (LAN, WAN, "klan*", "kwan*", "k*", "other", "klan")
_PRIORITIES = (-400, -300, -250, -150, -100, -50, 0, 10, 100, 200)


_LISTED_WRONGLY = re.compile(r"(\w+ \w+) <.* \1 >")
"""``dport < 1 dport > 2`` can never match, but nft 1.0.6 lists it as ``dport != 1-2``: no engine can tell from a listing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a generated ruleset may hold."""

    uncertain: bool = False
    """Constructs whose result no packet tells: limits, look-ups, packet fields that are not asked about."""
    translation: bool = False
    local_translation: bool = True
    """Destination translation in prerouting may be used (it takes input packets away)."""


class _Generator:
    def __init__(self, random: Random, options: Options) -> None:
        self.random = random
        self.options = options
        self.chains: list[str] = []
        self.family = "inet"
        self.sets: dict[str, str] = {}

    def pick[T](self, *options: T) -> T:
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, options: tuple[str, ...], most: int = 3) -> str:
        chosen = self.random.sample(options, self.random.randint(1, min(most, len(options))))
        return "{ " + ", ".join(chosen) + " }"

    def version(self) -> int:
        return {"ip": 4, "ip6": 6}.get(self.family) or self.pick(4, 4, 6)

    def addresses(self, version: int) -> str:
        one = _V4 if version == 4 else _V6
        prefixes = _PREFIX4 if version == 4 else _PREFIX6
        ranges = _RANGE4 if version == 4 else _RANGE6
        return self.pick(
            self.pick(*one), self.pick(*prefixes), self.pick(*ranges), self.some(one, 4), f"!= {self.pick(*prefixes)}",
            f"!= {self.some(one)}", "{ " + f"{self.pick(*one)}, {self.pick(*prefixes)}" + " }", f"!= {self.pick(*one)}",
        )  # fmt: skip

    def ports(self) -> str:
        return self.pick(
            str(self.pick(*_PORTS)), self.pick(*_PORT_SETS), self.some(_PORT_SETS[:4]), f"!= {self.pick(*_PORTS)}",
            f"!= {self.pick('1-100', '1000-1001')}", f"> {self.pick(*_PORTS)}", f"<= {self.pick(*_PORTS)}", "{ 22, 1000-1001 }",
        )  # fmt: skip

    def match(self) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each construct
        v = self.version()
        ip = "ip" if v == 4 else "ip6"
        kinds = ["address"] * 5 + ["port"] * 5 + ["proto"] * 2 + ["name", "state", "flags", "icmp", "mark", "set", "concat", "concat", "bits", "ctmark", "direction", "status", "th", "compare"]  # fmt: skip
        if self.options.uncertain:
            kinds += ["unsure"] * 5
        match self.pick(*kinds):
            case "address":
                return f"{ip} {self.pick('saddr', 'daddr')} {self.addresses(v)}"
            case "port":
                return f"{self.pick('tcp', 'tcp', 'udp')} {self.pick('dport', 'dport', 'sport')} {self.ports()}"
            case "th":
                return f"meta l4proto {{ tcp, udp }} th {self.pick('dport', 'sport')} {self.ports()}"
            case "proto":
                return self.pick(
                    "meta l4proto tcp", "meta l4proto != udp", "meta l4proto { icmp, ipv6-icmp, gre }", "meta l4proto 17",
                    *(["ip protocol tcp", "ip protocol { icmp, udp }", "ip protocol != 6"] if self.family != "ip6" else []),
                    *(["ip6 nexthdr udp", "ip6 nexthdr != tcp"] if self.family != "ip" else []),
                    *(["meta nfproto ipv4", "meta nfproto != ipv4", "meta protocol ip6", "meta nfproto { ipv4, ipv6 }"] if self.family == "inet" else []),
                )  # fmt: skip
            case "name":
                side = self.pick("iifname", "oifname")
                return f"{side} {self.pick('', '!= ')}{self.pick(self.pick(*_NAMES), '{ ' + f'{LAN}, other' + ' }')}"
            case "state":
                return self.pick(
                    "ct state new", "ct state established,related", "ct state { new, invalid }", "ct state != new",
                    "ct state invalid", "ct state untracked", "ct state ! new", "ct state new,untracked",
                )  # fmt: skip
            case "flags":
                return self.pick(
                    "tcp flags syn", "tcp flags != syn", "tcp flags & (fin|syn|rst|ack) == syn", "tcp flags == ack",
                    "tcp flags ! ack", "tcp flags & (syn|ack) != 0", "tcp flags { syn, ack }",
                )  # fmt: skip
            case "icmp":
                if v == 4:
                    return self.pick("icmp type echo-request", "icmp type { echo-request, timestamp-request }", "icmp type != echo-request", "icmp code 0", "icmp type 13")  # fmt: skip
                return self.pick(
                    "icmpv6 type echo-request", "icmpv6 type { 128, 130 }", "icmpv6 type != 128", "icmpv6 code 0"
                )
            case "mark":
                return self.pick(
                    f"meta mark {self.pick(*_MARKS)}", f"meta mark != {self.pick(*_MARKS)}", "meta mark & 0x1 == 0x1",
                    "meta mark & 0x3 != 0x2", "meta mark { 1, 2 }", "meta mark 0x1-0x3", "meta mark & 0x10 == 0",
                )  # fmt: skip
            case "ctmark":
                return self.pick("ct mark 0x1", "ct mark != 0x1", "ct mark & 0x2 == 0x2", "ct mark 0")
            case "direction":
                return self.pick("ct direction original", "ct direction reply", "ct direction != reply")
            case "status":
                return self.pick("ct status dnat", "ct status ! dnat", "ct status seen-reply", "ct status assured,snat")
            case "set":
                name = self.pick("four", "six", "ports")
                negated = self.pick("", "", "!= ")
                if name == "ports":
                    return f"{self.pick('tcp', 'udp')} {self.pick('sport', 'dport')} {negated}@ports"
                if (name == "four" and self.family == "ip6") or (name == "six" and self.family == "ip"):
                    return "meta l4proto tcp"
                return f"{'ip' if name == 'four' else 'ip6'} {self.pick('saddr', 'daddr')} {negated}@{name}"
            case "concat":
                return self.concatenation(v, ip)
            case "bits":
                if v == 4:
                    return self.pick("ip saddr & 0.0.0.1 == 0.0.0.1", "ip daddr & 255.255.0.0 == 198.51.0.0", "ip saddr & 255.0.0.255 != 10.0.0.1", "ip daddr & 0.0.0.129 == 0.0.0.1")  # fmt: skip
                return self.pick("ip6 saddr & ::1 == ::1", "ip6 daddr & ffff:ffff:ffff:: == 2001:db8:6::")
            case "compare":
                return self.pick(
                    "tcp dport < 80",
                    "udp sport >= 1001",
                    "ip saddr < 10.0.1.0" if v == 4 else "ip6 daddr >= 2001:db8:6::",
                )
            case _:
                return self.unsure(v)

    def concatenation(self, v: int, ip: str) -> str:
        one = _V4 if v == 4 else _V6
        many = _PREFIX4[:5] if v == 4 else _PREFIX6[:3]
        negated = self.pick("", "", "!= ")
        match self.pick("ap", "aa", "np", "ranges", "named", "lp"):
            case "ap":
                items = self.some(tuple(f"{a} . {p}" for a in one[:4] for p in _PORTS[:4]), 6)
                return f"{ip} {self.pick('saddr', 'daddr')} . {self.pick('tcp', 'udp')} dport {negated}{items}"
            case "aa":
                return f"{ip} saddr . {ip} daddr {negated}{self.some(tuple(f'{a} . {b}' for a in one[:4] for b in one[3:]), 5)}"
            case "np":
                return f"iifname . tcp dport {negated}{self.some((f'{LAN} . 22', f'{LAN} . 80', 'other . 22', f'{WAN} . 80'))}"
            case "ranges":
                items = self.some(
                    (f"{many[0]} . 1-100", f"{one[4]} . 80-443", f"{many[2]} . 1000-1001", f"{one[3]} . 22"), 1
                )
                return f"{ip} {self.pick('saddr', 'daddr')} . {self.pick('tcp', 'udp')} {self.pick('sport', 'dport')} {negated}{items}"
            case "lp":
                return f"meta l4proto . th dport {negated}{self.some(('tcp . 22', 'udp . 53', 'tcp . 80', 'udp . 80'))}"
            case _:
                return f"ip saddr . tcp dport {negated}@pairs" if self.family != "ip6" else "tcp dport @ports"

    def unsure(self, v: int) -> str:
        options = [
            "limit rate 1/second", "limit rate over 5/second burst 5 packets", "meta length > 44", "meta length 40-48",
            "fib saddr . iif oif exists", "fib daddr type local", "numgen random mod 2 0", "tcp option maxseg size 1-500",
            "meta pkttype host", "meta skuid 0", "@th,16,16 0x16", "ct bytes > 0", "quota over 100 bytes", 'meta hour "00:00"-"12:00"',
        ]  # fmt: skip
        options += (
            ["ip ttl 64", "ip dscp cs0", "ip length < 50", "ip hdrlength 5"]
            if v == 4
            else ["ip6 hoplimit 64", "exthdr frag missing", "exthdr hbh exists"]
        )
        return self.pick(*options)

    def verdict(self, depth: int, *, base: bool) -> str:
        options = ["accept"] * 3 + ["drop"] * 3 + ["reject", "continue", "return", "counter", "reject with tcp reset"]
        if self.chains and depth:
            options += [f"{self.pick('jump', 'jump', 'goto')} {self.pick(*self.chains)}"] * 4
        options += [f"meta mark set {self.mark_value()}", f"ct mark set {self.pick('0x1', '0x2', 'meta mark')}"]
        options += ["reject with icmpx type admin-prohibited"] if self.family == "inet" else []
        del base
        return self.pick(*options)

    def mark_value(self) -> str:
        return self.pick(
            "0x1",
            "0x2",
            "mark or 0x1",
            "mark and 0xfffffffe",
            "mark xor 0x3",
            "ct mark",
            "tcp dport map { 22 : 0x1, 80 : 0x2 }",
        )

    def rule(self, depth: int) -> str:
        if self.chance(0.12):
            return self.verdict_map(depth)
        parts = [self.match() for _ in range(self.pick(0, 1, 1, 1, 2, 2))]
        if _LISTED_WRONGLY.search(" ".join(parts)):
            parts.pop()
        if self.chance(0.08):
            parts.append(f"meta mark set {self.mark_value()}")
            parts.append(self.match())
        if self.chance(0.08):
            parts.append("counter")
        if self.options.uncertain and self.chance(0.06):
            parts.append("update @changing { ip saddr }" if self.family != "ip6" else "limit rate 5/second")
        if self.options.uncertain and self.chance(0.05):
            parts.append("ip saddr @changing" if self.family != "ip6" else "numgen inc mod 3 1")
        return " ".join([*parts, self.verdict(depth, base=depth > 0)])

    def verdict_map(self, depth: int) -> str:
        def target() -> str:
            jumps = [f"{self.pick('jump', 'goto')} {self.pick(*self.chains)}"] if self.chains and depth else []
            return self.pick("accept", "drop", "continue", "return", *jumps * 2)

        kind = self.pick("port", "state", "name", "concat", "proto", "address", "named")
        v = self.version()
        ip = "ip" if v == 4 else "ip6"
        one = _V4 if v == 4 else _V6
        keys: tuple[str, ...]
        match kind:
            case "port":
                head, keys = f"{self.pick('tcp', 'udp')} dport", ("22", "80", "1000-1001", "443", "53")
            case "state":
                head, keys = "ct state", ("new", "established", "related", "invalid", "untracked")
            case "name":
                head, keys = self.pick("iifname", "oifname"), (LAN, WAN, "other")
            case "proto":
                head, keys = "meta l4proto", ("tcp", "udp", "icmp", "ipv6-icmp", "gre")
            case "address":
                head, keys = f"{ip} {self.pick('saddr', 'daddr')}", one
            case "named":
                return "tcp dport vmap @verdicts"
            case _:
                head, keys = (
                    f"{ip} saddr . {self.pick('tcp', 'udp')} dport",
                    tuple(f"{a} . {p}" for a in one[:3] for p in _PORTS[:3]),
                )
        chosen = self.random.sample(keys, self.random.randint(1, len(keys)))
        elements = [f"{key} : {target()}" for key in chosen]
        if kind == "address" and self.chance(0.3):
            elements.append(f"* : {target()}")
        return f"{head} vmap {{ {', '.join(elements)} }}"

    def table(self, name: str, number: int) -> str:
        self.family = self.pick("inet", "inet", "inet", "ip", "ip6")
        lines = [f"table {self.family} {name} {{"]
        if self.chance(0.04):
            lines.append("  flags dormant;")
        lines += [
            "  set four { type ipv4_addr; flags interval; elements = { " + ", ".join(self.random.sample(("10.0.0.0/31", "10.0.1.1", "198.51.100.128/25", "203.0.113.0-203.0.113.9", "192.0.2.9"), 2)) + " }; }",
            "  set six { type ipv6_addr; flags interval; elements = { " + ", ".join(self.random.sample(("2001:db8:5::/64", "fd00::5", "2001:db8:6::1-2001:db8:6::ff"), 2)) + " }; }",
            "  set ports { type inet_service; flags interval; elements = { " + ", ".join(self.random.sample(("22", "80-90", "1000", "443"), 2)) + " }; }",
            "  set pairs { type ipv4_addr . inet_service; elements = { " + ", ".join(self.random.sample(("10.0.0.1 . 22", "10.0.0.2 . 80", "10.0.1.1 . 443", "10.0.0.1 . 80"), 2)) + " }; }",
            "  map verdicts { type inet_service : verdict; elements = { " + f"22 : {self.pick('accept', 'drop')}, 80 : {self.pick('accept', 'drop', 'return')}" + " }; }",
        ]  # fmt: skip
        if self.options.uncertain:
            lines.append("  set changing { type ipv4_addr; size 1000; flags dynamic,timeout; timeout 1m; }")
        self.chains = []
        for chain in range(self.random.randint(0, 4)):
            rules = [f"    {self.rule(1)}" for _ in range(self.random.randint(0, 4))]
            lines += [f"  chain c{chain} {{", *rules, "  }"]
            self.chains.append(f"c{chain}")
        for index in range(self.random.randint(1, 3)):
            hook = self.pick("forward", "forward", "input", "output", "prerouting", "postrouting")
            policy = self.pick("accept", "accept", "drop") if hook in {"forward", "input", "output"} else "accept"
            priority = self.pick(*_PRIORITIES)
            kind = "route" if hook == "output" and self.chance(0.2) else "filter"
            rules = [f"    {self.rule(1)}" for _ in range(self.random.randint(1, 7))]
            if hook in {"prerouting", "output"} and self.chance(0.3):
                rules.insert(0, f"    {self.match()} notrack")
            rules = [re.sub(r"reject( with .*)?$", "drop", rule) if hook == "postrouting" else rule for rule in rules]
            if hook == "postrouting":
                rules = [rule for rule in rules if "jump" not in rule and "goto" not in rule]
            lines += [
                f"  chain b{index} {{",
                f"    type {kind} hook {hook} priority {priority}; policy {policy};",
                *rules,
                "  }",
            ]
        if self.options.translation and self.family != "ip6":
            lines += self.nat(number)
        return "\n".join([*lines, "}"])

    def nat(self, number: int) -> list[str]:
        lines = []
        to = "ip to" if self.family == "inet" else "to"
        if self.options.local_translation and self.chance(0.7):
            lines += [
                f"  chain dst{number} {{",
                f"    type nat hook prerouting priority {self.pick(-300, -100, -50, 50)};",
            ]
            for _ in range(self.random.randint(1, 3)):
                lines.append("    " + self.pick(
                    f"tcp dport {self.ports()} dnat {to} 198.51.100.1:80", f"ip daddr {self.pick(*_V4)} dnat {to} 203.0.113.5",
                    f"{self.match()} ip daddr != 10.0.0.0/8 dnat {to} 198.51.100.129", f"dnat {to} ip daddr map {{ 198.51.100.1 : 203.0.113.5, 10.1.0.1 : 198.51.100.129 }}",
                    f"dnat {to} ip daddr . tcp dport map {{ 198.51.100.1 . 22 : 203.0.113.5 . 443, 10.1.0.1 . 80 : 198.51.100.129 . 8080 }}",
                    f"udp dport {self.ports()} redirect to :53", "ip daddr 203.0.113.5 accept", "tcp dport 8080 drop", f"ip saddr 10.0.1.1 tcp dport 80 dnat {to} :8080" if self.family == "inet" else "tcp sport 1 dnat to :80",
                ))  # fmt: skip
            lines.append("  }")
        if self.chance(0.6):
            lines += [f"  chain src{number} {{", f"    type nat hook postrouting priority {self.pick(-50, 100, 150)};"]
            lines += [
                f"    {self.pick('masquerade', f'snat {to} 198.18.0.1', 'ip saddr 10.0.0.0/8 masquerade', 'tcp dport 443 drop')}"
            ]
            lines.append("  }")
        return lines


def random_ruleset(random: Random, options: Options) -> str:
    """One ruleset as nft text."""
    generator = _Generator(random, options)
    return "\n".join(generator.table(f"t{number}", number) for number in range(random.randint(1, 3)))


def random_packets(random: Random, number: int, options: Options) -> list[Packet]:
    """Packets for all ways through the router, each the first of a connection of its own, or invalid by itself.

    With translation GRE stays out (without ports two connections may want the same addresses, and the kernel drops one),
    and where destinations are translated in prerouting, packets to the router itself do too: they may go elsewhere.
    """
    seen: dict[tuple[object, ...], Packet] = {}
    while len(seen) < number:
        packet = _random_packet(random)
        if options.translation and (packet.proto == 47 or (options.local_translation and packet.hook == "input")):
            continue
        key = (packet.saddr, packet.daddr, packet.proto, packet.sport, packet.dport)
        reply = (packet.daddr, packet.saddr, packet.proto, packet.dport, packet.sport)
        if reply not in seen:
            seen.setdefault(key, packet)
    return list(seen.values())


def _random_packet(random: Random) -> Packet:
    hook = random.choice(("forward", "forward", "input", "output"))
    version = random.choice((4, 4, 6))
    pool = _V4 if version == 4 else _V6
    own = [address for address in LOCAL if (":" in address) == (version == 6)]
    source = random.choice(own) if hook == "output" else random.choice(pool)
    target = random.choice(own) if hook == "input" else random.choice([one for one in pool if one != source])
    proto = random.choice((6, 6, 6, 17, 17, 1 if version == 4 else 58, 47))
    packet = Packet(hook, source, target, proto)
    match proto:
        case 6 | 17:
            sport, dport = random.choice((*_PORTS, random.randint(1025, 65535))), random.choice(_PORTS)
            if proto == 6 and random.random() < 0.1:
                return replace(packet, sport=sport, dport=dport, flags=0x06, ct="invalid")
            flags = 0x10 if random.random() < 0.15 else 0x02
            return replace(packet, sport=sport, dport=dport, flags=flags)
        case 1:
            return replace(packet, type=random.choice((8, 8, 13)), sport=random.randint(1, 65000))
        case 58:
            return replace(packet, type=128, sport=random.randint(1, 65000))
        case _:
            return packet
