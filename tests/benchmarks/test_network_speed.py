"""All guarantees of the reference policy are proved within a second, once its rules are read."""

import time
from pathlib import Path

import pytest

from kakoi.policy import load_policy
from kakoi.reach.network.guarantees import Prover
from kakoi.reach.network.reading import read_network

POLICY = Path(__file__).parents[2] / "policy"


@pytest.mark.benchmark
def test_all_guarantees_of_the_reference_policy_within_a_second() -> None:
    """CPU time of judging every guarantee from scratch: passages, journeys, closures, every single loss."""
    policy = load_policy(POLICY)
    model = read_network(policy)
    start = time.process_time()
    verdicts = Prover(policy, model).judge_all(margins=False)
    seconds = time.process_time() - start
    assert {verdict.holds for verdict in verdicts} == {"yes"}
    assert seconds < 1.0, f"{seconds:.2f} s of CPU time"
