"""What a compiled ruleset says, beyond what the golden files show."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from golden.compile.cases import FOLDER, expected, policy_from
from kakoi.compile.nftables import ruleset, rulesets
from kakoi.compile.placement import Grant, disjoint
from kakoi.errors import InputError
from kakoi.policy import load_policy
from properties.compiled_text import elements


def _sections(case: str) -> dict[str, Any]:
    sections: dict[str, Any] = yaml.safe_load((FOLDER / case / "policy.yml").read_text(encoding="utf-8"))
    return deepcopy(sections)


def test_one_host_alone_gets_the_file_that_it_gets_among_all() -> None:
    """`ruleset` and `rulesets` agree."""
    policy = policy_from(_sections("05_two_gateways"))
    assert {host: ruleset(policy, host) for host, _ in rulesets(policy)} == dict(rulesets(policy))


def test_an_external_host_gets_no_file() -> None:
    """kakoi writes nothing for machines that it does not manage."""
    assert "printer" not in expected("05_two_gateways")


@pytest.mark.parametrize("case", ["01_one_flow", "02_gateway_and_ping", "04_internet"])
def test_every_base_chain_drops_what_is_left(case: str) -> None:
    """Input, forward and output all have policy drop, on every host; other tables are never flushed."""
    for text in expected(case).values():
        assert text.count("policy drop;") == 3
        assert "flush ruleset" not in text


def test_the_name_of_a_host_cannot_write_rules() -> None:
    """A line break in a name stays inside the header comment, even if the policy's own check had let it through."""
    policy = policy_from(_sections("01_one_flow"))
    server = policy.hosts["server"].model_copy(update={"name": "サーバ\n\tchain input { accept; }"})
    text = ruleset(policy.model_copy(update={"hosts": {**policy.hosts, "server": server}}), "server")
    assert "# kakoi: server (サーバ chain input { accept; })\n" in text


def test_a_gateways_address_is_not_part_of_a_zones_flow_on_the_gateway_itself() -> None:
    """A flow from a zone opens nothing for the gateway that stands in it."""
    sections = _sections("03_zones_ranges_and_overlaps")
    del sections["flows"]["administration"]
    found = elements(ruleset(policy_from(sections), "gateway"))
    assert {element.passage for element in found} == {"front-back", "back-front"}


def test_a_flow_that_no_route_carries_is_refused() -> None:
    """A zone without default route cannot be given the internet by a flow."""
    sections = _sections("04_internet")
    sections["flows"]["leak"] = {"from": "admin", "to": "internet", "services": ["https"]}
    with pytest.raises(InputError, match="flow leak lets admin talk to internet, but admin has no route to internet"):
        ruleset(policy_from(sections), "admin")


@pytest.mark.parametrize("name", ["localhost", "wire"])
def test_a_zone_named_like_the_machine_itself_is_refused(name: str) -> None:
    """Chain names would mean two things."""
    sections = _sections("01_one_flow")
    sections["zones"][name] = sections["zones"].pop("desk")
    for host in sections["hosts"].values():
        host["interfaces"] = {name: host["interfaces"]["desk"]}
    with pytest.raises(InputError, match=f"a zone is called {name}"):
        ruleset(policy_from(sections), "server")


def test_the_first_flow_owns_the_ports_that_two_flows_open() -> None:
    """A later range keeps only what is left of it, on both sides."""
    single, wide = Grant("tcp", 443, 443, 0), Grant("tcp", 400, 500, 1)
    assert disjoint([wide, single]) == [
        Grant("tcp", 400, 442, 1),
        Grant("tcp", 443, 443, 0),
        Grant("tcp", 444, 500, 1),
    ]


def test_the_same_port_of_two_protocols_is_two_grants() -> None:
    """TCP and UDP never overlap."""
    grants = [Grant("tcp", 53, 53, 0), Grant("udp", 53, 53, 1)]
    assert disjoint(grants) == grants


def test_the_explanation_shows_what_is_really_compiled() -> None:
    """Every line of the excerpts in docs/explanation/firewall.md stands in the reference policy's core gateway."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "explanation" / "firewall.md").read_text(encoding="utf-8")
    shown = [line for block in re.findall(r"```nft\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    compiled = ruleset(load_policy(root / "policy"), "core_gateway").splitlines()
    assert [line for line in shown if line.strip() not in ("", "...") and line not in compiled] == []
    assert len(shown) > 40
