"""What the role ``base`` promises of every host, asked of the host itself."""

import json
import time
from pathlib import Path

import pytest
from testinfra.host import Host

from conftest import addresses
from kakoi.policy import Policy
from kakoi.policy.model import Host as PolicyHost


@pytest.fixture
def sshd(machine: Host, policy: Policy) -> dict[str, str]:
    """What is in force for the automation account."""
    user = policy.enclave.administration.automation_user
    listing = machine.check_output(f"/usr/sbin/sshd -T -C user={user},host=any,addr=192.0.2.1")
    return dict(line.split(" ", 1) for line in listing.splitlines() if " " in line)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("permitrootlogin", "no"),
        ("authenticationmethods", "publickey"),
        ("disableforwarding", "yes"),
        ("allowtcpforwarding", "no"),
        ("x11forwarding", "no"),
        ("permittunnel", "no"),
    ],
)
def test_sshd_takes_keys_of_named_accounts_only(sshd: dict[str, str], keyword: str, value: str) -> None:
    """What sshd would do with a new connection, not what a file says."""
    assert sshd[keyword] == value


def test_sshd_takes_no_other_account(sshd: dict[str, str], policy: Policy) -> None:
    """The automation account is the only one that may log in over ssh."""
    assert sshd["allowusers"] == policy.enclave.administration.automation_user


def test_packages_come_from_the_inside_mirror_alone(
    machine: Host, name: str, mirror: PolicyHost, policy: Policy
) -> None:
    """Every repository that apt knows is the mirror: over http, or on the mirror's own disk."""
    sites = set(machine.check_output("apt-get indextargets --format '$(REPO_URI)'").split())
    where = "file:/srv/mirror/" if name == mirror.id else f"http://{mirror.id}.{policy.enclave.body.domain}/"
    assert sites
    assert all(site.startswith(where) for site in sites)


def test_the_mirror_is_signed_by_our_key(machine: Host) -> None:
    """Apt has checked the Release file's signature, with the mirror's key, and nothing excuses it from doing so."""
    assert set(machine.check_output("apt-get indextargets --format '$(TRUSTED)'").split()) == {"yes"}
    sources = machine.check_output("cat /etc/apt/sources.list.d/* /etc/apt/sources.list 2>/dev/null || true")
    assert "Signed-By: /etc/apt/keyrings/kakoi-mirror.asc" in sources
    assert "trusted" not in sources.lower()
    assert 'AllowUnauthenticated "' not in machine.check_output("apt-config dump APT::Get::AllowUnauthenticated")


def test_names_are_the_compiled_ones(machine: Host, compiled: Path) -> None:
    """Every host knows every other host's addresses without a name server."""
    assert machine.file("/etc/hosts").content_string == (compiled.parent / "names.hosts").read_text(encoding="utf-8")


def test_names_resolve_over_both_families(machine: Host, time_server: PolicyHost, policy: Policy) -> None:
    """A neighbour's name gives its IPv4 and its IPv6 address."""
    found = machine.check_output(f"getent ahosts {time_server.id}.{policy.enclave.body.domain}")
    assert {line.split()[0] for line in found.splitlines()} == addresses(time_server)


def test_the_time_comes_from_the_time_server(machine: Host, name: str, time_server: PolicyHost) -> None:
    """Chrony hears the time server over both families, through the firewalls; the time server itself has no source."""
    deadline = time.monotonic() + 60  # more than three polls
    silent = set() if name == time_server.id else addresses(time_server)
    while silent and time.monotonic() < deadline:
        rows = (line.split(",") for line in machine.check_output("chronyc -n -c sources").splitlines())
        silent -= {row[2] for row in rows if int(row[5], 8) > 0}
        time.sleep(0.5 if silent else 0)
    assert not silent


def test_only_the_time_server_answers_for_the_time(machine: Host, name: str, time_server: PolicyHost) -> None:
    """The time server listens for requests over both families, nobody else does."""
    listeners = machine.check_output("ss -H -l -n -u sport = :123").splitlines()
    expected = {"0.0.0.0:123", "[::]:123"} if name == time_server.id else set()
    assert {line.split()[3] for line in listeners} == expected


def test_the_mirror_listens_on_its_own_addresses_only(machine: Host, name: str, mirror: PolicyHost) -> None:
    """Port 80 is open on the mirror's two addresses, and on no other host."""
    listeners = machine.check_output("ss -H -l -n -t sport = :80").splitlines()
    own = addresses(mirror) if name == mirror.id else set()
    expected = {f"[{address}]:80" if ":" in address else f"{address}:80" for address in own}
    assert {line.split()[3] for line in listeners} == expected


def test_addresses_are_the_policys(machine: Host, compiled: Path) -> None:
    """Every address of the policy is on the host."""
    network = json.loads((compiled / "network.json").read_text(encoding="utf-8"))
    found = machine.check_output("ip -o address show scope global")
    assert all(f" {address} " in found for leg in network["interfaces"] for address in leg["addresses"])


def test_nothing_has_failed(machine: Host) -> None:
    """Systemd reports no failed unit."""
    assert machine.check_output("systemctl list-units --failed --plain --no-legend") == ""
