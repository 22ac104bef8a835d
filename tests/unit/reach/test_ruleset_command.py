"""``kakoi ruleset``: JSON for machines, text for people, exit statuses, and errors with a remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kakoi.cli.ruleset import command
from kakoi.errors import InputError
from nft_listing import PACKET, chain, listing, packet, table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A forward chain that accepts SSH, answers SMTP with a limit, and drops the rest."""
    limit = {"limit": {"rate": 1, "burst": 5, "per": "second"}}
    rules = chain("f", ["tcp dport 22", "accept"], ["tcp dport 25", limit, "accept"], hook="forward", policy="drop")
    path = tmp_path / "rules.json"
    path.write_text(listing(table(rules)))
    return path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def _json(result: Result) -> Any:  # noqa: ANN401 - JSON
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_decide_answers_in_the_order_asked(file: Path, tmp_path: Path) -> None:
    """One decision a line of the packets file, in its order, with the rule that decides."""
    packets = tmp_path / "packets.txt"
    packets.write_text(f"# ssh, then telnet\n{PACKET}\n{packet(dport='23')}\n")
    result = _run("decide", str(file), "--hook", "forward", "--packets", str(packets), "--json")
    first, second = _json(result)
    assert (first["may"], first["must"], first["verdict"]) == (True, True, "accept")
    assert first["rule"] == {"family": "inet", "table": "t", "chain": "f", "handle": 3, "text": "tcp dport 22 accept"}
    assert (second["verdict"], second["rule"]["handle"], second["rule"]["text"]) == ("drop", None, "policy drop")
    assert result.return_value == 0


def test_an_unknown_verdict_is_not_success(file: Path) -> None:
    """A packet that a limit decides ends with status 3 and names the limit."""
    result = _run("decide", str(file), "--hook", "forward", "--packet", packet(dport="25"))
    assert result.return_value == 3
    assert "limit rate 1/second" in result.stdout


def test_reach_prints_boxes(file: Path) -> None:
    """The accepted space is a list of boxes, certain or not."""
    boxes = _json(_run("reach", str(file), "--hook", "forward", "--from", "10.0.0.0/8", "--json"))["boxes"]
    assert [(box["dport"], box["certain"]) for box in boxes] == [(["22-22"], True), (["25-25"], False)]
    assert all(box["saddr"] == ["10.0.0.0-10.255.255.255"] for box in boxes)


def test_diff_tells_opened_and_closed_by_its_status(file: Path, tmp_path: Path) -> None:
    """Equal rulesets end with 0, different ones with 1 and a witness."""
    other = tmp_path / "other.json"
    other.write_text(file.read_text().replace('"right": 22', '"right": 2222'))
    assert _run("diff", str(file), str(file)).return_value == 0
    result = _run("diff", str(file), str(other), "--json")
    document = _json(result)
    assert result.return_value == 1
    assert document["opened"][0]["witness"]["dport"] == ["2222-2222"]
    assert document["closed"][0]["witness"]["dport"] == ["22-22"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("saddr=1.2.3.4.5", "not an IPv4 or IPv6 address"),
        ("port=22", "unknown key"),
        ("saddr=10.0.0.1 daddr=2001:db8::1", "IPv4 elsewhere"),
        ("proto=icmp dport=22", "has no ports"),
        ("dport=70000", "outside of 0-65535"),
        ("ct=fresh", "unknown state"),
        ("proto=tcp type=8", "only ICMP"),
        ("nonsense", "key=value"),
    ],
)
def test_a_bad_packet_says_what_to_write(file: Path, spec: str, message: str) -> None:
    """Every mistake in a packet is named, with what to write instead."""
    result = _run("decide", str(file), "--hook", "forward", "--packet", spec)
    assert isinstance(result.exception, InputError)
    assert message in result.exception.message
    assert result.exception.remedy


@pytest.mark.parametrize("content", ["", "{}", '{"nftables": 5}', '{"nftables": [{"rule": {}}]}'])
def test_a_file_that_is_no_ruleset_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is not a listing is an input error, never an empty ruleset that lets everything through."""
    path = tmp_path / "bad.json"
    path.write_text(content)
    assert isinstance(_run("reach", str(path), "--hook", "forward").exception, InputError)
