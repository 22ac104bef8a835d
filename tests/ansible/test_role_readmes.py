"""Each role's README: the table of variables is generated from its argument specification."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
BEGIN, END = "<!-- variables: generated from meta/argument_specs.yml -->", "<!-- end of variables -->"


def table(options: dict[str, dict[str, Any]]) -> str:
    """The variables as a Markdown table."""
    rows = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        default = "required" if option.get("required") else f"`{option['default']}`"
        rows.append(f"| `{name}` | {option['type']} | {default} | {option['description']} |")
    return "\n".join(rows)


@pytest.mark.parametrize("role", ROLES)
def test_readme_has_the_variables_of_the_specification(role: str) -> None:
    """The README's table is the specification's; ``KAKOI_WRITE_DOCS=1`` writes it anew."""
    specification = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    wanted = f"{BEGIN}\n{table(specification['argument_specs']['main']['options'])}\n{END}"
    path = ROOT / "roles" / role / "README.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    if os.environ.get("KAKOI_WRITE_DOCS"):
        path.write_text(before + wanted + after, encoding="utf-8")
        return
    assert text == before + wanted + after
