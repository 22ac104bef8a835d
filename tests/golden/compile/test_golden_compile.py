"""Golden tests of the compiler: what it writes is what people have read and agreed to."""

import subprocess
from pathlib import Path

import pytest

from golden.compile.cases import CASES, expected, golden_policy
from kakoi.compile.nftables import rulesets
from kakoi.policy import load_policy

_REFERENCE = Path(__file__).parents[3] / "policy"
_IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


def _accepts(text: str) -> tuple[bool, str]:
    """Whether nft takes a ruleset, in a network namespace of its own and without privileges."""
    done = subprocess.run(
        [*_IN_NAMESPACE, "nft", "--check", "--file", "-"], input=text, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stderr


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    """Without unprivileged namespaces nothing here would be checked, so that is a failure and not a skip."""
    done = subprocess.run([*_IN_NAMESPACE, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"cannot make an unprivileged network namespace to check rulesets in: {done.stderr}")


@pytest.mark.parametrize("case", CASES)
def test_a_case_compiles_to_the_reviewed_files(case: str) -> None:
    """Every byte is as reviewed; `python -m tests.golden.compile --update` writes a new state to review."""
    assert dict(rulesets(golden_policy(case))) == expected(case)


@pytest.mark.parametrize("case", CASES)
def test_nft_takes_every_file_of_a_case(case: str) -> None:
    """nft accepts what was reviewed."""
    for host, text in expected(case).items():
        accepted, reason = _accepts(text)
        assert accepted, f"{host}: {reason}"


def test_nft_takes_every_file_of_the_reference_policy() -> None:
    """nft accepts all files of the body in policy/."""
    refused = {
        host: reason for host, text in rulesets(load_policy(_REFERENCE)) for ok, reason in [_accepts(text)] if not ok
    }
    assert refused == {}


def test_the_check_with_nft_can_fail() -> None:
    """The same check refuses a file with one wrong word."""
    broken = expected(CASES[0])["server"].replace("policy drop", "policy dorp", 1)
    assert not _accepts(broken)[0]


def test_loading_twice_gives_the_same_listing() -> None:
    """A second load replaces the table and adds nothing to it."""
    text = expected("02_gateway_and_ping")["gateway"]
    script = 'nft -f - <<<"$RULES"; nft list ruleset >&1; nft -f - <<<"$RULES"; echo =====; nft list ruleset'
    done = subprocess.run(
        [*_IN_NAMESPACE, "bash", "-ec", script], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "RULES": text},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.split("=====\n")
    assert first == second
    assert "chain front-back" in first
