"""What the role ``firewall`` promises of every host, asked of the kernel and of systemd."""

import json
from pathlib import Path

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("hook", ["input", "forward", "output"])
def test_every_hook_drops_by_default(machine: Host, hook: str) -> None:
    """What no rule accepts is dropped, in every direction."""
    listing = json.loads(machine.check_output("/usr/sbin/nft -j list chains inet"))
    chains = [item["chain"] for item in listing["nftables"] if "chain" in item]
    assert [c["policy"] for c in chains if c["table"] == "kakoi" and c.get("hook") == hook] == ["drop"]


def test_the_rules_on_disk_are_the_compiled_ones(machine: Host, compiled: Path) -> None:
    """What the next boot loads is what was compiled."""
    shipped = machine.file("/etc/kakoi/kakoi.nft")
    assert shipped.content_string == (compiled / "kakoi.nft").read_text(encoding="utf-8")
    assert (shipped.user, shipped.group, shipped.mode) == ("root", "root", 0o640)


def test_the_unit_loads_the_rules_at_boot(machine: Host) -> None:
    """The unit is enabled and has run without an error."""
    unit = machine.service("kakoi-firewall.service")
    assert unit.is_enabled
    assert unit.is_running


@pytest.mark.parametrize("later", ["network-pre.target", "systemd-sysctl.service", "systemd-networkd.service"])
def test_rules_come_before_network_and_forwarding(machine: Host, later: str) -> None:
    """Systemd orders the rules before any network and before forwarding."""
    assert later in machine.check_output("systemctl show kakoi-firewall --property=Before --value").split()


def test_forwarding_needs_the_rules(machine: Host) -> None:
    """Kernel settings, forwarding among them, are not applied at boot when the rules could not be loaded."""
    assert (
        "kakoi-firewall.service"
        in machine.check_output("systemctl show systemd-sysctl --property=Requires --value").split()
    )


def test_nothing_takes_the_rules_away(machine: Host) -> None:
    """There is nothing to run at stop, and a shutdown does not stop the unit."""
    shown = machine.check_output("systemctl show kakoi-firewall --property=ExecStop,ExecStopPost,Conflicts")
    assert "nft" not in shown
    assert "shutdown.target" not in shown


def test_the_stock_unit_is_masked(machine: Host) -> None:
    """Debian's nftables.service would flush every rule when it stops."""
    assert machine.check_output("systemctl show nftables.service --property=LoadState --value") == "masked"


def test_the_lockdown_is_over(machine: Host) -> None:
    """The boot's lockdown was lifted, so the rules were loaded."""
    assert "kakoi_lockdown" not in machine.check_output("/usr/sbin/nft list tables")


def test_only_gateways_forward(machine: Host, compiled: Path) -> None:
    """Forwarding is on exactly where the policy has a gateway, for both families."""
    expected = str(int(json.loads((compiled / "network.json").read_text(encoding="utf-8"))["forwarding"]))
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        assert machine.check_output(f"sysctl -n {setting}") == expected


def test_kernel_settings_are_the_compiled_ones(machine: Host, compiled: Path) -> None:
    """Every setting of the compiled file is in force."""
    lines = (compiled / "sysctl.conf").read_text(encoding="utf-8").splitlines()
    wanted = dict(line.split(" = ") for line in lines if " = " in line)
    found = machine.check_output(f"sysctl {' '.join(wanted)}").splitlines()
    assert dict(line.split(" = ") for line in found) == wanted
