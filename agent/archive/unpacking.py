"""An archive onto the disk, never outside its folder.

The layout is checked before anything is written under a name, and every name is opened one component at a time from
the folder's descriptor with O_NOFOLLOW: even a link that somebody else slips in meanwhile is not followed. Links come
last, when it is known that none leads outside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agent.archive.entries import Entry, EntryKind, Inspection
from agent.archive.errors import ArchiveInvalid
from agent.archive.limits import Limits
from agent.archive.reading import Pass
from agent.signatures import Digest
from agent.writing import write_all

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSYNCED_FILES = 64
_SYNC_THREADS = 8
_NOT_WORTH_THREADS = 4


def unpack(
    file: BinaryIO, destination: Path, limits: Limits | None = None, expected: Digest | None = None
) -> Inspection:
    """Unpack an archive into `destination`, which must not exist and whose parent must; all of it is on disk after,
    but for its name in the parent: whoever gives it its last one has that synced.

    With `expected`, the bytes read must have that digest, so that what was verified is what is unpacked. Files get
    mode 0755 if their owner could execute them, else 0644, folders 0755. On any error nothing is left of
    `destination`. Raises `ArchiveInvalid`, `ManifestInvalid`, `FileExistsError`, and `OSError` of the disk.
    """
    reading = Pass(file, limits or Limits())
    destination.mkdir(mode=0o700)
    try:
        with _opened(destination) as root:
            inspection = _fill(reading, root, expected)
            os.fchmod(root, 0o755)
            os.fsync(root)
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise
    return inspection


def _fill(reading: Pass, root: int, expected: Digest | None) -> Inspection:
    links: list[Entry] = []
    with _Tree(root) as tree:
        for entry in reading.entries():
            match entry.kind:
                case EntryKind.DIRECTORY:
                    tree.make_folder(entry.path)
                case EntryKind.FILE:
                    tree.write_file(entry, reading.content())
                case _:
                    links.append(entry)
        inspection = reading.inspection()
        if expected is not None and inspection.digest != expected:
            raise ArchiveInvalid(f"has the digest {inspection.digest}, not {expected}")
        for entry in sorted(links, key=lambda link: link.kind is EntryKind.SYMLINK):
            tree.link(entry)
        tree.sync()
    return inspection


class _Tree:
    """The folder that is being filled, reached through its descriptor only."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._folders = {""}
        self._current = ("", os.dup(root))
        self._unsynced: list[int] = []

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._current[1], *self._unsynced):
            os.close(descriptor)

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, as far as they are not there yet."""
        self._descend(path)

    def write_file(self, entry: Entry, content: Iterable[bytes]) -> None:
        """Write a file that must not exist; it is on disk only after `sync`."""
        folder, _, name = entry.path.rpartition("/")
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=self._descend(folder))
        self._unsynced.append(descriptor)
        for chunk in content:
            write_all(descriptor, chunk)
        os.fchmod(descriptor, 0o755 if entry.executable else 0o644)
        if len(self._unsynced) >= _UNSYNCED_FILES:
            self._sync_files()

    def link(self, entry: Entry) -> None:
        """Make a link whose target the layout has found to be inside."""
        folder, _, name = entry.path.rpartition("/")
        target = entry.target or ""
        if entry.kind is EntryKind.SYMLINK:
            os.symlink(target, name, dir_fd=self._descend(folder))
            return
        source_folder, _, source_name = target.rpartition("/")
        source = os.dup(self._descend(source_folder))
        try:
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=self._descend(folder), follow_symlinks=False)
        finally:
            os.close(source)

    def sync(self) -> None:
        """Have every file and folder on disk, folders after what is in them; the root is the caller's."""
        self._sync_files()
        for path in sorted(self._folders - {""}, key=lambda folder: folder.count("/"), reverse=True):
            os.fsync(self._descend(path))

    def _sync_files(self) -> None:
        """Several at a time, so that the disk can make one flush of many; a few are not worth the threads."""
        if len(self._unsynced) <= _NOT_WORTH_THREADS:
            for descriptor in self._unsynced:
                os.fsync(descriptor)
        else:
            with ThreadPoolExecutor(_SYNC_THREADS, "unpack-fsync") as pool:
                for _ in pool.map(os.fsync, self._unsynced):
                    pass
        while self._unsynced:
            os.close(self._unsynced.pop())

    def _descend(self, path: str) -> int:
        """The descriptor of a folder, which lives until the next call; makes what is missing on the way."""
        if self._current[0] == path:
            return self._current[1]
        descriptor = os.dup(self._root)
        try:
            at = ""
            for part in path.split("/") if path else ():
                at = f"{at}/{part}" if at else part
                fresh = at not in self._folders
                if fresh:
                    os.mkdir(part, 0o700, dir_fd=descriptor)
                    self._folders.add(at)
                deeper = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
                if fresh:
                    os.fchmod(descriptor, 0o755)  # whatever the umask is
        except BaseException:
            os.close(descriptor)
            raise
        os.close(self._current[1])
        self._current = (path, descriptor)
        return descriptor


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
