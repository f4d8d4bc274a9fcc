"""Between the artifact store and the folder of a build: the source into it, and out of it what was made.

What a build leaves behind is a stranger's: no link in it is followed, nothing of it is read before its size is known,
and the archive that is made of it is read again by the rules for every archive before it is stored. All this is done
outside of the sandbox and its limits, so it has its own: bytes, and a look at whether the stage still counts between
pieces of work. What is wrong with a tree is the build's failure (CommandFailed); a disk of ours that is full or broken
is nobody's (Unavailable).
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from agent.archive import ArchiveInvalid, inspect
from agent.archive import unpack as unpack_archive
from agent.archive.packing import pack
from agent.manifest import MANIFEST_NAME, ManifestInvalid
from agent.signatures import Digest
from app.domain.errors import NotFound, Unavailable
from app.infrastructure.artifacts import ArtifactStore, archive_limits, unwritable
from app.infrastructure.trees import Looking, TreeTooLarge, pack_tree, unpack_tree
from app.orchestrator.stage_commands import CommandFailed
from app.orchestrator.stage_watch import StageWatch
from config.settings import Settings

_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What says nothing about a tree: another attempt, later or elsewhere, may do.
_OURS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
)


def unpack_source(settings: Settings, digest: str, tree: Path, watch: StageWatch) -> None:
    """The archive of a release, as it was published. Raises CommandFailed, Unavailable, and what `watch` raises."""
    try:
        with ArtifactStore(settings.artifacts_dir).open(digest) as archive, _blamed("the source cannot be unpacked"):
            watched = cast(BinaryIO, _Watched(archive, watch.look))
            unpack_archive(watched, tree, archive_limits(settings), Digest.parse(digest))
    except (ArchiveInvalid, ManifestInvalid) as error:
        raise CommandFailed(f"the stored archive breaks the rules: {error}") from error
    except NotFound:
        raise CommandFailed(f"the archive {digest} is not in the store any more") from None


def unpack_built(settings: Settings, digest: str, tree: Path, watch: StageWatch) -> None:
    """The tree that `keep_tree` stored. Raises CommandFailed, Unavailable, and what `watch` raises."""
    try:
        with ArtifactStore(settings.artifacts_dir).open(digest) as packed, _blamed("the built tree cannot be unpacked"):
            unpack_tree(packed, tree, _largest_tree(settings), watch.look)
    except NotFound:
        raise CommandFailed(f"the built tree {digest} is not in the store any more") from None
    except TreeTooLarge as error:
        raise CommandFailed(f"the built tree is too large: {error}") from error
    except tarfile.TarError as error:
        raise CommandFailed(f"the built tree is damaged: {error}") from error


def keep_output(settings: Settings, tree: Path, output: str, manifest: bytes, watch: StageWatch) -> tuple[Digest, int]:
    """Pack the output folder, with the source's manifest at its root, and store it. Returns digest and size in bytes.

    Raises CommandFailed, Unavailable, and what `watch` raises.
    """
    folder = _output_folder(tree, output)
    _put_manifest(folder, manifest)
    limits = archive_limits(settings)
    store = ArtifactStore(settings.artifacts_dir)
    with store.incoming() as file:
        upload = _Upload(file, watch.look)
        try:
            with _blamed("what was built cannot be packed"):
                pack(folder, upload.file, limits, whole=True)
            upload.rewind()
            inspection = inspect(upload.file, limits)
        except (ArchiveInvalid, ManifestInvalid) as error:
            raise CommandFailed(f"what was built breaks the rules for archives: {error}") from error
        store.keep(file, str(inspection.digest))
    return inspection.digest, inspection.archive_bytes


def keep_tree(settings: Settings, tree: Path, watch: StageWatch) -> Digest:
    """Store the whole tree, for Test. Raises CommandFailed, Unavailable, and what `watch` raises."""
    store = ArtifactStore(settings.artifacts_dir)
    with store.incoming() as file:
        upload = _Upload(file, watch.look)
        try:
            with _blamed("the built tree cannot be kept for the tests"):
                pack_tree(tree, upload.file, _largest_tree(settings), watch.look)
        except TreeTooLarge as error:
            raise CommandFailed(f"the built tree cannot be kept for the tests: {error}") from error
        upload.rewind()
        digest = Digest.of_file(upload.file)
        store.keep(file, str(digest))
    return digest


def _largest_tree(settings: Settings) -> int:
    """In bytes: what a source may hold, and what a build may add to it."""
    return settings.archive_unpacked_bytes + settings.build_disk


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    """An OSError is the tree's fault, unless it is of a kind that only our machine has. No path of ours is told."""
    try:
        yield
    except OSError as error:
        told = f"{what}: {error.strerror or 'it is not what it seemed'}"
        if error.errno in _OURS:
            raise Unavailable(f"{told}.", retry_after=30) from error
        raise CommandFailed(told) from error


class _Watched(Looking):
    """The same of a file that readers also move about in."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Upload(_Watched):
    """A new file of the store, with a look before each piece; that it cannot be written is the store's trouble."""

    @property
    def file(self) -> BinaryIO:
        return cast(BinaryIO, self)

    def write(self, piece: bytes) -> int:
        self._look()
        try:
            return self._file.write(piece)
        except OSError as error:
            raise unwritable(error) from error

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise unwritable(error) from error

    def rewind(self) -> None:
        self.flush()
        self._file.seek(0)


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
        with _blamed(f"{MANIFEST_NAME} cannot be put into the output"):
            path.write_bytes(signed)
        return
    except OSError as error:
        raise CommandFailed(f"the output's {MANIFEST_NAME} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) or not _holds(path, signed):
        raise CommandFailed(f"the output has a {MANIFEST_NAME} of its own, which is not the one that was signed")


def _holds(path: Path, content: bytes) -> bool:
    """Its size says first whether it is worth reading: it may have as many bytes as the disk, or more."""
    with _blamed(f"the output's {MANIFEST_NAME} cannot be read"), os.fdopen(os.open(path, _OLD_FILE), "rb") as file:
        return os.fstat(file.fileno()).st_size == len(content) and file.read(len(content) + 1) == content
