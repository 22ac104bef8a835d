"""Playbooks and roles as data: the rules that keep a run from cutting anybody off, from drifting, and from guessing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
TASK_FILES = sorted(path for folder in ("tasks", "handlers") for path in (ROOT / "roles").glob(f"*/{folder}/*.yml"))
SHIPPED = sorted(path for path in (ROOT / "roles").rglob("*") if path.is_file())
CHANGING = ("site", "provision_base", "load_firewall", "apply_firewall", "preflight")


def plays() -> Iterator[Any]:
    """Every play that does something itself, with an identifier that names it."""
    for path in PLAYBOOKS:
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            if "hosts" in play and path.stem in CHANGING:
                yield pytest.param(play, id=f"{path.stem}: {play['name']}")


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Every task of a file, those inside blocks too."""
    found = list(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    while found:
        task = found.pop(0)
        found += [inner for part in ("block", "rescue", "always") for inner in task.get(part, [])]
        yield task


def by_name(paths: list[Path]) -> Any:  # noqa: ANN401 - pytest's own parameter type is private
    """Paths as parameters, named from the project's root."""
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("play", list(plays()))
def test_one_failure_stops_all_hosts(play: dict[str, Any]) -> None:
    """Half a network under new rules is worse than none: any error ends the run everywhere."""
    assert play["any_errors_fatal"] is True
    assert play["max_fail_percentage"] == 0


@pytest.mark.parametrize("play", list(plays()))
def test_no_play_gathers_facts(play: dict[str, Any]) -> None:
    """Facts cost one module call for each host, and nothing reads them."""
    assert play["gather_facts"] is False


@pytest.mark.parametrize("play", list(plays()))
def test_no_play_ignores_a_failure(play: dict[str, Any]) -> None:
    """A host that did not answer or failed is never passed over."""
    assert not play.get("ignore_errors")
    assert not play.get("ignore_unreachable")


@pytest.mark.parametrize("name", ["site", "apply_firewall"])
def test_preflight_comes_first(name: str) -> None:
    """Nothing is touched before every reason not to start was looked for."""
    first = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))[0]
    assert first["ansible.builtin.import_playbook"] == "preflight.yml"


def test_the_firewall_comes_last() -> None:
    """Everything that needs the network is done before the network is closed."""
    imports = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    assert imports[-1]["ansible.builtin.import_playbook"] == "load_firewall.yml"


@pytest.mark.parametrize("path", by_name(TASK_FILES))
def test_every_task_has_a_name_of_its_own(path: Path) -> None:
    """A log line leads to one task: names are there, imperative, and unique in their role."""
    names = [task.get("name", "") for task in tasks(path)]
    assert all(re.match(r"([a-z_]+ \| )?[A-Z][a-z]+ ", name) for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", by_name(TASK_FILES))
def test_roles_know_neither_groups_nor_other_hosts(path: Path) -> None:
    """A role gets values; whoever calls it knows the inventory."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(hostvars|groups|group_names|inventory_hostname|kakoi_\w+)\b(?!-)", _without_paths(text))


def _without_paths(text: str) -> str:
    return re.sub(r"\S*/\S*", "", text)


@pytest.mark.parametrize("path", by_name([*TASK_FILES, *PLAYBOOKS]))
def test_facts_are_never_injected_variables(path: Path) -> None:
    """Only ``ansible_facts['x']``: an injected variable can be overwritten by the host it came from."""
    allowed = {"ansible_check_mode", "ansible_playbook_python", "ansible_user", "ansible_managed", "ansible_facts"}
    assert set(re.findall(r"\bansible_[a-z_]+\b", path.read_text(encoding="utf-8"))) <= allowed


@pytest.mark.parametrize("path", by_name([*SHIPPED, *PLAYBOOKS, *sorted((ROOT / "src").rglob("*.py"))]))
def test_nothing_flushes_the_ruleset(path: Path) -> None:
    """Flushing everything wipes other tools' tables and leaves a moment without rules."""
    assert "flush " + "ruleset" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("role", by_name(ROLES))
def test_public_variables_carry_the_roles_name(role: Path) -> None:
    """Every default and option of a role begins with the role's name."""
    assert all(name.startswith(f"{role.name}_") for name in (*defaults_of(role), *options_of(role)))


@pytest.mark.parametrize("role", by_name(ROLES))
def test_internal_variables_are_marked(role: Path) -> None:
    """What a task registers or loops over begins with two underscores and the role's name."""
    for path in (role / "tasks").glob("*.yml"):
        names = [task["register"] for task in tasks(path) if "register" in task]
        assert all(name.startswith(f"__{role.name}_") for name in names)


def defaults_of(role: Path) -> dict[str, Any]:
    """Variables that a role has a default for."""
    return yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """Options of a role's argument specification."""
    loaded = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options: dict[str, dict[str, Any]] = loaded["argument_specs"]["main"]["options"]
    return options


@pytest.mark.parametrize("role", by_name(ROLES))
def test_specification_and_defaults_agree(role: Path) -> None:
    """Names and values: an option has the default that is written down, or is required and has none."""
    specified = {name: option["default"] for name, option in options_of(role).items() if "default" in option}
    assert specified == defaults_of(role)
    assert all(option.get("required") for name, option in options_of(role).items() if name not in specified)


@pytest.mark.parametrize("role", by_name(ROLES))
def test_required_variables_are_explained_in_the_defaults(role: Path) -> None:
    """A variable without a default stands in the defaults file as a comment, where a reader looks for it."""
    text = (role / "defaults" / "main.yml").read_text(encoding="utf-8")
    required = [name for name, option in options_of(role).items() if option.get("required")]
    assert all(f"# {name}:" in text for name in required)


@pytest.mark.parametrize("path", by_name([*TASK_FILES, *PLAYBOOKS]))
def test_only_ansible_itself_and_our_modules_are_used(path: Path) -> None:
    """No collection is needed, so none has to be brought into a closed network."""
    ours = {module.stem for module in (ROOT / "src/kakoi/ansible/modules").glob("*.py")}
    used = {key for task in _all_tasks(path) for key in task if key in ours or "." in key}
    assert {key for key in used if key not in ours and not key.startswith("ansible.builtin.")} == set()


def _all_tasks(path: Path) -> Iterator[dict[str, Any]]:
    for entry in tasks(path):
        yield entry
        yield from entry.get("tasks", [])


@pytest.mark.parametrize(
    "setting", [line for line in (ROOT / "ansible.cfg").read_text().splitlines() if " = " in line and line[0] != "#"]
)
def test_every_setting_has_its_reason(setting: str) -> None:
    """Above each setting of ansible.cfg stands why it is not Ansible's default; paths of the project excepted."""
    lines = (ROOT / "ansible.cfg").read_text(encoding="utf-8").splitlines()
    above = lines[lines.index(setting) - 1]
    where = {"roles_path", "library", "module_utils", "action_plugins", "inventory_plugins", "unparsed_is_failed"}
    assert above.startswith("#") or setting.split(" = ", maxsplit=1)[0] in where
