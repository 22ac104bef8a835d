"""What people and machines are told about a run."""

import json
from collections.abc import Callable
from typing import Any

from kakoi.policy import Policy
from kakoi.probe.judge import Judgement
from kakoi.probe.report import as_json, describe, findings, summary_of_mismatches, summary_of_unknown, zone_tallies

type FindCase = Callable[..., Any]
type Judge = Callable[[], Judgement]


def test_a_mismatch_names_pair_outcomes_and_the_missing_flow(policy: Policy, case: FindCase, judged: Judge) -> None:
    """The sentence says who, to whom, what was expected and seen, and which machines should have decided."""
    spoilt = case("public_web", "allowance_store", "postgresql")
    spoilt.answer("open", "answered")
    spoilt.arrive()
    (finding,) = findings(judged(), "mismatch")
    sentence = describe(policy, finding)
    assert sentence.english == (
        "public_web -> allowance_store [10.40.3.10] postgresql tcp/5432 ipv4: expected blocked, seen open (answered); "
        "no flow allows it; decided by: public_web (output), edge_gateway (forward), core_gateway (forward), "
        "enclave_gateway (forward), allowance_store (input)"
    )
    assert "期待 遮断、実際 開通" in sentence.japanese


def test_a_broken_flow_is_named(policy: Policy, case: FindCase, judged: Judge) -> None:
    """Where something should be open, the sentence leads back to flows.yml."""
    spoilt = case("allowance_app", "allowance_store", "postgresql", "ipv6")
    spoilt.answer("filtered", "silence")
    spoilt.vanish()
    sentences = [describe(policy, finding) for finding in findings(judged(), "mismatch")]
    assert ["flow application_to_allowance_store" in sentence.english for sentence in sentences] == [True]


def test_one_leaking_filter_does_not_hide_another(
    policy: Policy, judged: Judge, answers: dict[str, dict[str, dict[str, Any]]]
) -> None:
    """Of each machine the first findings are shown, with the number of the rest."""
    for test in judged().plan.points:
        cell = test.question.cell
        if test.role == "output" and test.host in {"public_web", "groupware"} and cell.protocol == "tcp":
            key = [cell.protocol, test.question.source_address, test.question.address, cell.port, 1]
            answers[test.host]["stop"]["departures"].append(key)
    sentences = [sentence.english for sentence in summary_of_mismatches(policy, judged())]
    assert [sentence.split(" ", 1)[0] for sentence in sentences] == ["public_web"] * 3 + ["groupware"] * 3
    assert sentences[2].endswith("more)")


def test_unknowns_of_one_reason_are_one_sentence(policy: Policy, judged: Judge, answers: dict[str, Any]) -> None:
    """A host that is gone is told once for each view, with a count."""
    answers["groupware"] = {}
    sentences = list(summary_of_unknown(policy, judged()))
    assert sentences
    assert len(sentences) < 20
    assert any("groupware" in sentence.english for sentence in sentences)


def test_every_cell_stands_in_the_matrix(policy: Policy, judged: Judge) -> None:
    """Tallies by zone add up to the whole table."""
    judgement = judged()
    assert sum(sum(tally) for tally in zone_tallies(policy, judgement).values()) == len(judgement.cells)


def test_json_is_whole_and_repeatable(judged: Judge) -> None:
    """Equal judgements give equal JSON, with every cell and the exit status."""
    first, second = (json.dumps(as_json(judged()), sort_keys=True) for _ in range(2))
    assert first == second
    assert len(json.loads(first)["cells"]) == len(judged().cells)
    assert json.loads(first)["exit_status"] == 0
