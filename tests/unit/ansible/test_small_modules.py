"""``debian_packages``, ``kernel_settings``, ``host_closed`` and ``management_path``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kakoi.ansible.action.management_path import hosts_cut_off
from kakoi.ansible.modules import debian_packages, host_closed, kernel_settings

type RunModule = Callable[..., dict[str, Any]]


class TestDebianPackages:
    """Only what is missing is asked for."""

    @pytest.fixture
    def apt(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
        """A host with dpkg's own package only; apt's calls are recorded and make what they name present."""
        calls: list[tuple[str, ...]] = []
        present = {"dpkg"}

        def apt_get(_timeout: int, *arguments: str) -> None:
            calls.append(arguments)
            if "install" in arguments:
                present.update(arguments[arguments.index("--") + 1 :])

        monkeypatch.setattr(debian_packages, "apt_get", apt_get)
        monkeypatch.setattr(debian_packages, "missing", lambda names: [name for name in names if name not in present])
        return calls

    def test_installs_what_is_missing(self, run_module: RunModule, apt: list[tuple[str, ...]]) -> None:
        """Missing packages are installed in one call, after one fetch of the lists."""
        result = run_module(debian_packages.main, names=["dpkg", "chrony", "nftables"])
        assert result["installed"] == ["chrony", "nftables"]
        assert [call[-1] for call in apt] == ["update", "nftables"]

    def test_asks_nothing_when_nothing_is_missing(self, run_module: RunModule, apt: list[tuple[str, ...]]) -> None:
        """With everything there, the mirror is not asked at all."""
        assert run_module(debian_packages.main, names=["dpkg"])["changed"] is False
        assert apt == []

    def test_check_mode_installs_nothing(self, run_module: RunModule, apt: list[tuple[str, ...]]) -> None:
        """Check mode names what is missing and asks nobody."""
        assert run_module(debian_packages.main, check=True, names=["chrony"])["installed"] == ["chrony"]
        assert apt == []

    def test_a_mirror_that_refuses_is_named(self, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the lists cannot be fetched, apt's words come back and nothing is called installed."""
        monkeypatch.setattr(debian_packages, "missing", lambda names: names)
        monkeypatch.setattr(debian_packages, "apt_get", lambda *_: "E: The repository is not signed.")
        result = run_module(debian_packages.main, names=["chrony"])
        assert result["failed"] is True
        assert "not signed" in result["msg"]

    def test_apt_is_not_believed(self, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package that is still missing after apt reported success is a failure."""
        monkeypatch.setattr(debian_packages, "missing", lambda names: names)
        monkeypatch.setattr(debian_packages, "apt_get", lambda *_: None)
        assert run_module(debian_packages.main, names=["chrony"])["failed"] is True

    @pytest.mark.parametrize(
        ("listing", "gone"),
        [
            ("chrony ii \n", []),
            ("chrony hi \n", []),
            ("chrony rc \n", ["chrony"]),
            ("chrony iU \n", ["chrony"]),
            ("", ["chrony"]),
        ],
    )
    def test_reads_the_state_of_a_package(self, monkeypatch: pytest.MonkeyPatch, listing: str, gone: list[str]) -> None:
        """Installed and held count as there; removed, unpacked only, or unknown do not."""

        class Ran:
            stdout = listing

        monkeypatch.setattr(debian_packages.subprocess, "run", lambda *_, **__: Ran)
        assert debian_packages.missing(["chrony"]) == gone


class TestKernelSettings:
    """The kernel is made what the file says."""

    @pytest.fixture
    def kernel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A kernel with two settings, as files."""
        root = tmp_path / "sys"
        (root / "net/ipv4").mkdir(parents=True)
        (root / "net/ipv4/ip_forward").write_text("0\n")
        (root / "net/ipv4/tcp_rmem").write_text("4096\t131072\t6291456\n")
        monkeypatch.setattr(kernel_settings, "place", lambda key, _root=root: root / key.replace(".", "/"))
        return root

    def test_sets_what_differs(self, run_module: RunModule, kernel: Path, tmp_path: Path) -> None:
        """A value that differs is set and shown; the second run finds nothing to do."""
        (tmp_path / "a.conf").write_text("# why\nnet.ipv4.ip_forward = 1\nnet.ipv4.tcp_rmem=4096 131072 6291456\n")
        result = run_module(kernel_settings.main, path=str(tmp_path / "a.conf"))
        assert result["diff"]["after"] == "net.ipv4.ip_forward = 1\n"
        assert (kernel / "net/ipv4/ip_forward").read_text() == "1"
        assert run_module(kernel_settings.main, path=str(tmp_path / "a.conf"))["changed"] is False

    def test_check_mode_sets_nothing(self, run_module: RunModule, kernel: Path) -> None:
        """Check mode compares with the text that the file is going to have."""
        result = run_module(kernel_settings.main, check=True, path="/nonexistent", content="net.ipv4.ip_forward = 1\n")
        assert result["changed"] is True
        assert (kernel / "net/ipv4/ip_forward").read_text() == "0\n"

    def test_an_unknown_setting_is_a_failure(self, run_module: RunModule, kernel: Path) -> None:
        """A setting that the kernel does not have is never passed over."""
        assert kernel.exists()
        result = run_module(kernel_settings.main, path="/nonexistent", content="net.ipv4.ip_froward = 0\n")
        assert "no setting net.ipv4.ip_froward" in result["msg"]

    def test_a_value_that_does_not_stay_is_a_failure(
        self, run_module: RunModule, kernel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that the kernel swallows is noticed."""
        assert kernel.exists()
        monkeypatch.setattr(Path, "write_text", lambda *_, **__: None)
        result = run_module(kernel_settings.main, path="/nonexistent", content="net.ipv4.ip_forward = 1\n")
        assert "was set to 1 but is 0" in result["msg"]


def chains(**policies: str) -> dict[str, Any]:
    """Chains as nft's JSON lists them: hook -> policy, in table inet kakoi."""
    return {
        "nftables": [
            {"metainfo": {"json_schema_version": 1}},
            *(
                {"chain": {"family": "inet", "table": "kakoi", "name": hook, "hook": hook, "policy": policy}}
                for hook, policy in policies.items()
            ),
        ]
    }


CLOSED = chains(input="drop", forward="drop", output="drop")


class TestHostClosed:
    """A host is closed only if the kernel and systemd both say so."""

    def test_three_dropping_hooks_are_closed(self) -> None:
        """Policy drop at input, forward and output is closed."""
        assert list(host_closed.chain_reasons(CLOSED, "kakoi")) == []

    @pytest.mark.parametrize("hook", ["input", "forward", "output"])
    def test_an_accepting_hook_is_named(self, hook: str) -> None:
        """A hook that accepts by default, or has no chain, is named."""
        policies = {"input": "drop", "forward": "drop", "output": "drop", hook: "accept"}
        (reason,) = host_closed.chain_reasons(chains(**policies), "kakoi")
        assert hook in reason

    def test_another_table_does_not_close(self) -> None:
        """A dropping chain of some other table says nothing about ours."""
        assert len(list(host_closed.chain_reasons(CLOSED, "other"))) == 3

    def test_a_lockdown_left_over_is_named(self) -> None:
        """A lockdown still in force means that the rules did not load at boot."""
        lockdown = {"chain": {"family": "inet", "table": "kakoi_lockdown", "name": "input", "hook": "input"}}
        (reason,) = host_closed.chain_reasons({"nftables": [*CLOSED["nftables"], lockdown]}, "kakoi")
        assert "kakoi_lockdown" in reason

    @pytest.mark.parametrize(
        ("properties", "named"),
        [
            ({"UnitFileState": "disabled", "ActiveState": "active"}, "disabled"),
            ({"UnitFileState": "enabled", "ActiveState": "failed"}, "failed"),
            ({}, "not there"),
        ],
    )
    def test_a_unit_that_will_not_load_the_rules_is_named(self, properties: dict[str, str], named: str) -> None:
        """A unit that is disabled, failed or missing is named with its state."""
        assert any(named in reason for reason in host_closed.unit_reasons(properties, "kakoi-firewall.service"))

    def test_an_enabled_active_unit_is_fine(self) -> None:
        """A unit that is enabled and active gives no reason."""
        assert list(host_closed.unit_reasons({"UnitFileState": "enabled", "ActiveState": "active"}, "a.service")) == []

    @pytest.mark.parametrize(("state", "reasons"), [("masked", 0), ("not-found", 0), ("loaded", 1)])
    def test_the_stock_unit_must_be_masked(self, state: str, reasons: int) -> None:
        """Debian's unit counts as harmless only when masked or not installed."""
        assert len(list(host_closed.stock_reasons({"LoadState": state}))) == reasons

    def test_not_being_able_to_look_is_a_failure(self, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host that cannot be asked is never called closed."""

        def broken() -> dict[str, Any]:
            raise FileNotFoundError("nft")

        monkeypatch.setattr(host_closed, "list_chains", broken)
        result = run_module(host_closed.main)
        assert result["failed"] is True
        assert "could not find out" in result["msg"]


class TestManagementPath:
    """A policy that would cut the controller off is refused by name."""

    CELLS = (
        {"source": "admin", "destination": "web", "protocol": "tcp", "port": 22, "expected": "open"},
        {"source": "admin", "destination": "db", "protocol": "tcp", "port": 22, "expected": "blocked"},
        {"source": "admin", "destination": "db", "protocol": "tcp", "port": 80, "expected": "open"},
        {"source": "web", "destination": "db", "protocol": "tcp", "port": 22, "expected": "open"},
    )

    def test_a_host_without_ssh_is_named(self) -> None:
        """Another port open, or ssh open from elsewhere, does not help."""
        assert hosts_cut_off(self.CELLS, "admin", ["admin", "web", "db"]) == ["db"]

    def test_nobody_is_named_when_all_are_reachable(self) -> None:
        """Hosts that the controller may open ssh to are not named, nor is the controller itself."""
        assert hosts_cut_off(self.CELLS, "admin", ["admin", "web"]) == []
