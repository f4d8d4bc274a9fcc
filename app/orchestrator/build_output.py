"""Between the artifact store and the folder of a build: the source into it, and out of it what was made.

What a build leaves behind is a stranger's: no link in it is followed, and the archive that is made of it is read again
by the rules for every archive before it is stored.
"""

from __future__ import annotations

import stat
from pathlib import Path

from agent.archive import ArchiveInvalid, inspect
from agent.archive import unpack as unpack_archive
from agent.archive.packing import pack
from agent.manifest import MANIFEST_NAME, ManifestInvalid
from agent.signatures import Digest
from app.domain.errors import NotFound
from app.infrastructure.artifacts import ArtifactStore, archive_limits
from app.infrastructure.trees import pack_tree
from app.orchestrator.stage_commands import CommandFailed
from config.settings import Settings


def unpack_source(settings: Settings, digest: str, tree: Path) -> None:
    """The archive of a release, as it was published. Raises CommandFailed."""
    try:
        with ArtifactStore(settings.artifacts_dir).open(digest) as archive:
            unpack_archive(archive, tree, archive_limits(settings), Digest.parse(digest))
    except (ArchiveInvalid, ManifestInvalid) as error:
        raise CommandFailed(f"the stored archive breaks the rules: {error}") from error
    except NotFound:
        raise CommandFailed(f"the archive {digest} is not in the store any more") from None


def keep_output(settings: Settings, tree: Path, output: str, manifest: bytes) -> tuple[Digest, int]:
    """Pack the output folder, with the source's manifest at its root, and store it. Returns digest and size in bytes.

    Raises CommandFailed, Unavailable.
    """
    folder = _output_folder(tree, output)
    _put_manifest(folder, manifest)
    limits = archive_limits(settings)
    store = ArtifactStore(settings.artifacts_dir)
    with store.incoming() as file:
        try:
            pack(folder, file, limits, whole=True)  # type: ignore[arg-type]
            file.seek(0)
            inspection = inspect(file, limits)  # type: ignore[arg-type]
        except (ArchiveInvalid, ManifestInvalid) as error:
            raise CommandFailed(f"what was built breaks the rules for archives: {error}") from error
        except PermissionError as error:
            raise CommandFailed(f"what was built cannot be read: {error.strerror}") from error
        store.keep(file, str(inspection.digest))
    return inspection.digest, inspection.archive_bytes


def _output_folder(tree: Path, output: str) -> Path:
    """The folder, which must be one: no link on the way leads out of the tree, or anywhere else."""
    folder = tree
    for part in output.split("/"):
        folder = folder / part
        try:
            mode = folder.lstat().st_mode
        except OSError:
            raise CommandFailed(f"the build made no folder {output!r}, which its manifest names as output") from None
        if not stat.S_ISDIR(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no folder"
            raise CommandFailed(f"the build's output {output!r} is {what}; it must be a folder of its own")
    return folder


def _put_manifest(folder: Path, signed: bytes) -> None:
    """The manifest that was signed is what counts: a build cannot change it."""
    path = folder / MANIFEST_NAME
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        try:
            path.write_bytes(signed)
        except OSError as error:
            raise CommandFailed(f"{MANIFEST_NAME} cannot be put into the output: {error.strerror}") from error
        return
    if not stat.S_ISREG(mode) or path.read_bytes() != signed:
        raise CommandFailed(f"the output has a {MANIFEST_NAME} of its own, which is not the one that was signed")


def keep_tree(settings: Settings, tree: Path) -> Digest:
    """Store the whole tree, for Test. Raises CommandFailed, Unavailable."""
    store = ArtifactStore(settings.artifacts_dir)
    with store.incoming() as file:
        try:
            pack_tree(tree, file)  # type: ignore[arg-type]
        except PermissionError as error:
            raise CommandFailed(f"the built tree cannot be read: {error.strerror}") from error
        file.seek(0)
        digest = Digest.of_file(file)  # type: ignore[arg-type]
        store.keep(file, str(digest))
    return digest
