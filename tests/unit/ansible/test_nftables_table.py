"""``nftables_table``: the listing that is compared, and the module itself in a network namespace of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kakoi.ansible.modules.nftables_table import difference, normalise

LISTING = """\
table inet kakoi {
        set flows {
                type ipv4_addr . inet_service
                elements = { 10.0.0.9 . 22 counter comment "a, {b",
                             10.0.0.7 . 80 counter comment "x" }
        }

        chain input {
                type filter hook input priority filter; policy drop;
                ct state vmap { invalid : drop, established : accept }
        }
}
""".replace("        ", "\t")
"""As nft writes it: tabs, and a set's elements broken into lines."""

RULES = """\
table inet kakoi
delete table inet kakoi
table inet kakoi {
	set flows { type ipv4_addr . inet_service; counter; elements = { 10.0.0.9 . 22 comment "ssh", 10.0.0.7 . 80 comment "web" }; }
	chain input { type filter hook input priority filter; policy drop; iifname "lo" accept; ip saddr . tcp dport @flows accept; }
	chain forward { type filter hook forward priority filter; policy drop; }
	chain output { type filter hook output priority filter; policy drop; oifname "lo" accept; }
}
"""

OTHER_TABLE = "table inet others { chain input { type filter hook input priority 10; policy accept; }; }\n"

RUN_ALL = """
import io, json, socket, subprocess, sys
from contextlib import redirect_stdout
from ansible.module_utils.testing import patch_module_args
from kakoi.ansible.modules.nftables_table import main

for step in json.load(sys.stdin):
    if "nft" in step:
        subprocess.run(["nft", "-f", "-"], input=step["nft"], text=True, check=True)
        continue
    if "talk" in step:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
            talker.sendto(b"x", ("127.0.0.1", 9))
        continue
    if "tracked" in step:
        print(json.dumps({"tracked": open("/proc/net/nf_conntrack").read().count("\\n")}))
        continue
    if "list" in step:
        listed = subprocess.run(["nft", "list", *step["list"]], capture_output=True, text=True, check=True)
        print(json.dumps({"listing": listed.stdout}))
        continue
    with patch_module_args(step), redirect_stdout(io.StringIO()) as said:
        try:
            main()
        except SystemExit:
            pass
    print(json.dumps(json.loads(said.getvalue())))
"""


def in_namespace(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """Run steps one after the other in one network namespace that ends with them; needs no privilege."""
    command = ["unshare", "--map-root-user", "--net", "--", sys.executable, "-c", RUN_ALL]
    run = subprocess.run(command, input=json.dumps(steps), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A complete rules file."""
    path = tmp_path / "kakoi.nft"
    path.write_text(RULES)
    return path


def test_order_of_elements_does_not_count() -> None:
    """Two listings that differ in the order of a set's elements are the same."""
    swapped = LISTING.replace(
        '10.0.0.9 . 22 counter comment "a, {b",\n\t\t\t     10.0.0.7 . 80 counter comment "x"',
        '10.0.0.7 . 80 counter comment "x",\n\t\t\t     10.0.0.9 . 22 counter comment "a, {b"',
    )
    assert swapped != LISTING
    assert normalise(swapped) == normalise(LISTING)


def test_order_inside_a_rule_does_not_count() -> None:
    """Nor does the order inside an unnamed set of a rule."""
    swapped = LISTING.replace("invalid : drop, established : accept", "established : accept, invalid : drop")
    assert normalise(swapped) == normalise(LISTING)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy drop", "policy accept"),
        ("10.0.0.9 . 22", "10.0.0.9 . 23"),
        ("invalid : drop", "invalid : accept"),
        ('comment "x"', 'comment "y"'),
    ],
)
def test_every_meaning_counts(old: str, new: str) -> None:
    """A changed policy, element, verdict or comment makes listings differ."""
    assert normalise(LISTING.replace(old, new)) != normalise(LISTING)


def test_elements_of_dynamic_sets_do_not_count() -> None:
    """What packets themselves add to a dynamic set is no difference; a static set after it still counts."""
    seen = "table inet kakoi {\n\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\ttimeout 1m\n"
    after = "\t}\n\n\tset fixed {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1 }\n\t}\n}\n"
    with_one = f"{seen}\t\telements = {{ 10.9.9.9 expires 5s }}\n{after}"
    assert normalise(with_one) == normalise(seen + after)
    assert normalise(with_one) != normalise(with_one.replace("10.0.0.1", "10.0.0.2"))


def test_difference_names_the_line() -> None:
    """The difference shows the line in force and the line of the file."""
    shown = difference(LISTING, LISTING.replace("policy drop", "policy accept"))
    assert "-\t\ttype filter hook input priority filter; policy drop;" in shown
    assert "+\t\ttype filter hook input priority filter; policy accept;" in shown


def test_loads_once_then_rests(rules: Path) -> None:
    """The first run loads the table, the second finds it as it shall be."""
    first, second = in_namespace({"path": str(rules)}, {"path": str(rules)})
    assert (first["changed"], first["loaded_before"]) == (True, False)
    assert (second["changed"], second["loaded_before"]) == (False, True)


def test_a_rule_changed_by_hand_is_put_back(rules: Path) -> None:
    """A rule that somebody adds by hand is seen, shown in the diff, and gone after the run."""
    by_hand = {"nft": "add rule inet kakoi forward accept"}
    _, drift, again = in_namespace(
        {"path": str(rules)}, by_hand, {"path": str(rules), "_ansible_diff": True}, {"path": str(rules)}
    )
    assert drift["changed"] is True
    assert "\t\taccept\n" in drift["diff"]["before"]
    assert "\t\taccept\n" not in drift["diff"]["after"]
    assert again["changed"] is False


def test_an_element_removed_by_hand_is_put_back(rules: Path) -> None:
    """A set that lost an element differs from the file."""
    by_hand = {"nft": "delete element inet kakoi flows { 10.0.0.7 . 80 }"}
    _, drift = in_namespace({"path": str(rules)}, by_hand, {"path": str(rules)})
    assert drift["changed"] is True


def test_leaves_other_tables_alone(rules: Path) -> None:
    """Tables of other tools are as they were."""
    _, listed = in_namespace({"nft": OTHER_TABLE}, {"path": str(rules)}, {"list": ["table", "inet", "others"]})
    assert "policy accept" in listed["listing"]


def test_check_mode_loads_nothing(rules: Path) -> None:
    """Check mode says that it would load, and the kernel stays without the table."""
    checked, listed = in_namespace({"path": str(rules), "_ansible_check_mode": True}, {"list": ["tables"]})
    assert checked["changed"] is True
    assert listed["listing"] == ""


def test_check_mode_judges_text_not_written_yet(tmp_path: Path) -> None:
    """In check mode the text itself is judged, since the file is not there yet."""
    missing = str(tmp_path / "kakoi.nft")
    good, bad = in_namespace(
        {"path": missing, "content": RULES, "_ansible_check_mode": True},
        {"path": missing, "content": RULES.replace("policy drop", "policy dorp"), "_ansible_check_mode": True},
    )
    assert good["changed"] is True
    assert bad["failed"] is True


def test_a_broken_file_changes_nothing(rules: Path, tmp_path: Path) -> None:
    """A file with a mistake is refused with nft's words, and the rules in force stay."""
    broken = tmp_path / "broken.nft"
    broken.write_text(RULES.replace("inet_service", "inet_srevice"))
    _, refused, after = in_namespace({"path": str(rules)}, {"path": str(broken)}, {"path": str(rules)})
    assert refused["failed"] is True
    assert "inet_srevice" in refused["msg"]
    assert after["changed"] is False


def test_counters_do_not_count(rules: Path) -> None:
    """Packets that were counted are no difference."""
    counted = {"nft": 'add element inet kakoi flows { 10.0.0.5 . 22 counter packets 7 bytes 420 comment "x" }'}
    rules.write_text(RULES.replace("10.0.0.9 . 22", '10.0.0.5 . 22 comment "x", 10.0.0.9 . 22'))
    (after,) = in_namespace({"nft": RULES}, counted, {"path": str(rules)})
    assert after["changed"] is False


def test_forgets_connections_from_before_the_rules(rules: Path) -> None:
    """What was tracked before there were rules is forgotten when they are first loaded, and kept at a later load."""
    tracking = {
        "nft": "table inet others { chain input { type filter hook input priority 10; ct state new accept; }; }"
    }
    by_hand = {"nft": "add rule inet kakoi forward accept"}
    load, talk, tracked = {"path": str(rules)}, {"talk": True}, {"tracked": True}
    before, _, first, _, _, later = in_namespace(
        *(tracking, talk, tracked, load, tracked, talk, by_hand, load, {"list": ["tables"]}, tracked)
    )
    assert (before["tracked"], first["tracked"], later["tracked"]) == (1, 0, 1)
