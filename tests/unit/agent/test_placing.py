"""Where files modules are put: mapped destinations, links of ours and of others, owner and mode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from agent.config import AgentConfig, TlsFiles
from agent.failures import FailureCode, OperationFailed
from agent.manifest import Files, Kind, Manifest
from agent.paths import ModuleFolder, NodeFolders
from agent.placing import apply_owner_and_mode, claim_destination, destination_of, is_ours, point, remove_link
from agent.protocol import ModuleKey


def config(folder: Path, **changes: bool) -> AgentConfig:
    nowhere = folder / "nowhere"
    made = AgentConfig(
        node_id="n", hostname="n", environment="QA", data_dir=folder, listen_host="127.0.0.1", listen_port=0,
        advertise="127.0.0.1", trusted_keys=nowhere, orchestrator_urls=(), tls=TlsFiles(nowhere, nowhere, nowhere),
    )  # fmt: skip
    return replace(made, map_destinations=changes.get("mapped", False))


def site(**files: object) -> Manifest:
    return Manifest(name="web-site", version="1.0.0", kind=Kind.FILES, files=Files(**files))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("destination", "mapped"), [("/srv/site", "root/srv/site"), ("/srv/../../../etc/site", "root/etc/site")]
)
def test_mapped_destinations_stay_below_the_node(tmp_path: Path, destination: str, mapped: str) -> None:
    folders = NodeFolders(tmp_path)
    assert destination_of(site(destination=destination), config(tmp_path, mapped=True), folders) == tmp_path / mapped


def test_destinations_as_they_are(tmp_path: Path) -> None:
    folders = NodeFolders(tmp_path)
    assert destination_of(site(destination="/srv/site"), config(tmp_path), folders) == Path("/srv/site")
    assert destination_of(site(), config(tmp_path), folders) is None
    without = Manifest(name="web-site", version="1.0.0", kind=Kind.FILES)
    assert destination_of(without, config(tmp_path), folders) is None


def test_links_are_replaced_and_removed(tmp_path: Path) -> None:
    link = tmp_path / "deep" / "current"
    point(link, tmp_path / "a")
    point(link, tmp_path / "b")
    assert link.readlink() == tmp_path / "b"
    assert [entry.name for entry in link.parent.iterdir()] == ["current"]
    remove_link(link)
    remove_link(link)
    assert not link.is_symlink()


def test_only_free_destinations_are_taken(tmp_path: Path) -> None:
    folder = ModuleFolder(tmp_path / "module")
    free, taken, foreign = tmp_path / "free", tmp_path / "taken", tmp_path / "foreign"
    claim_destination(free, folder)
    claim_destination(free, folder)
    assert is_ours(free, folder)
    taken.mkdir()
    foreign.symlink_to(tmp_path / "elsewhere")
    for destination in (taken, foreign):
        with pytest.raises(OperationFailed, match="move it away first"):
            claim_destination(destination, folder)


def test_the_module_that_has_the_destination_is_named(tmp_path: Path) -> None:
    folders = NodeFolders(tmp_path)
    tenant, other_tenant = str(UUID(int=1)), str(UUID(int=2))
    first, second = (folders.module(ModuleKey(tenant, module)) for module in ("web-site", "other-site"))
    claim_destination(tmp_path / "site", first)
    with pytest.raises(OperationFailed, match="where the module web-site is put") as taken:
        claim_destination(tmp_path / "site", second)
    assert taken.value.code is FailureCode.DESTINATION_TAKEN and is_ours(tmp_path / "site", first)
    with pytest.raises(OperationFailed, match="is no link of this module") as foreign:
        claim_destination(tmp_path / "site", folders.module(ModuleKey(other_tenant, "other-site")))
    assert "web-site" not in foreign.value.message, "another tenant's module is nobody's business"


def test_mode_and_owner(tmp_path: Path) -> None:
    release = tmp_path / "release"
    (release / "sub").mkdir(parents=True)
    (release / "sub/file").touch()
    apply_owner_and_mode(release, site(mode=0o750), change_owner=True)
    assert release.stat().st_mode & 0o777 == 0o750
    apply_owner_and_mode(release, site(owner="no-such-user"), change_owner=False)
    with pytest.raises(OperationFailed, match="no-such-user"):
        apply_owner_and_mode(release, site(owner="no-such-user"), change_owner=True)
    with pytest.raises(OperationFailed, match="no-such-group"):
        apply_owner_and_mode(release, site(owner="root:no-such-group"), change_owner=True)
