"""Loading and judging a policy stays fast and small as it grows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOUND = Path(__file__).parents[1] / "golden" / "errors" / "policy"
_MEASURE = """
import json, resource, sys, time
from datetime import date
from pathlib import Path
from kakoi.policy.check import check_policy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
report = check_policy(Path(sys.argv[1]), date(2026, 11, 23))
seconds = time.process_time() - start
mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"seconds": seconds, "mib": mib, "valid": report.valid, "flows": len(report.policy.flows)}))
"""


def _policy(directory: Path, flows: int) -> Path:
    directory.mkdir()
    for file in SOUND.iterdir():
        (directory / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    with (directory / "services.yml").open("a", encoding="utf-8") as stream:
        stream.writelines(f"  work_{n}: {{name: 業務{n}, tcp: [{10_000 + n}]}}\n" for n in range(flows))
    with (directory / "flows.yml").open("a", encoding="utf-8") as stream:
        stream.writelines(
            f"  flow_{n}:\n    from: office\n    to: allowance_app\n    services: [work_{n}]\n    purpose: 業務システム{n}の利用\n"
            "    approver: 情報政策課長\n    approved: 2026-10-01\n    review_by: 2027-09-30\n"
            for n in range(flows)
        )
    return directory


def _measure(directory: Path) -> dict[str, float]:
    output = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(directory)], capture_output=True, check=True, text=True
    ).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


@pytest.mark.benchmark
def test_ten_thousand_flows_within_bounds(tmp_path: Path) -> None:
    """10,000 flows and as many services are read and judged in 2 CPU seconds and 100 MiB beyond the interpreter's own."""
    best = min(
        (_measure(_policy(tmp_path / str(n), 10_000)) for n in range(3)), key=lambda measured: measured["seconds"]
    )
    assert best["valid"]
    assert best["flows"] > 10_000
    assert best["seconds"] < 2
    assert best["mib"] < 100


@pytest.mark.benchmark
def test_growth_is_close_to_linear(tmp_path: Path) -> None:
    """Four times the flows cost at most seven times the processor time."""
    small = min(_measure(_policy(tmp_path / f"small{n}", 2_500))["seconds"] for n in range(3))
    large = min(_measure(_policy(tmp_path / f"large{n}", 10_000))["seconds"] for n in range(3))
    assert large < 7 * small
