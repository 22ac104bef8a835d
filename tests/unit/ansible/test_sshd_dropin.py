"""``sshd_dropin``: nobody needed is shut out, and what the drop-in says is what holds."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kakoi.ansible.modules.sshd_dropin import main

type RunModule = Callable[..., dict[str, Any]]

ACCOUNT = "daemon"
"""An account that every system has."""

# Stands in for `sshd -T -f CONFIG`: follows Include, keeps the first value of each keyword, adds up AllowUsers.
SSHD = """\
#!/bin/sh
shift; [ "$1" = -f ] && main=$2
read_config() {
    while read -r keyword value; do
        case $keyword in
            '' | '#'*) ;;
            Include) for each in $value; do [ -e "$each" ] && read_config "$each"; done ;;
            Nonsense) echo "$1: Bad configuration option: Nonsense" >&2; exit 255 ;;
            *) echo "$(echo "$keyword" | tr '[:upper:]' '[:lower:]') $value" ;;
        esac
    done <"$1"
}
said=$(read_config "$main") || exit
{ echo "$said"; echo "pubkeyauthentication yes"; echo "authenticationmethods any"; } | awk '$1 == "allowusers" || !seen[$1]++'
"""


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """A main file as Debian ships it, an empty drop-in folder, and a drop-in that admits us."""
    program = tmp_path / "sshd"
    program.write_text(SSHD)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "sshd_config.d"
    folder.mkdir()
    (tmp_path / "sshd_config").write_text(f"Include {folder}/*.conf\nPasswordAuthentication yes\n")
    return {
        "path": str(folder / "00-kakoi.conf"),
        "main": str(tmp_path / "sshd_config"),
        "program": str(program),
        "content": f"PasswordAuthentication no\nAllowUsers {ACCOUNT}\n",
        "must_admit": ACCOUNT,
        "from_address": "10.40.4.10",
        "reload": ["/bin/sh", "-c", f"echo again >>{tmp_path}/reloads"],
    }


def test_places_a_dropin_that_admits_us(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """A drop-in that admits the account in use and takes effect is placed, once."""
    assert run_module(main, **arguments)["changed"] is True
    assert Path(arguments["path"]).read_text() == arguments["content"]
    assert run_module(main, **arguments)["changed"] is False


def test_a_change_is_in_force_at_once(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Sshd reads a changed drop-in in the same call, and is left alone when nothing changed."""
    run_module(main, **arguments)
    run_module(main, **arguments)
    assert (tmp_path / "reloads").read_text() == "again\n"


def test_a_reload_that_fails_is_a_failure(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """A drop-in that sshd did not read does not count as done."""
    result = run_module(main, **{**arguments, "reload": ["/bin/false"]})
    assert "did not read it again" in result["msg"]


def test_check_mode_places_nothing(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Check mode says that it would change, writes nothing and leaves sshd alone."""
    assert run_module(main, check=True, **arguments)["changed"] is True
    assert not Path(arguments["path"]).exists()
    assert not (tmp_path / "reloads").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("AllowUsers somebody-else", "AllowUsers names only somebody-else"),
        (f"AllowUsers {ACCOUNT}@192.0.2.*", "AllowUsers names only"),
        (f"DenyUsers {ACCOUNT}", "DenyUsers names"),
        ("AllowGroups no-such-group", "AllowGroups names only no-such-group"),
        ("DenyGroups *", "DenyGroups names"),
        ("PubkeyAuthentication no", "PubkeyAuthentication is off"),
        ("AuthenticationMethods publickey,keyboard-interactive", "AuthenticationMethods asks for more"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_refuses_to_shut_us_out(
    run_module: RunModule, arguments: dict[str, Any], line: str, reason: str, *, check: bool
) -> None:
    """Every way of shutting the account in use out is refused, with the reason, and nothing is written."""
    result = run_module(main, check=check, **{**arguments, "content": f"{line}\n"})
    assert result["failed"] is True
    assert reason in result["msg"]
    assert not Path(arguments["path"]).exists()


def test_the_old_dropin_does_not_count(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """Being admitted by the drop-in that is replaced is no admission: AllowUsers lines add up."""
    run_module(main, **arguments)
    result = run_module(main, **{**arguments, "content": "AllowUsers somebody-else\n"})
    assert "would be shut out" in result["msg"]


def test_refuses_a_line_without_effect(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """A line that an earlier file overrules is refused: otherwise passwords would stay on in silence."""
    (Path(arguments["path"]).parent / "00-a.conf").write_text("PasswordAuthentication yes\n")
    result = run_module(main, **arguments)
    assert "`PasswordAuthentication no` (in force: yes)" in result["msg"]


def test_refuses_a_main_file_that_reads_no_dropins(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """Without the Include line a drop-in would never be read."""
    Path(arguments["main"]).write_text("PasswordAuthentication yes\n")
    assert "sshd does not read" in run_module(main, **arguments)["msg"]


def test_refuses_dropins_read_for_some_only(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """An Include inside a Match block holds for some connections only."""
    text = Path(arguments["main"]).read_text()
    Path(arguments["main"]).write_text(f"Match User somebody\n{text}")
    assert "for everybody" in run_module(main, **arguments)["msg"]


def test_refuses_what_sshd_refuses(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """A keyword that sshd does not know is refused in sshd's words."""
    result = run_module(main, **{**arguments, "content": "Nonsense yes\n"})
    assert "Bad configuration option: Nonsense" in result["msg"]


def test_refuses_an_account_that_is_not_there(run_module: RunModule, arguments: dict[str, Any]) -> None:
    """The account that must get in has to exist."""
    result = run_module(main, **{**arguments, "must_admit": "nobody-of-that-name"})
    assert result["failed"] is True
