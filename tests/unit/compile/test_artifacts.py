"""Every compiled file, and how it gets on disk."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath

import pytest

from golden.compile.cases import golden_policy
from kakoi.compile import artifacts
from kakoi.compile.artifacts import Artifact, compile_policy, count_artifacts, policy_digest, write_artifacts
from kakoi.errors import InputError

_CASE = "05_two_gateways"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A compiled golden case."""
    folder = tmp_path / "out"
    write_artifacts(compile_policy(golden_policy(_CASE)), folder)
    return folder


def test_every_host_has_its_network_and_managed_ones_the_rest(out: Path) -> None:
    """An external host gets network.json alone, a managed one everything."""
    assert {path.name for path in (out / "printer").iterdir()} == {"network.json"}
    names = {str(path.relative_to(out / "admin")) for path in (out / "admin").rglob("*") if path.is_file()}
    assert names == {"kakoi.nft", "network.json", "sysctl.conf", "networkd/10-staff.network"}


def test_the_manifest_lists_every_file_with_its_digest(out: Path) -> None:
    """Names and SHA-256 agree with what is on disk, and nothing is left out."""
    listed = json.loads((out / "manifest.json").read_text())["files"]
    found = {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()}
    found.pop("manifest.json")
    assert listed == found


def test_the_count_for_progress_is_right(out: Path) -> None:
    """As many files as announced."""
    assert count_artifacts(golden_policy(_CASE)) == sum(path.is_file() for path in out.rglob("*"))


def test_a_file_of_an_earlier_run_is_gone(out: Path) -> None:
    """A host that left the policy leaves the folder."""
    write_artifacts(compile_policy(golden_policy("01_one_flow")), out)
    assert not (out / "printer").exists()
    assert (out / "server" / "kakoi.nft").is_file()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_failure_half_way_leaves_the_folder_as_it_was(out: Path) -> None:
    """The old files stay, byte for byte, and no rubbish stays beside them."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def failing() -> Iterator[Artifact]:
        yield Artifact(PurePosixPath("admin/kakoi.nft"), "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_artifacts(failing(), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_somebody_elses_folder_is_not_replaced(tmp_path: Path) -> None:
    """A folder with foreign files is refused and untouched."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds files that are not kakoi's"):
        write_artifacts(compile_policy(golden_policy(_CASE)), tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_place_that_cannot_be_written_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """A file where a folder should be is the user's slip, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name a folder"):
        write_artifacts([], tmp_path / "file" / "out")


def test_folders_are_replaced_where_they_cannot_be_exchanged(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without exchange the old folder makes way in two steps."""
    monkeypatch.setattr(artifacts, "_exchange", lambda *_: False)
    write_artifacts(compile_policy(golden_policy("01_one_flow")), out)
    assert not (out / "printer").exists()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_truth_table_too_large_to_write_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest says that truth.json is left out, and why."""
    monkeypatch.setattr(artifacts, "TRUTH_CELLS_WRITTEN", 10)
    files = {str(artifact.path): artifact.text for artifact in compile_policy(golden_policy(_CASE))}
    assert "truth.json" not in files
    assert "more than 10" in json.loads(files["manifest.json"])["left_out"]["truth.json"]


def test_the_digest_of_a_policy_follows_its_meaning() -> None:
    """Two policies differ, the same one does not."""
    assert policy_digest(golden_policy(_CASE)) == policy_digest(golden_policy(_CASE))
    assert policy_digest(golden_policy(_CASE)) != policy_digest(golden_policy("01_one_flow"))


def test_settings_let_only_gateways_forward(out: Path) -> None:
    """Both families; and no host believes a router's advertisement."""
    inner, admin = (out / "inner" / "sysctl.conf").read_text(), (out / "admin" / "sysctl.conf").read_text()
    assert "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1" in inner
    assert "net.ipv4.ip_forward = 0\nnet.ipv6.conf.all.forwarding = 0" in admin
    assert "net.ipv6.conf.all.accept_ra = 0" in inner
    assert "net.ipv6.conf.all.accept_ra = 0" in admin


def test_networkd_gives_each_device_its_own_routes(out: Path) -> None:
    """A gateway's unit holds the routes whose next hop is on that wire, and no other."""
    middle = (out / "inner" / "networkd" / "10-middle.network").read_text()
    store = (out / "inner" / "networkd" / "10-store.network").read_text()
    assert "Destination=10.1.0.0/24\nGateway=10.2.0.1" in middle
    assert "[Route]" not in store


def test_names_give_each_leg_of_a_gateway_its_own(out: Path) -> None:
    """The plain name is the first leg; every leg has gateway-zone."""
    names = (out / "names.hosts").read_text()
    assert "10.2.0.2 inner.kakuu.example inner inner-middle.kakuu.example inner-middle\n" in names
    assert "10.3.0.1 inner-store.kakuu.example inner-store\n" in names
    assert "10.3.0.10 database.kakuu.example database\n" in names
