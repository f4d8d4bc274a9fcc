"""A folder that foreign commands filled, as one file and back: what Build left behind is what Test runs on.

Unlike a module's archive (agent/archive) it may hold any name and any link, since it goes from one sandbox into the
next and nowhere else: nothing of it is followed or executed by us. What is neither file, folder nor link stays behind.
The same tree gives the same bytes.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LEVEL = 1
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack_tree(folder: Path, output: BinaryIO) -> None:
    """Write all of `folder` to `output`. Nobody may be writing there any more. Raises OSError."""
    with (
        gzip.GzipFile(fileobj=output, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, status in _walk(os.fspath(folder)):
            entry = tarfile.TarInfo(os.path.relpath(path, folder))
            entry.mode = stat.S_IMODE(status.st_mode) & 0o755 | 0o600
            if stat.S_ISDIR(status.st_mode):
                entry.type = tarfile.DIRTYPE
                entry.mode |= 0o700
                archive.addfile(entry)
            elif stat.S_ISLNK(status.st_mode):
                entry.type = tarfile.SYMTYPE
                entry.linkname = os.readlink(path)  # noqa: PTH115 - may be no text that a Path could show
                archive.addfile(entry)
            elif stat.S_ISREG(status.st_mode):
                entry.size = status.st_size
                with os.fdopen(os.open(path, _OLD_FILE), "rb") as content:
                    archive.addfile(entry, content)


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry, parents first, in order of names; a link is an entry and never followed."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as found:
            entries = sorted((entry.path, entry.stat(follow_symlinks=False)) for entry in found)
        yield from entries
        waiting += [path for path, status in reversed(entries) if stat.S_ISDIR(status.st_mode)]


def unpack_tree(source: BinaryIO, folder: Path) -> None:
    """Unpack what `pack_tree` wrote into `folder`, which must not exist. Raises OSError, tarfile.TarError."""
    folder.mkdir(mode=0o700)
    with tarfile.open(fileobj=source, mode="r|gz") as archive:
        for entry in archive:
            path = os.path.join(folder, entry.name)  # noqa: PTH118 - may be no text that a Path could show
            if entry.name.startswith("/") or ".." in entry.name.split("/"):
                raise tarfile.TarError(f"{entry.name!r} leads out of the tree")
            # A name through a link cannot occur in what we packed; the parent of each entry is a folder made before.
            if entry.isdir():
                os.mkdir(path, entry.mode)  # noqa: PTH102
            elif entry.issym():
                os.symlink(entry.linkname, path)  # noqa: PTH211
            elif entry.isfile():
                content = archive.extractfile(entry)
                assert content is not None, "a file has content"
                with os.fdopen(os.open(path, _NEW_FILE, entry.mode), "wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
