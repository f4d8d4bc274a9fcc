"""Releases on this node's disk: unpacked once, never changed, the last N kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from agent.archive import ArchiveInvalid, Limits, unpack
from agent.failures import FailureCode, OperationFailed
from agent.manifest import MANIFEST_NAME, Manifest, ManifestInvalid, parse_manifest
from agent.paths import ModuleFolder
from agent.protocol import Target
from agent.resources import check_resources
from agent.signatures import Digest

HALF_DONE = ".unpacking-"


def manifest_of(release: Path) -> Manifest:
    """The manifest of a release on disk. Raises `OperationFailed` (internal) if somebody damaged it."""
    try:
        return parse_manifest((release / MANIFEST_NAME).read_bytes())
    except (OSError, ManifestInvalid) as error:
        raise OperationFailed(FailureCode.INTERNAL, f"the release in {release} is damaged: {error}") from error


def usable(release: Path) -> bool:
    """Whether a release is on disk. One that somebody damaged is moved away, so that it can be fetched again."""
    if not release.exists():
        return False
    try:
        manifest_of(release)
    except OperationFailed:
        release.rename(release.with_name(f"{HALF_DONE}{uuid.uuid4().hex}"))
        return False
    return True


def install(archive: Path, target: Target, name: str, folder: ModuleFolder, limits: Limits) -> Path:
    """Unpack a verified archive to its place, durably. Blocking; runs in a thread.

    Raises `OperationFailed` (bad_archive, insufficient_resources), `OSError` of the disk; then nothing is left of it.
    """
    folder.make()
    place = folder.release(target.version, target.digest)
    half_done = folder.releases / f"{HALF_DONE}{uuid.uuid4().hex}"
    try:
        with archive.open("rb") as file:
            manifest = unpack(file, half_done, limits, Digest.parse(target.digest)).manifest
        _check_names(manifest, name, target.version)
        check_resources(manifest.resources, folder.data)
        _link_shared(manifest, half_done, folder)
        half_done.rename(place)
        sync_folder(folder.releases)
    except BaseException as error:
        shutil.rmtree(half_done, ignore_errors=True)
        if isinstance(error, ArchiveInvalid | ManifestInvalid):
            raise OperationFailed(FailureCode.BAD_ARCHIVE, str(error)) from error
        raise
    return place


def _check_names(manifest: Manifest, name: str, version: str) -> None:
    if (manifest.name, manifest.version) != (name, version):
        raise OperationFailed(
            FailureCode.BAD_ARCHIVE,
            f"the archive is {manifest.name} {manifest.version}, the command says {name} {version}",
        )


def _link_shared(manifest: Manifest, release: Path, folder: ModuleFolder) -> None:
    """Put links to the module's shared folders into a release that is not in its place yet."""
    for name in manifest.shared:
        kept, place = folder.shared / name, release / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if release.resolve() not in (place.parent.resolve(), *place.parent.resolve().parents):
            raise OperationFailed(FailureCode.BAD_ARCHIVE, f"the shared folder {name} is behind a link of the archive")
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir() and not place.is_symlink():
                place.rename(kept)
            else:
                kept.mkdir()
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(kept)
    if manifest.shared:
        sync_folder(folder.shared)
        sync_folder(release)


def sweep(folder: ModuleFolder) -> None:
    """Remove what an agent that died in the middle of unpacking left behind."""
    for half_done in folder.releases.glob(f"{HALF_DONE}*"):
        shutil.rmtree(half_done, ignore_errors=True)


def keep_newest(folder: ModuleFolder, keep: int, in_use: Collection[Path]) -> list[Path]:
    """Remove all but the newest `keep` releases besides those in use; what was removed."""
    with contextlib.suppress(FileNotFoundError):
        releases = [place for place in folder.releases.iterdir() if not place.name.startswith(HALF_DONE)]
        idle = sorted((place for place in releases if place not in in_use), key=_installed_at, reverse=True)
        for place in idle[keep:]:
            # Renamed first: a release folder exists only when it is complete.
            doomed = folder.releases / f"{HALF_DONE}{uuid.uuid4().hex}"
            place.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        return idle[keep:]
    return []


def touch(release: Path) -> None:
    """Count a release as used now, for `keep_newest`."""
    os.utime(release)


def _installed_at(release: Path) -> int:
    return release.stat().st_mtime_ns


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that renames in it are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
