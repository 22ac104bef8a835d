"""Rulesets in the shapes that other systems produce: read without a crash and without a rule lost on the way."""

import json
import subprocess
from pathlib import Path

import pytest

from kakoi.reach.compiled import HOOKS, CompiledRuleset
from kakoi.reach.decide import decide
from kakoi.reach.listing import text_to_json
from kakoi.reach.packet import parse_packet
from kakoi.reach.reader import read_ruleset
from kakoi.reach.space import accepted_space
from kakoi.reach.syntax import Passive, Rule, SetUpdate

pytestmark = pytest.mark.lab

_FILES = sorted(Path(__file__).with_name("foreign").iterdir())
_EMPTY_SETS = ("@firewall-ips", "@crowdsec6-blacklists", "@attackers")
"""Named sets that the fixtures leave empty: a rule that looks there matches nothing."""


def _listed(path: Path) -> str:
    """What nft lists of a fixture: nft text, or iptables-save text loaded through iptables-nft."""
    text = path.read_text()
    if path.suffix == ".nft":
        return text_to_json(_one_statement_a_line(text), path.name)
    command = ["unshare", "-n", "sh", "-c", "iptables-nft-restore && nft -j list ruleset"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _one_statement_a_line(text: str) -> str:
    return text.replace("; }", ";\n}").replace("; ", ";\n")


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_no_rule_is_lost(path: Path) -> None:
    """Every rule that the kernel holds is in the syntax, compiles to something, does nothing by design, or is listed."""
    listed = _listed(path)
    held = [item["rule"] for item in json.loads(listed)["nftables"] if "rule" in item]
    ruleset = read_ruleset(listed, path.name)
    compiled = CompiledRuleset(ruleset)
    assert ruleset.rule_count == len(held) > 0
    acting = {id(entry.origin) for block in compiled.blocks.values() for entry in block.entries}
    named = {(one.table, one.chain, one.handle) for one in compiled.unknown}
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                place = (rule.table, rule.chain, rule.handle)
                assert id(rule) in acting or place in named or _does_nothing(rule), rule.text


def _does_nothing(rule: Rule) -> bool:
    looks_in_nothing = any(name in rule.text for name in _EMPTY_SETS)
    return looks_in_nothing or isinstance(rule.statements[-1], (Passive, SetUpdate)) or rule.text.endswith("continue")


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_every_hook_has_an_answer(path: Path) -> None:
    """The accepted space of each hook, for new connections, is found within the budget."""
    compiled = CompiledRuleset(read_ruleset(_listed(path), path.name))
    for hook in HOOKS:
        assert list(accepted_space(compiled, hook)), hook


_EXPECTED = [
    ("firewalld.nft", "input", "iif=eth0 saddr=198.51.100.1 daddr=192.0.2.1 proto=tcp sport=40000 dport=22 ct=new", "accept"),
    ("firewalld.nft", "input", "iif=eth0 saddr=203.0.113.1 daddr=192.0.2.1 proto=tcp sport=40000 dport=22 ct=new", "drop"),
    ("firewalld.nft", "forward", "iif=eth0 oif=eth1 saddr=198.51.100.1 daddr=10.0.0.1 proto=tcp sport=1 dport=22 ct=new", "reject"),
    ("fail2ban.nft", "input", "iif=eth0 saddr=198.51.100.44 daddr=192.0.2.1 proto=tcp sport=40000 dport=22 ct=new", "reject"),
    ("foomuuri.nft", "forward", "iif=eth0 oif=eth1 saddr=198.51.100.1 daddr=10.0.0.1 proto=tcp sport=1 dport=22 ct=established", "unknown"),
    ("shorewall_nft.nft", "forward", "iif=eth0 oif=eth1 saddr=198.51.100.1 daddr=192.168.1.10 proto=tcp sport=1 dport=25 ct=new", "accept"),
    ("crowdsec_bouncer.nft", "input", "iif=eth0 saddr=198.51.100.23 daddr=192.0.2.1 proto=tcp sport=1 dport=22 ct=new", "unknown"),
    ("sshguard.nft", "input", "iif=eth0 saddr=192.0.2.5 daddr=192.0.2.1 proto=tcp sport=1 dport=22 ct=new", "drop"),
    ("openwrt_fw4.nft", "forward", "iif=wan oif=br-lan saddr=198.51.100.1 daddr=203.0.113.1 proto=tcp sport=1 dport=443 ct=new", "accept"),
    ("openwrt_fw4.nft", "forward", "iif=wan oif=br-lan saddr=198.51.100.1 daddr=203.0.113.1 proto=tcp sport=1 dport=444 ct=new", "reject"),
    ("kube_proxy.nft", "forward", "iif=eth0 oif=cni0 saddr=192.0.2.1 daddr=172.30.0.1 proto=tcp sport=1 dport=443 ct=new", "accept"),
    ("kube_proxy.nft", "forward", "iif=eth0 oif=cni0 saddr=192.0.2.1 daddr=172.30.0.1 proto=tcp sport=1 dport=81 ct=new", "reject"),
    ("debian_workstation.nft", "input", "iif=eth0 saddr=198.51.100.1 daddr=192.0.2.1 proto=tcp sport=1 dport=22 ct=new", "drop"),
    ("libvirt.iptables", "forward", "iif=eth0 oif=virbr0 saddr=198.51.100.1 daddr=192.168.123.5 proto=tcp sport=1 dport=22 ct=new", "reject"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hook", "spec", "verdict"), _EXPECTED)
def test_decisions_are_those_a_reader_of_the_rules_expects(name: str, hook: str, spec: str, verdict: str) -> None:
    """A few packets whose fate the rules plainly say."""
    compiled = CompiledRuleset(read_ruleset(_listed(Path(__file__).with_name("foreign") / name), name))
    assert decide(compiled, next(one for one in HOOKS if one == hook), parse_packet(spec)).verdict == verdict
