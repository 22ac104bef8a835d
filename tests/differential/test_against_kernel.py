"""The engine against the kernel: random rulesets loaded for real, random packets sent for real.

``KAKOI_KERNEL_DECISIONS`` sets how many decisions are compared (default: enough for every run), ``KAKOI_KERNEL_SEED``
where the random rulesets start.
"""

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from kernel_router import Packet, Router, router
from random_rulesets import Options, random_packets, random_ruleset

from kakoi.reach.compiled import HOOKS, CompiledRuleset
from kakoi.reach.decide import decide
from kakoi.reach.difference import difference
from kakoi.reach.packet import first_packet, parse_packet
from kakoi.reach.reader import read_ruleset
from kakoi.reach.space import accepted_space

pytestmark = pytest.mark.lab

_DECISIONS = int(os.environ.get("KAKOI_KERNEL_DECISIONS", "3000"))
_SEED = int(os.environ.get("KAKOI_KERNEL_SEED", "1"))
_PACKETS = 100


@pytest.fixture(scope="module")
def kernel() -> Iterator[Router]:
    """One router for all tests of this file."""
    with router(f"kd{os.getpid()}") as made:
        yield made


def _options(number: int) -> Options:
    return Options(uncertain=number % 3 == 2, translation=number % 4 == 3, local_translation=number % 8 == 3)


def _differences(kernel: Router, text: str, packets: list[Packet], options: Options, count: Counter[str]) -> list[str]:
    listed = kernel.load(text)
    compiled = CompiledRuleset(read_ruleset(listed, "kernel"))
    found = []
    for packet, passed in zip(packets, kernel.send(packets), strict=True):
        decision = decide(compiled, packet.hook, parse_packet(packet.spec))
        count[decision.verdict] += 1
        count["passed" if passed else "blocked"] += 1
        wrong = (passed and not decision.may) or (decision.must and not passed)
        sure = not compiled.unknown and not options.translation and "type nat" not in text
        unsure = sure and decision.verdict == "unknown"
        if wrong or unsure:
            found.append(
                f"[{packet.hook}] {packet.spec}: kernel {'passed' if passed else 'blocked'} it, kakoi says {decision.verdict}"
            )
    return found


def test_no_decision_differs_from_the_kernel(kernel: Router) -> None:
    """May and must bracket what the kernel does with every packet, and agree where nothing is unknown."""
    count: Counter[str] = Counter()
    for number in range(-(-_DECISIONS // _PACKETS)):
        random = Random(_SEED * 1_000_003 + number)  # noqa: S311 - repeatable, nothing secret
        options = _options(number)
        text = random_ruleset(random, options)
        packets = random_packets(random, _PACKETS, options)
        differences = _differences(kernel, text, packets, options, count)
        assert not differences, "\n".join([f"seed {_SEED}, ruleset {number}", *differences, text])
    assert count["passed"] > _DECISIONS / 10
    assert count["blocked"] > _DECISIONS / 10
    assert count["unknown"] < _DECISIONS / 10


def test_the_kernel_takes_known_connections_for_established(kernel: Router) -> None:
    """The control of the next test: such packets really are established, and only those."""
    text = "table inet t {\n chain f {\n type filter hook forward priority 0; policy drop;\n ct state established accept\n }\n}"
    known = [Packet("forward", "10.0.0.1", "198.51.100.1", 17, 2000 + number, 53) for number in range(5)]
    fresh = [Packet("forward", "10.0.0.1", "198.51.100.1", 17, 3000 + number, 53) for number in range(5)]
    kernel.establish(known)
    kernel.load(text, forget=False)
    assert kernel.send([*known, *fresh]) == [True] * 5 + [False] * 5


def test_packets_of_known_connections_are_decided_as_the_kernel_does(kernel: Router) -> None:
    """Established packets in their original direction, through random rulesets without translation."""
    passed_any = 0
    for number in range(10):
        random = Random(_SEED * 104_729 + number)  # noqa: S311 - repeatable, nothing secret
        fresh = [one for one in random_packets(random, 150, Options()) if one.hook == "forward" and one.proto == 17]
        kernel.establish(fresh)
        compiled = CompiledRuleset(read_ruleset(kernel.load(random_ruleset(random, Options()), forget=False), "kernel"))
        for packet, passed in zip(fresh, kernel.send(fresh), strict=True):
            spec = packet.spec.replace("ct=new", "ct=established direction=original")
            decision = decide(compiled, packet.hook, parse_packet(spec))
            assert decision.may or not passed, spec
            assert passed or not decision.must, spec
            passed_any += passed
    assert passed_any


def test_the_space_agrees_with_single_decisions(kernel: Router) -> None:
    """A packet is in an accepted box exactly when it may pass, and a ruleset never surely differs from itself."""
    for number in range(12):
        random = Random(_SEED * 7919 + number)  # noqa: S311 - repeatable, nothing secret
        options = _options(number)
        listed = kernel.load(random_ruleset(random, options))
        compiled, again = (CompiledRuleset(read_ruleset(listed, "kernel")) for _ in range(2))
        spaces = {hook: list(accepted_space(compiled, hook, state="any")) for hook in HOOKS}
        for packet in random_packets(random, 40, options):
            region = parse_packet(packet.spec)
            point = {**region, **first_packet(region)}
            decision = decide(compiled, packet.hook, region)
            inside = [
                box
                for box in spaces[packet.hook]
                if all(point.get(of, some).intersection(some) for of, some in box.box.items())
            ]
            assert decision.may <= bool(inside), packet.spec
            assert not (decision.verdict in {"drop", "reject"} and any(box.certain for box in inside)), packet.spec
        assert not any(change.certain for change in difference(compiled, again))


_SSH = [Packet(hook, source, target, 6, 40000, 22) for hook, source, target in (
    ("forward", "10.0.0.1", "198.51.100.1"), ("forward", "2001:db8:5::1", "2001:db8:6::1"),
    ("input", "10.0.0.1", "192.0.2.1"), ("input", "2001:db8:5::1", "2001:db8:1::1"),
    ("output", "192.0.2.1", "198.51.100.1"), ("output", "2001:db8:1::1", "2001:db8:6::1"),
)]  # fmt: skip

_ONCE_WRONG = {
    "a jump from an element comes back past the catch-all element": """
table inet t {
  chain c { return; }
  chain f {
    type filter hook forward priority 0; policy accept;
    ip daddr vmap { 198.51.100.1 : jump c, * : drop }
  }
}""",
    "of chains with equal priority the one registered last runs first": """
table inet t {
  chain first { type filter hook forward priority 0; ct mark set 0x1; }
  chain second {
    type filter hook forward priority 0;
    ct mark 0 drop
  }
}""",
    "an assignment that reads an absent connection leaves the rule": """
table inet t {
  chain o {
    type filter hook output priority -300; policy drop;
    meta mark set ct mark accept
  }
}""",
    "a connection mark can be set to nothing where there is no connection": """
table inet t {
  chain p {
    type filter hook prerouting priority -300;
    ct mark set 0x1 drop
  }
}""",
    "prerouting knows no outgoing interface": """
table inet t {
  chain p {
    type filter hook prerouting priority -150;
    oifname "k*" drop
  }
  chain q {
    type filter hook prerouting priority -140;
    tcp dport 23 oifname != "k*" drop
  }
}""",
    "nft does not list the family in front of a reset": """
table inet t {
  chain f {
    type filter hook forward priority 0;
    meta protocol ip6 meta l4proto tcp reject with tcp reset
  }
}""",
    "goto behind an assignment leaves the whole chain": """
table inet t {
  chain c { meta mark set mark or 0x1; }
  chain f {
    type filter hook forward priority 0;
    meta mark set 0x2 ip daddr 198.51.100.1 goto c
    meta mark 0x3 drop
    ip daddr 198.51.100.1 drop
  }
}""",
    "an extension header is one of IPv6 only": """
table inet t {
  chain f {
    type filter hook forward priority 0; policy drop;
    exthdr frag missing accept
  }
}""",
    "a connection mark set before tracking is lost": """
table inet t {
  chain raw { type filter hook prerouting priority -300; ct mark set 0x1; }
  chain f {
    type filter hook forward priority 0; policy drop;
    ct mark 0 accept
  }
}""",
    "a translation to the same address leaves no trace in ct status": """
table inet t {
  chain n { type nat hook prerouting priority -100; ip daddr 198.51.100.1 dnat ip to 198.51.100.1; }
  chain f {
    type filter hook forward priority 0; policy drop;
    ct status dnat accept
  }
}""",
    "nat chains sleep where nothing tracks connections": """
table inet t {
  chain n {
    type nat hook postrouting priority 100;
    tcp dport 22 drop
  }
}""",
    "translation of one family tracks that family only": """
table inet t {
  chain n {
    type nat hook postrouting priority 100;
    ip saddr 10.9.9.9 snat ip to 198.18.0.1
    tcp dport 22 drop
  }
}""",
    "a dormant table filters nothing": """
table inet t {
  flags dormant;
  chain f { type filter hook forward priority 0; policy drop; }
}""",
    "a scattered mask is exact for one address": """
table inet t {
  chain f {
    type filter hook forward priority 0;
    ip daddr & 0.0.0.129 == 0.0.0.1 drop
    ip saddr & 255.0.0.255 != 10.0.0.1 drop
  }
}""",
}
"""Every difference ever found, smallest form."""


@pytest.mark.parametrize("text", _ONCE_WRONG.values(), ids=_ONCE_WRONG.keys())
def test_what_was_once_wrong_stays_right(kernel: Router, text: str) -> None:
    """Each ruleset on which engine and kernel once differed is decided as the kernel does."""
    assert not _differences(kernel, text, _SSH, Options(), Counter())


def test_the_comparison_finds_a_difference(kernel: Router) -> None:
    """A listing that hides one rule from the engine is noticed: the comparison can fail."""
    text = "table inet t {\n  chain f {\n    type filter hook forward priority 0; policy accept;\n    tcp dport 22 drop\n  }\n}"
    listed = kernel.load(text)
    tampered = CompiledRuleset(read_ruleset(listed.replace('"right": 22', '"right": 23'), "tampered"))
    wrong = [
        packet
        for packet, passed in zip(_SSH, kernel.send(_SSH), strict=True)
        if decide(tampered, packet.hook, parse_packet(packet.spec)).must and not passed
    ]
    assert [packet.hook for packet in wrong] == ["forward", "forward"]
