"""How fast and how small the compiler is, beside a peer that reads equivalent input in the same run.

Times are CPU seconds, which a busy machine does not stretch; memory is the peak of the process itself (VmHWM) beyond
that of an interpreter that does nothing.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.large_policies import body, build_policy, ferm_input, write_policy
from kakoi.compile.artifacts import compile_policy, write_artifacts
from kakoi.compile.nftables import ruleset, rulesets
from kakoi.policy.model import Policy

pytestmark = pytest.mark.benchmark

type Record = Callable[[str, object], None]

_REPORT = """
import json, sys, time
{work}
status = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
json.dump({{"seconds": time.process_time(), "peak_mib": int(status) / 1024}}, sys.stderr)
"""
_COMPILE = """
from kakoi.cli import cli
cli.main(["compile", "--policy", {policy!r}, "--out", {out!r}], standalone_mode=False)
"""
_COMPILE_STAGE = """
from pathlib import Path
from kakoi.policy import load_policy
from kakoi.compile.nftables import ruleset
policy = load_policy(Path({policy!r}))
started = time.process_time()
ruleset(policy, "gateway")
print(time.process_time() - started)
"""


class Usage(NamedTuple):
    """What one process used from start to end."""

    seconds: float
    peak_mib: float
    output: str


@pytest.fixture
def record(record_testsuite_property: Record, request: pytest.FixtureRequest) -> Record:
    """Keeps a measured figure in the JUnit report, under the test's name."""
    return lambda name, value: record_testsuite_property(f"{request.node.name}.{name}", value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with 10,000 flows that one gateway enforces, beside ferm's input for the same flows."""
    place = tmp_path_factory.mktemp("flows")
    content = body(200, 10_000, managed="external")
    write_policy(content, place / "policy")
    (place / "flows.ferm").write_text(ferm_input(content))
    return place


def test_ten_thousand_flows_on_one_gateway_take_a_second_and_a_hundred_mib(folder: Path, record: Record) -> None:
    """The compile stage takes less than 1 CPU second; the whole process needs less than 100 MiB."""
    nothing = _process("")
    whole = _whole_process(folder)
    stage = _compile_stage(folder)
    record("compile_stage_cpu_seconds", stage)
    record("peak_mib_beyond_interpreter", whole.peak_mib - nothing.peak_mib)
    assert (folder / "out" / "gateway" / "kakoi.nft").read_text().count(' comment "flow') == 20_000
    assert stage < 1
    assert whole.peak_mib - nothing.peak_mib < 100


def test_it_needs_no_more_cpu_than_ferm(folder: Path, record: Record) -> None:
    """Beside ferm's linear rules for the same flows: the compile stage takes a third at most, the whole process as much.

    The whole process starts Python, reads and judges 10,000 flows with their purposes, and writes every file; a quarter
    is allowed for noise. ferm reads its own terse rules.
    """
    ferm = shutil.which("ferm")
    if ferm is None:
        pytest.skip("ferm is not installed (Debian package ferm): nothing to compare with")
    before = os.times()
    done = subprocess.run(
        [ferm, "--noexec", "--lines", folder / "flows.ferm"], check=True, capture_output=True, text=True
    )
    after = os.times()
    peer = after.children_user + after.children_system - before.children_user - before.children_system
    whole, stage = _whole_process(folder).seconds, _compile_stage(folder)
    record("ferm_cpu_seconds", peer)
    record("whole_process_cpu_seconds", whole)
    record("compile_stage_cpu_seconds", stage)
    assert done.stdout.count("--jump ACCEPT") >= 20_000
    assert stage < peer / 3
    assert whole < 1.25 * peer


def test_ten_thousand_hosts_with_all_their_files_take_twenty_seconds(tmp_path: Path, record: Record) -> None:
    """10,000 hosts and 20,000 flows: every file of every host is on disk within 20 CPU seconds."""
    policy = build_policy(body(10_000, 20_000))
    started = time.process_time()
    files = write_artifacts(compile_policy(policy), tmp_path / "out")
    seconds = time.process_time() - started
    record("cpu_seconds", seconds)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert files == len(manifest["files"]) + 1 > 40_000
    assert "truth.json" in manifest["left_out"]
    assert seconds < 20


def test_time_grows_with_the_policy_and_no_faster(record: Record) -> None:
    """Four times the hosts and flows take at most six times as long, and twice take at most three times."""
    seconds = {size: _best(build_policy(body(size, 2 * size))) for size in (2_500, 5_000, 10_000)}
    record("cpu_seconds", seconds)
    assert seconds[5_000] < 3 * seconds[2_500]
    assert seconds[10_000] < 6 * seconds[2_500]


@pytest.mark.lab
def test_the_kernel_takes_ten_thousand_flows(record: Record) -> None:
    """The gateway's 20,000 elements load in one transaction, within 2 CPU seconds, in a namespace of their own."""
    text = ruleset(build_policy(body(200, 10_000, managed="external")), "gateway")
    before = os.times()
    subprocess.run(["unshare", "--net", "nft", "--file", "-"], input=text, check=True, text=True)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    record("load_cpu_seconds", seconds)
    assert seconds < 2


def _best(policy: Policy) -> float:
    """CPU seconds for all rulesets, the best of three."""
    found = []
    for _ in range(3):
        fresh = policy.model_copy()
        started = time.process_time()
        for _ in rulesets(fresh):
            pass
        found.append(time.process_time() - started)
    return min(found)


def _whole_process(folder: Path) -> Usage:
    """`kakoi compile`, the best of three."""
    return min(_process(_COMPILE.format(policy=str(folder / "policy"), out=str(folder / "out"))) for _ in range(3))


def _compile_stage(folder: Path) -> float:
    """CPU seconds from the typed policy to the gateway's finished ruleset."""
    return float(_process(_COMPILE_STAGE.format(policy=str(folder / "policy"))).output)


def _process(work: str) -> Usage:
    done = subprocess.run([sys.executable, "-c", _REPORT.format(work=work)], check=True, capture_output=True, text=True)
    return Usage(**json.loads(done.stderr), output=done.stdout)
