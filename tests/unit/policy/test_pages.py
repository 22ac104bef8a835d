"""The command lines of check and schema, and the committed copies of what they generate."""

import json
import shutil
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from kakoi.cli.check import command as check
from kakoi.cli.schema import command as schema
from kakoi.policy.citations import BASES, CITATIONS
from kakoi.policy.folder import SECTIONS_OF_FILE
from kakoi.policy.reference import EXAMPLES, MODELS_OF_FILE, field_meaning, reference_page
from kakoi.policy.schema import as_text, policy_schema, schema_of_file
from kakoi.policy.source import read

ROOT = Path(__file__).parents[3]
SOUND = ROOT / "tests" / "golden" / "errors" / "policy"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A policy with one wrong address."""
    shutil.copytree(SOUND, tmp_path / "policy")
    hosts = tmp_path / "policy" / "hosts.yml"
    hosts.write_text(hosts.read_text(encoding="utf-8").replace("10.10.0.21", "10.10.0.321"), encoding="utf-8")
    return tmp_path / "policy"


def test_valid_policy_exits_0() -> None:
    """A valid policy ends in a short summary and exit status 0."""
    result = CliRunner().invoke(check, ["--policy", str(SOUND), "--no-prove", "--today", "2026-11-23"])
    assert result.exit_code == 0
    assert "is valid" in result.output
    assert "3: public_web, mail_relay, web_proxy" in result.output


def test_a_broken_guarantee_exits_1() -> None:
    """A policy without mistakes whose administrators share a wire with others is valid, and its guarantee is broken."""
    result = CliRunner().invoke(check, ["--policy", str(SOUND), "--json", "--today", "2026-11-23"])
    report = json.loads(result.output)
    broken = {one["id"] for one in report["guarantees"] if one["holds"] is not True}
    assert result.exit_code == 1
    assert report["valid"]
    assert "stores_unreachable_by_pivot" in broken


def test_wrong_policy_shows_the_line(wrong: Path) -> None:
    """A wrong policy shows place, source line with a caret below the value, both languages, and exits 2."""
    result = CliRunner().invoke(check, ["--policy", str(wrong), "--today", "2026-11-23"])
    shown = result.output.splitlines()
    caret = next(index for index, line in enumerate(shown) if line.rstrip().endswith("^"))
    assert result.exit_code == 2
    assert shown[caret - 1][shown[caret].index("^") :].startswith("10.10.0.321")
    assert "hosts.yml:74:16" in result.output
    assert "はIPアドレスではありません" in result.output


def test_json_has_the_agreed_keys(wrong: Path) -> None:
    """Machines get valid, errors and warnings, each problem with exactly six keys."""
    result = CliRunner().invoke(check, ["--policy", str(wrong), "--json", "--today", "2026-11-23"])
    report = json.loads(result.output)
    assert result.exit_code == 2
    assert list(report) == ["valid", "errors", "warnings"]
    assert set(report["errors"][0]) == {"file", "line", "column", "path", "message", "remedy"}
    assert report["errors"][0]["path"] == "hosts.web_proxy.interfaces.office[0]"


def test_today_decides_what_is_past_review() -> None:
    """The same policy is refused on the day after its review dates."""
    arguments = ["--policy", str(SOUND), "--no-prove", "--json", "--today"]
    assert CliRunner().invoke(check, [*arguments, "2027-09-30"]).exit_code == 0
    assert CliRunner().invoke(check, [*arguments, "2027-10-01"]).exit_code == 2


def test_wrong_day_is_the_users_mistake() -> None:
    """A day that is none ends in exit status 2 with a word on how to write it."""
    result = CliRunner().invoke(check, ["--today", "tomorrow"])
    assert result.exit_code == 2
    assert "YYYY-MM-DD" in result.output


def test_committed_schema_is_current() -> None:
    """The schema that editors load is the one that the models generate."""
    assert (ROOT / "docs/reference/policy.schema.json").read_text(encoding="utf-8") == as_text(policy_schema())


@pytest.mark.parametrize(("name", "language"), [("policy.md", "en"), ("policy.ja.md", "ja")])
def test_committed_reference_is_current(name: str, language: str) -> None:
    """The reference pages are those that models and rules generate."""
    page = reference_page("ja" if language == "ja" else "en")
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == page


@pytest.mark.parametrize("file", SECTIONS_OF_FILE)
def test_schema_accepts_the_policy(file: str) -> None:
    """Every file of the sound policy fits its schema, alone and in the common document."""
    document = json.loads(
        json.dumps(yaml.safe_load((SOUND / file).read_text(encoding="utf-8")), default=date.isoformat)
    )
    jsonschema.validate(document, schema_of_file(file))
    jsonschema.validate(document, policy_schema())


@pytest.mark.parametrize(
    ("file", "document"),
    [
        ("zones.yml", {"zone": {}}),
        (
            "zones.yml",
            {"zones": {"dmz": {"name": "公開", "layer": "internet", "trust": "exposed", "networks": ["10.0.0.0/8"]}}},
        ),
        ("services.yml", {"services": {"ssh": {"id": "ssh", "name": "SSH"}}}),
        ("services.yml", {"services": {"ssh": {"name": "SSH", "tcp": [70000]}}}),
        ("guarantees.yml", {"guarantees": {"a": {"kind": "exact", "to": "b", "why": "c"}}}),
    ],
)
def test_schema_refuses_mistakes(file: str, document: object) -> None:
    """The schema is closed: unknown keys, options, identifiers inside entries and impossible ports are refused."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema_of_file(file))


def test_schema_command_writes_a_file_for_each(tmp_path: Path) -> None:
    """A folder gets the common schema and one for each policy file."""
    result = CliRunner().invoke(schema, ["--out", str(tmp_path / "schemas")])
    names = {path.name for path in (tmp_path / "schemas").iterdir()}
    assert result.exit_code == 0
    assert names == {"policy.schema.json", *(f"{Path(file).stem}.schema.json" for file in SECTIONS_OF_FILE)}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_field_is_explained(language: str) -> None:
    """No field of the language is without a meaning in either language."""
    for models in MODELS_OF_FILE.values():
        for model in models:
            for name in model.model_fields:
                if name != "id":
                    assert field_meaning(model, name, "ja" if language == "ja" else "en"), f"{model.__name__}.{name}"


@pytest.mark.parametrize("file", EXAMPLES)
def test_examples_fit_the_schema(file: str) -> None:
    """The examples of the reference are valid policy text."""
    document, clean = read(EXAMPLES[file])
    assert clean
    jsonschema.validate(json.loads(json.dumps(document, default=date.isoformat)), schema_of_file(file))


def test_every_citation_carries_its_basis() -> None:
    """Every citation prints its basis mark in both languages."""
    for citation in CITATIONS.values():
        assert f"basis {citation.basis}" in str(citation)
        assert f"根拠 {citation.basis}：{BASES[citation.basis].ja}" in citation.ja
