"""Images: what a recipe holds, and that its tag follows from all of it."""

import subprocess
from dataclasses import replace

import pytest

from kakoi.lab.images import ImageFile, debian_sources, recipe
from kakoi.lab.packages import ROLE_PACKAGES


def test_equal_recipes_have_equal_tags() -> None:
    """An unchanged recipe is never built twice."""
    assert recipe("trixie", "automation").tag == recipe("trixie", "automation").tag


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "bookworm"},
        {"packages": ("python3",)},
        {"files": (ImageFile("etc/motd", "hello"),)},
        {"commands": ("true",)},
    ],
)
def test_any_change_of_a_recipe_is_another_image(change: dict[str, object]) -> None:
    """Suite, packages, files and commands all count."""
    before = recipe("trixie", "automation")
    assert replace(before, **change).tag != before.tag  # type: ignore[arg-type]  # one field of its own type each


def test_the_tag_names_the_suite() -> None:
    """A person who lists images sees which Debian each one is."""
    assert recipe("bookworm", "automation").tag.startswith("localhost/kakoi-bookworm:")


def test_the_first_program_is_valid_shell() -> None:
    """A syntax error would stop every machine at its first boot."""
    init = next(file for file in recipe("trixie", "automation").files if file.path.endswith("kakoi-init"))
    assert subprocess.run(["sh", "-n"], input=init.text, text=True, check=False).returncode == 0


def test_only_the_network_settings_become_writable() -> None:
    """Every other kernel setting belongs to the computer that carries the lab."""
    init = next(file for file in recipe("trixie", "automation").files if file.path.endswith("kakoi-init"))
    assert [line for line in init.text.splitlines() if "--bind" in line] == ["mount --bind /mnt/sys/net /proc/sys/net"]


def test_what_roles_install_is_not_preinstalled() -> None:
    """Else a role's installation would never be exercised."""
    preinstalled = set(recipe("trixie", "automation").packages) & set(ROLE_PACKAGES)
    assert preinstalled <= {"netbase"}


def test_sudo_accepts_only_a_file_that_others_cannot_read() -> None:
    """The automation user's rule is mode 0440, as sudo demands."""
    rule = next(file for file in recipe("trixie", "deployer").files if file.path == "etc/sudoers.d/deployer")
    assert (rule.mode, rule.text) == (0o440, "deployer ALL=(ALL:ALL) NOPASSWD: ALL\n")


def test_images_come_from_the_mirror_that_this_machine_uses() -> None:
    """In a closed network that is an inside one, security updates included."""
    mirrors = {"Debian": "http://mirror.example/debian/", "Debian-Security": "http://mirror.example/security/"}
    assert debian_sources("trixie", mirrors) == (
        "deb http://mirror.example/debian/ trixie main",
        "deb http://mirror.example/debian/ trixie-updates main",
        "deb http://mirror.example/security/ trixie-security main",
    )


def test_a_machine_that_knows_no_mirror_leaves_the_choice_to_mmdebstrap() -> None:
    """Before its first apt-get update a machine knows of none."""
    assert debian_sources("trixie", {}) == ()
