"""``playbooks/site.yml`` on real machines: check mode, first run, second run, and what must make it stop."""

import shutil
from pathlib import Path

import pytest
import yaml

from kakoi.lab.podman import podman_for
from lab.conftest import ClosedLab, PlaybookLab

pytestmark = pytest.mark.lab

MANAGED = ("admin_station", "gateway", "store")


def recap(output: str, host: str) -> dict[str, int]:
    """Numbers of Ansible's last table for one host."""
    table = output.split("PLAY RECAP", 1)[1]
    (line,) = (line for line in table.splitlines() if line.startswith(f"{host} "))
    return {key: int(number) for key, _, number in (word.partition("=") for word in line.split(":", 1)[1].split())}


def test_check_mode_works_on_clean_hosts(closed_lab: ClosedLab) -> None:
    """Before anything is installed, check mode runs to its end and announces changes on every host."""
    assert closed_lab.checked.returncode == 0, closed_lab.checked.stdout
    assert all(recap(closed_lab.checked.stdout, host)["changed"] > 0 for host in MANAGED)


def test_check_mode_shows_the_rules(closed_lab: ClosedLab) -> None:
    """With --diff it shows the rules that it would ship."""
    assert "+table inet kakoi {" in closed_lab.checked.stdout.replace("+\t", "+")


def test_check_mode_touches_nothing(closed_lab: ClosedLab) -> None:
    """After check mode a host has no file, package or setting of ours."""
    assert closed_lab.untouched.count("No such file or directory") == 3, closed_lab.untouched


def test_first_run_closes_every_host(closed_lab: ClosedLab) -> None:
    """The first run ends well, in-band, through the firewalls that it loads."""
    assert closed_lab.first.returncode == 0, closed_lab.first.stdout
    assert all(recap(closed_lab.first.stdout, host)["changed"] > 0 for host in MANAGED)


def test_second_run_changes_nothing(closed_lab: ClosedLab) -> None:
    """The second run changes nothing on any host."""
    assert closed_lab.second.returncode == 0, closed_lab.second.stdout
    assert [recap(closed_lab.second.stdout, host)["changed"] for host in MANAGED] == [0, 0, 0]


@pytest.mark.parametrize("attempt", range(3))
def test_first_load_never_cuts_the_run(closed_lab: ClosedLab, attempt: int) -> None:
    """Loading rules where there were none keeps the running connections, also with traffic in both directions."""
    for host in MANAGED:
        closed_lab.inside(host, "nft delete table inet kakoi")
    played = closed_lab.play("load_firewall")
    assert played.returncode == 0, (attempt, played.stdout)


def test_rules_changed_by_hand_are_put_back(closed_lab: ClosedLab) -> None:
    """A rule that somebody added on a gateway is gone after the next run, and the run says where it was."""
    closed_lab.inside("gateway", "nft insert rule inet kakoi forward accept")
    played = closed_lab.play("load_firewall")
    assert recap(played.stdout, "gateway")["changed"] == 1
    assert recap(played.stdout, "store")["changed"] == 0


def test_a_setting_changed_by_hand_is_put_back(closed_lab: ClosedLab) -> None:
    """Forwarding switched on by hand on a server is off after the next run."""
    closed_lab.inside("store", "sysctl -w net.ipv4.ip_forward=1")
    assert recap(closed_lab.play("load_firewall").stdout, "store")["changed"] == 1
    assert closed_lab.inside("store", "sysctl -n net.ipv4.ip_forward") == "0\n"


def test_refuses_to_shut_out_its_own_account(closed_lab: ClosedLab) -> None:
    """An sshd configuration without Ansible's own account is refused, and that account still gets in."""
    played = closed_lab.play("provision_base", "-e", '{"base_ssh_users": ["somebody"]}', "--limit", "store")
    assert played.returncode != 0
    assert "would be shut out" in played.stdout
    assert closed_lab.play("load_firewall", "--limit", "store").returncode == 0


def with_other_policy(closed_lab: ClosedLab, place: Path) -> PlaybookLab:
    """The same lab, seen through a copy of its policy that a test may spoil."""
    shutil.copytree(closed_lab.policy, place / "policy")
    shutil.copytree(closed_lab.inventory, place / "inventory", symlinks=True)
    return PlaybookLab(closed_lab.lab, place / "inventory", place / "policy")


def test_refuses_a_policy_that_cuts_the_controller_off(closed_lab: ClosedLab, tmp_path: Path) -> None:
    """A policy without ssh from the controller is refused before any host is touched."""
    spoilt = with_other_policy(closed_lab, tmp_path)
    flows = yaml.safe_load((spoilt.policy / "flows.yml").read_text(encoding="utf-8"))
    flows["flows"]["administration"]["services"] = ["ping"]
    (spoilt.policy / "flows.yml").write_text(yaml.safe_dump(flows, allow_unicode=True), encoding="utf-8")
    played = spoilt.play("site")
    assert played.returncode != 0
    assert "ssh" in played.stdout + played.stderr
    assert "store" in played.stdout + played.stderr
    assert "Compare system" not in played.stdout


def test_names_a_host_that_is_not_where_the_policy_says(closed_lab: ClosedLab, tmp_path: Path) -> None:
    """A host whose addresses differ from the policy stops the run, with the address by name."""
    other = with_other_policy(closed_lab, tmp_path)
    hosts = (other.policy / "hosts.yml").read_text(encoding="utf-8")
    (other.policy / "hosts.yml").write_text(hosts.replace("203.0.113.1,", "203.0.113.7,"), encoding="utf-8")
    played = other.play("site")
    assert played.returncode != 0
    assert "internet (zone internet) lacks the address 203.0.113.7/24" in played.stdout
    assert "Write names" not in played.stdout


def test_a_dead_host_is_named_and_the_run_can_be_repeated(closed_lab: ClosedLab) -> None:
    """A host that does not answer stops the run by name; once it is back, the same command ends well."""
    podman = podman_for(closed_lab.lab)
    podman("stop", "--time=10", closed_lab.lab.container("store"))
    try:
        stopped = closed_lab.play("site")
    finally:
        podman("start", closed_lab.lab.container("store"))
    assert stopped.returncode != 0
    assert recap(stopped.stdout, "store")["unreachable"] == 1
    assert "Write names" not in stopped.stdout
    assert closed_lab.play("site").returncode == 0
