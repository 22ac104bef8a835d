"""The launcher finds what it needs, says what is missing, and leaves a finished environment alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = (
    "bash",
    "env",
    "dirname",
    "readlink",
    "cat",
    "cut",
    "sha256sum",
    "mkdir",
    "rm",
    "id",
    "printf",
    "sed",
    "grep",
    "tail",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the launcher and a lock, and a path that holds only what a test puts there."""
    home = tmp_path / "project"
    home.mkdir()
    shutil.copy(ROOT / "kakoi", home / "kakoi")
    (home / "uv.lock").write_text("locked\n")
    (home / "pyproject.toml").write_text("[project]\n")
    (home / "requirements-system.txt").write_text("")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"this machine lacks {tool}"
        (tools / tool).symlink_to(found)
    return home


def _script(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/bash\n{text}\n")
    place.chmod(0o755)


def _launch(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tools = project.parent / "bin"
    environment = {"PATH": str(tools), "HOME": str(project.parent / "nobody"), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(tools / "bash"), str(project / "kakoi"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=30,
    )


def _uv(project: Path) -> None:
    """A uv that makes an environment whose kakoi prints what it was called with, and counts its calls."""
    _script(
        project.parent / "bin" / "uv",
        f"""case $1 in
  --version) echo uv 0;;
  python) exit 1;;
  sync) echo "$UV_PYTHON" >> {project}/synced
    mkdir -p {project}/.venv/bin
    printf '#!/bin/bash\\necho ran "$@"\\n' > {project}/.venv/bin/kakoi
    printf '#!/bin/bash\\nexit 0\\n' > {project}/.venv/bin/python
    {shutil.which("chmod")} +x {project}/.venv/bin/kakoi {project}/.venv/bin/python;;
esac""",
    )


def _running_python(place: Path) -> None:
    _script(place, f'exec {sys.executable} "$@"')


def test_a_shim_that_does_not_run_is_passed_over(project: Path) -> None:
    """A pyenv shim of an unselected version exits 127; the interpreter under pyenv is used instead."""
    _uv(project)
    _script(project.parent / "bin" / "python3.13", "exit 127")
    _running_python(project.parent / "nobody/.pyenv/versions/3.12.1/bin/python3")
    done = _launch(project, "check")
    assert done.stdout == "ran check\n", done.stderr
    assert (project / "synced").read_text().strip() == sys.executable


def test_without_a_new_enough_python_it_says_how_to_get_one(project: Path) -> None:
    """Neither on the path, nor under pyenv, nor through uv: exit 3 and the remedy."""
    _uv(project)
    _script(project.parent / "bin" / "python3", "exit 1")
    done = _launch(project, "check")
    assert done.returncode == 3
    assert "no Python 3.12 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_finished_environment_is_not_made_again(project: Path) -> None:
    """The second start runs at once; a changed lock makes the environment anew."""
    _uv(project)
    _running_python(project.parent / "bin" / "python3")
    for _ in range(2):
        assert _launch(project, "check").returncode == 0
    assert len((project / "synced").read_text().splitlines()) == 1
    (project / "uv.lock").write_text("another lock\n")
    assert _launch(project, "check").returncode == 0
    assert len((project / "synced").read_text().splitlines()) == 2


def test_the_lab_without_root_is_refused_with_the_missing_packages(project: Path) -> None:
    """Somebody who is not root is told which packages are missing, and nothing is installed."""
    _uv(project)
    _running_python(project.parent / "bin" / "python3")
    assert _launch(project, "check").returncode == 0
    (project / "requirements-system.txt").write_text("no-such-package-at-all  # reason\n")
    _script(project.parent / "bin" / "dpkg-query", "exit 1")
    _script(project.parent / "bin" / "id", "echo 1000")
    done = _launch(project, "demo")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no-such-package-at-all" in done.stderr
