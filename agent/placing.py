"""Where `files` modules are put: the `current` link, the link at `destination`, owner and mode."""

from __future__ import annotations

import grp
import os
import pwd
import uuid
from pathlib import Path

from agent.config import AgentConfig
from agent.failures import FailureCode, OperationFailed
from agent.manifest import Manifest
from agent.paths import ModuleFolder, NodeFolders
from agent.releases import sync_folder


def destination_of(manifest: Manifest, config: AgentConfig, folders: NodeFolders) -> Path | None:
    """Where the module wants to be found; on a machine with many nodes that is below the node's own folder."""
    if manifest.files is None or manifest.files.destination is None:
        return None
    wanted = Path(os.path.normpath(manifest.files.destination))
    if not config.map_destinations:
        return wanted
    return folders.mapped_root / wanted.relative_to(wanted.anchor)


def point(link: Path, target: Path) -> None:
    """Let a symbolic link point to a target, atomically and durably; there is no moment without it."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
    fresh.symlink_to(target)
    fresh.replace(link)
    sync_folder(link.parent)


def remove_link(link: Path) -> None:
    """Remove a symbolic link of ours; none is fine."""
    if link.is_symlink():
        link.unlink()
        sync_folder(link.parent)


def claim_destination(destination: Path, folder: ModuleFolder) -> None:
    """Let `destination` be a link to the module's `current`.

    Raises `OperationFailed` (destination_taken) if something else is there; the other module's name is told.
    """
    if is_ours(destination, folder):
        return
    if destination.exists() or destination.is_symlink():
        other = _module_at(destination, folder)
        what = (
            f"is where the module {other} is put: give one of them another files.destination, or remove that one first"
            if other
            else "exists and is no link of this module: move it away first"
        )
        raise OperationFailed(FailureCode.DESTINATION_TAKEN, f"{destination} {what}")
    point(destination, folder.current)


def _module_at(destination: Path, folder: ModuleFolder) -> str | None:
    """The module of this node, and of the same tenant, to whose `current` the destination is a link."""
    if not destination.is_symlink():
        return None
    current = destination.readlink()
    ours = current.name == folder.current.name and current.parent.parent == folder.root.parent
    return current.parent.name if ours else None


def is_ours(destination: Path, folder: ModuleFolder) -> bool:
    """Whether a destination is this module's link."""
    return destination.is_symlink() and destination.readlink() == folder.current


def apply_owner_and_mode(release: Path, manifest: Manifest, *, change_owner: bool) -> None:
    """Give a release the manifest's owner (`user` or `user:group`, all of it) and mode (its folder). Blocking."""
    wanted = manifest.files
    if wanted is None:
        return
    if wanted.mode is not None:
        release.chmod(wanted.mode)
    if wanted.owner is None or not change_owner:
        return
    user, group = _ids(wanted.owner)
    os.lchown(release, user, group)
    for folder, folders, files in os.walk(release):
        for name in folders + files:
            os.lchown(Path(folder) / name, user, group)


def _ids(owner: str) -> tuple[int, int]:
    user, _, group = owner.partition(":")
    try:
        entry = pwd.getpwnam(user)
        return entry.pw_uid, grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError as error:
        raise OperationFailed(FailureCode.INTERNAL, f"files.owner: this machine knows no {owner!r}") from error
