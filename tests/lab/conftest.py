"""A small lab that `playbooks/site.yml` has closed, built once for all tests that need one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kakoi.lab import Lab, up
from kakoi.lab.podman import podman_for
from lab.small_lab import SMALL_POLICY, fresh_name, quietly, removed_afterwards

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PlaybookLab:
    """A lab, and the inventory through which playbooks reach it."""

    lab: Lab
    inventory: Path
    policy: Path

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the project as an engineer would."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory)]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "KAKOI_LAB": self.lab.name,
            "NO_COLOR": "1",
        }
        return subprocess.run(
            [*command, str(ROOT / "playbooks" / f"{playbook}.yml"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
            timeout=300,
        )

    def inside(self, host: str, script: str) -> str:
        """What a shell on a host prints, errors included."""
        command = podman_for(self.lab)
        return command("exec", self.lab.container(host), "sh", "-c", f"{{ {script}; }} 2>&1 || true")


@dataclass(frozen=True)
class ClosedLab(PlaybookLab):
    """A lab after its runs of ``site``, and what each said."""

    checked: subprocess.CompletedProcess[str]
    """Check mode, on hosts that had nothing yet."""
    untouched: str
    """What the gateway had of ours after check mode."""
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def closed_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClosedLab]:
    """The small policy's lab: check mode on clean hosts, then ``site`` twice."""
    place = tmp_path_factory.mktemp("closed")
    policy = shutil.copytree(SMALL_POLICY, place / "policy")
    inventory = place / "inventory"
    inventory.mkdir()
    (inventory / "kakoi.yml").write_text(
        "plugin: kakoi_policy\npolicy: ../policy\ncompiled: ../compiled\nlab: named-by-KAKOI_LAB\n"
    )
    (inventory / "group_vars").symlink_to(ROOT / "inventories" / "lab" / "group_vars")
    with removed_afterwards(fresh_name("p")) as lab:
        up(lab, policy, quietly)
        open_lab = PlaybookLab(lab, inventory, policy)
        checked = open_lab.play("site", "--check", "--diff")
        untouched = open_lab.inside("gateway", "ls -d /etc/kakoi /usr/sbin/nft /etc/ssh/sshd_config.d/*.conf")
        first, second = open_lab.play("site"), open_lab.play("site")
        yield ClosedLab(lab, inventory, policy, checked, untouched, first, second)
