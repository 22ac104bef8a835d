"""A lab of four machines on both Debian releases: it runs, it is entered in-band, it boots, it leaves no trace."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kakoi.errors import InputError
from kakoi.lab import Lab, coldboot, down, read_state, status, up
from kakoi.lab.fabric import in_namespace, set_kernel
from kakoi.lab.podman import podman_for
from kakoi.lab.requirements import INOTIFY_INSTANCES_PER_MACHINE
from kakoi.lab.ssh import NSCONNECT
from lab.small_lab import SMALL_POLICY, fresh_name, kakoi, quietly, remains, removed_afterwards, snapshot

pytestmark = pytest.mark.lab

HOSTS = ("gateway", "internet_client", "store", "admin_station")


@dataclass(frozen=True)
class Built:
    """A lab that is up, and this computer before and while it is."""

    lab: Lab
    before: dict[str, Any]
    during: dict[str, Any]


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    """The small lab, up for all tests of this file."""
    before = snapshot()
    with removed_afterwards(fresh_name("t")) as lab:
        up(lab, SMALL_POLICY, quietly)
        yield Built(lab, before, snapshot())


@pytest.fixture
def lab(built: Built) -> Lab:
    """The small lab."""
    return built.lab


def _ssh(lab: Lab, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = ["ssh", "-F", str(lab.ssh / "config"), "-o", "BatchMode=yes", host, *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=30)


def _inside(lab: Lab, host: str, script: str) -> subprocess.CompletedProcess[str]:
    return kakoi("lab", "exec", "--name", lab.name, host, "sh", "-c", script)


@pytest.mark.parametrize(
    "part", ["addresses", "links", "routes", "routes6", "rules", "firewall", "settings", "containers"]
)
def test_this_computer_stays_as_it_was_while_a_lab_is_up(built: Built, part: str) -> None:
    """No address, link, route, rule, setting or foreign container changes."""
    assert built.during[part] == built.before[part]


def test_every_machine_runs(lab: Lab) -> None:
    """Systemd says running, not degraded, on Debian 13 and 12."""
    assert {machine.host: machine.state for machine in status(lab)} == dict.fromkeys(HOSTS, "running")


def test_the_policys_debian_releases_run(lab: Lab) -> None:
    """A host that the policy gives debian12 is Debian 12, the others are Debian 13."""
    seen = {host: _inside(lab, host, ". /etc/os-release; echo $VERSION_ID").stdout.strip() for host in HOSTS}
    assert seen == {"gateway": "13", "internet_client": "13", "store": "12", "admin_station": "13"}


def test_a_machine_is_called_by_its_name_in_the_policy(lab: Lab) -> None:
    """Underscores included, which systemd would drop."""
    assert _ssh(lab, "admin_station", "hostname").stdout == "admin_station\n"


def test_ssh_enters_through_the_controller(lab: Lab) -> None:
    """The connection that a managed host sees comes from the controller's address: there is no hidden way in."""
    assert _ssh(lab, "store", "echo $SSH_CONNECTION").stdout.split()[0] == "10.40.4.10"


def test_the_automation_user_has_sudo(lab: Lab) -> None:
    """As on a freshly installed machine."""
    assert _ssh(lab, "store", "sudo", "-n", "id", "-u").stdout == "0\n"


def test_an_outside_host_is_entered_where_it_stands(lab: Lab) -> None:
    """The lab plays hosts that the body does not administer: they are reached at their own loopback."""
    assert _ssh(lab, "internet_client", "echo $SSH_CONNECTION").stdout.split()[0] == "127.0.0.1"


def test_a_forged_machine_is_refused(lab: Lab, tmp_path: Path) -> None:
    """With another machine's key in known_hosts ssh does not connect: host keys are checked."""
    known = (lab.ssh / "known_hosts").read_text().splitlines()
    keys = {line.split(",")[0]: line.split(maxsplit=1)[1] for line in known}
    forged = tmp_path / "known_hosts"
    forged.write_text(f"store {keys['gateway']}\n")
    ended = subprocess.run(
        ["ssh", "-F", lab.ssh / "config", "-o", f"UserKnownHostsFile={forged}", "-o", "BatchMode=yes", "store", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 255
    assert "Host key verification failed" in ended.stderr


def test_machines_do_not_share_host_keys(lab: Lab) -> None:
    """Each made its own at its first boot."""
    keys = [line.split()[-1] for line in (lab.ssh / "known_hosts").read_text().splitlines()]
    assert len(set(keys)) == len(HOSTS)


@pytest.mark.parametrize("address", ["10.40.3.10", "fd6b:616b:6f69:43::10"])
def test_gateways_forward_before_the_rules_are_loaded(lab: Lab, address: str) -> None:
    """Both families cross the gateway: this is the network as a body has it before kakoi."""
    assert _ssh(lab, "admin_station", "ping", "-c1", "-W2", address).returncode == 0


def test_there_are_no_rules_yet(lab: Lab) -> None:
    """Closing the network is the playbooks' work."""
    assert not [machine.host for machine in status(lab) if machine.rules]


def test_a_zone_without_default_route_has_no_way_out(lab: Lab) -> None:
    """Not even the gateway would be asked: the kernel has no route."""
    assert "Network is unreachable" in _ssh(lab, "store", "ping", "-c1", "-W1", "203.0.113.10").stderr


def test_a_machine_cannot_change_this_computers_settings(lab: Lab) -> None:
    """Kernel settings other than the network's are read-only."""
    ended = _inside(lab, "gateway", "echo 1 > /proc/sys/kernel/dmesg_restrict")
    assert ended.returncode != 0
    assert "Read-only file system" in ended.stderr


def test_a_machine_can_change_its_own_network_settings(lab: Lab) -> None:
    """A gateway's own sysctl file must work."""
    assert _inside(lab, "gateway", "echo 2 > /proc/sys/net/ipv4/conf/all/rp_filter").returncode == 0


def test_units_sandboxes_are_enforced(lab: Lab) -> None:
    """A unit with ProtectSystem=strict cannot write /etc, as on a real machine."""
    unit = "systemd-run --wait --pipe --quiet --collect --property=ProtectSystem=strict touch /etc/written"
    assert "Read-only file system" in _inside(lab, "gateway", unit).stderr


def test_machines_stay_within_their_share_of_inotify_instances(lab: Lab) -> None:
    """The kernel's usual limit is 128 for all of root's processes; preflight counts on this share."""
    assert max(_inotify_instances(lab, host) for host in HOSTS) <= INOTIFY_INSTANCES_PER_MACHINE


def _inotify_instances(lab: Lab, host: str) -> int:
    script = "find /proc/[0-9]*/fd -lname anon_inode:inotify 2>/dev/null | wc -l"
    return int(_inside(lab, host, script).stdout)


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    """It finds everything running and says so."""
    before = podman_for(lab).containers(lab.label)
    assert not up(lab, SMALL_POLICY, quietly)
    assert [entry["Id"] for entry in podman_for(lab).containers(lab.label)] == [entry["Id"] for entry in before]


def test_up_tells_machines_what_there_is(lab: Lab) -> None:
    """With --json standard output is one JSON value: whether anything changed, and every host."""
    ended = kakoi("lab", "up", "--name", lab.name, "--policy", str(SMALL_POLICY), "--json")
    told = json.loads(ended.stdout)
    assert (told["changed"], set(told["hosts"])) == (False, set(HOSTS))


def test_up_starts_a_machine_that_was_stopped(lab: Lab) -> None:
    """The machine keeps its disk: its host key is still the known one."""
    podman_for(lab)("stop", "--time=10", lab.container("store"))
    assert up(lab, SMALL_POLICY, quietly)
    assert _ssh(lab, "store", "true").returncode == 0


def test_another_policy_does_not_slip_into_a_lab_that_is_up(lab: Lab, tmp_path: Path) -> None:
    """Other addresses need another lab, or this one removed first: never a mixture."""
    changed = tmp_path / "policy"
    shutil.copytree(SMALL_POLICY, changed)
    hosts = changed / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("10.40.3.10", "10.40.3.99"))
    with pytest.raises(InputError, match="was built from another network"):
        up(lab, changed, quietly)


def test_a_machine_reboots_itself(lab: Lab) -> None:
    """`systemctl reboot` brings the machine back, as its boot counter shows."""
    boot = "cut -d' ' -f22 /proc/1/stat"
    before = _inside(lab, "store", boot).stdout
    _inside(lab, "store", "systemctl reboot")
    deadline = time.monotonic() + 60
    while (after := _inside(lab, "store", boot).stdout) in {"", before}:
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.1)
    assert after != before
    up(lab, SMALL_POLICY, quietly)


@pytest.fixture
def _gateway_forwards_again(lab: Lab) -> Iterator[None]:
    """Nothing on this gateway turns forwarding on after a boot: that is a role's work."""
    yield
    set_kernel(lab.namespace("gateway"), {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})


@pytest.mark.usefixtures("_gateway_forwards_again")
def test_a_cold_boot_begins_with_an_empty_kernel(lab: Lab) -> None:
    """Rules and forwarding that were set before are gone; addresses and routes are there."""
    enter = ["nsenter", f"--net=/run/netns/{lab.namespace('gateway')}"]
    subprocess.run([*enter, "nft", "add table inet kakoi_test"], check=True)
    coldboot(lab, "gateway", quietly)
    rules = subprocess.run([*enter, "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text
    assert (rules, in_namespace(lab.namespace("gateway"), forwarding)) == ("", "0\n")
    assert _ssh(lab, "gateway", "true").returncode == 0


@pytest.mark.usefixtures("_gateway_forwards_again")
def test_a_cold_boot_succeeds_while_a_connection_holds_the_old_namespace(lab: Lab) -> None:
    """An open socket keeps a namespace alive; the machine gets a new one all the same."""
    with in_namespace(lab.namespace("gateway"), lambda: socket.create_server(("10.40.4.1", 0))):
        coldboot(lab, "gateway", quietly)
    assert _ssh(lab, "gateway", "true").returncode == 0


def test_a_shell_passes_input_output_and_exit_status(lab: Lab) -> None:
    """`kakoi lab shell HOST -- COMMAND` works in a script."""
    ended = kakoi("lab", "shell", "--name", lab.name, "store", "--", "sh", "-c", "cat; exit 7", input="hello")
    assert (ended.stdout, ended.returncode) == ("hello", 7)


def test_a_host_that_does_not_exist_is_named(lab: Lab) -> None:
    """The message lists the hosts there are; exit status 2."""
    ended = kakoi("lab", "shell", "--name", lab.name, "stor")
    assert ended.returncode == 2
    assert "has no host 'stor'" in ended.stderr


def test_status_is_there_for_machines_too(lab: Lab) -> None:
    """JSON with every host in policy order."""
    ended = kakoi("lab", "status", "--name", lab.name, "--json")
    assert tuple(machine["host"] for machine in json.loads(ended.stdout)) == HOSTS


def test_the_controllers_door_reports_a_closed_port(lab: Lab) -> None:
    """nsconnect says which address, port and namespace did not answer."""
    ended = subprocess.run(
        [sys.executable, "-IS", NSCONNECT, lab.namespace("admin_station"), "10.40.3.10", "9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "10.40.3.10 port 9 from" in ended.stderr) == (255, True)


class TestPackages:
    """The inside repository: signed, complete, and refused when altered."""

    SOURCE = "deb [signed-by={root}/kakoi-mirror.asc] file:{root}/trixie trixie main"

    def _update(self, lab: Lab, root: str) -> subprocess.CompletedProcess[str]:
        source = self.SOURCE.format(root=root)
        options = "-o Dir::Etc::SourceList=/tmp/test.list -o Dir::Etc::SourceParts=/nonexistent"
        script = f"rm -rf /var/lib/apt/lists/*; echo '{source}' > /tmp/test.list; apt-get {options} -o APT::Update::Error-Mode=any update"
        return _inside(lab, "admin_station", script)

    def test_the_signature_is_good(self, lab: Lab) -> None:
        """apt accepts the repository with its public key alone, no [trusted=yes]."""
        ended = self._update(lab, "/srv/mirror")
        assert ended.returncode == 0, ended.stderr

    def test_roles_find_their_packages(self, lab: Lab) -> None:
        """nftables installs from inside, and the machine still runs."""
        self._update(lab, "/srv/mirror")
        options = "-o Dir::Etc::SourceList=/tmp/test.list"
        ended = _inside(lab, "admin_station", f"apt-get {options} -qq -y install nftables chrony && nft --version")
        assert ended.stdout.endswith(")\n"), ended.stderr

    @pytest.mark.parametrize(
        ("alteration", "complaint"),
        [
            ("sed -i 's/^Version: /Version: 9:/' trixie/dists/trixie/main/binary-*/Packages; rm trixie/dists/trixie/main/binary-*/Packages.gz", "Hash Sum mismatch"),
            ("sed -i 's/^Origin: kakoi/Origin: other/' trixie/dists/trixie/InRelease", "signature"),
            ("rm trixie/dists/trixie/InRelease trixie/dists/trixie/Release.gpg", "not signed"),
        ],
        ids=["packages", "release", "signature"],
    )  # fmt: skip
    def test_an_altered_repository_is_refused(self, lab: Lab, alteration: str, complaint: str) -> None:
        """A changed list, a changed Release and a missing signature each stop apt."""
        copy = "rm -rf /tmp/copy; mkdir /tmp/copy; cp -r /srv/mirror/* /tmp/copy; cd /tmp/copy"
        assert _inside(lab, "admin_station", f"{copy}; {alteration}").returncode == 0
        ended = self._update(lab, "/tmp/copy")  # noqa: S108 - inside the machine
        assert ended.returncode != 0
        assert complaint in ended.stderr


def test_a_second_lab_stands_beside_the_first(lab: Lab) -> None:
    """The same addresses, other machines: each lab's ssh reaches its own, and removing one leaves the other."""
    with removed_afterwards(fresh_name("u")) as other:
        up(other, SMALL_POLICY, quietly)
        assert read_state(other).hosts["store"].container != read_state(lab).hosts["store"].container
        assert _ssh(other, "store", "true").returncode == 0
        down(other, quietly)
        assert remains(other) == []
    assert _ssh(lab, "store", "true").returncode == 0


def test_down_leaves_nothing(built: Built) -> None:
    """Containers, namespaces, files: all gone, this computer as before; the second time there is nothing to do."""
    assert down(built.lab, quietly)
    assert remains(built.lab) == []
    assert snapshot() == built.before
    assert not down(built.lab, quietly)
