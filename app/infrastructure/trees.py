"""A folder that foreign commands filled, as one file and back: what Build left behind is what Test runs on.

Unlike a module's archive (agent/archive) it may hold any name and any link, since it goes from one sandbox into the
next and nowhere else: nothing of it is followed or executed by us. What is neither file, folder nor link stays behind.
The same tree gives the same bytes.

It is a stranger's, so both ways have a limit in bytes: of what its files *seem* to hold, since a hole is written out as
zeros. A file of several names is packed once, and has them again afterwards. Both call `look` between pieces of work,
which may raise whatever is to end it.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

_LEVEL = 1
_PIECE = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Look = Callable[[], None]


class TreeTooLarge(Exception):
    """Its files hold more than was allowed; one sentence."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"its files hold more than {most_bytes} bytes, holes in them counted")


def pack_tree(folder: Path, output: BinaryIO, most_bytes: int, look: Look) -> None:
    """Write all of `folder` to `output`. Nobody may be writing there any more.

    Raises TreeTooLarge, OSError for what cannot be read, and what `look` and `output` raise.
    """
    budget = _Budget(most_bytes)
    names: dict[tuple[int, int], str] = {}
    with (
        gzip.GzipFile(fileobj=output, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, status in _walk(os.fspath(folder)):
            look()
            entry = _entry(os.path.relpath(path, folder), path, status)
            if entry is None:
                continue
            if not entry.isreg():
                archive.addfile(entry)
            elif status.st_nlink > 1 and (first := names.setdefault(_inode(status), entry.name)) != entry.name:
                entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, first, 0
                archive.addfile(entry)
            else:
                budget.spend(entry.size)
                with os.fdopen(os.open(path, _OLD_FILE), "rb") as content:
                    archive.addfile(entry, Looking(content, look))


def _entry(name: str, path: str, status: os.stat_result) -> tarfile.TarInfo | None:
    """None for what stays behind."""
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(status.st_mode) & 0o755 | 0o600
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
        entry.mode |= 0o700
    elif stat.S_ISLNK(status.st_mode):
        entry.type = tarfile.SYMTYPE
        entry.linkname = os.readlink(path)  # noqa: PTH115 - may be no text that a Path could show
    elif stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
    else:
        return None
    return entry


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry, parents first, in order of names; a link is an entry and never followed."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as found:
            entries = sorted((entry.path, entry.stat(follow_symlinks=False)) for entry in found)
        yield from entries
        waiting += [path for path, status in reversed(entries) if stat.S_ISDIR(status.st_mode)]


def unpack_tree(source: BinaryIO, folder: Path, most_bytes: int, look: Look) -> None:
    """Unpack what `pack_tree` wrote into `folder`, which must not exist.

    Raises TreeTooLarge, OSError, tarfile.TarError for what `pack_tree` has not written, and what `look` raises. What
    was unpacked until then stays, and is the caller's to remove.
    """
    budget = _Budget(most_bytes)
    folder.mkdir(mode=0o700)
    try:
        # Not by tarfile's own reading of gzip, to which an end in the middle is an end.
        with gzip.GzipFile(fileobj=source, mode="rb") as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for entry in archive:
                look()
                _unpack_entry(archive, entry, folder, budget, look)
            while rest := content.read(_PIECE):
                look()
                budget.spend(len(rest))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise tarfile.ReadError(str(error)) from error


def _unpack_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path, budget: _Budget, look: Look) -> None:
    """A name through a link cannot occur in what we packed; the parent of each entry is a folder made before."""
    path = _inside(folder, entry.name)
    if entry.isdir():
        os.mkdir(path, entry.mode)  # noqa: PTH102
    elif entry.issym():
        os.symlink(entry.linkname, path)  # noqa: PTH211
    elif entry.islnk():
        os.link(_inside(folder, entry.linkname), path, follow_symlinks=False)
    elif entry.isfile():
        budget.spend(entry.size)
        content = archive.extractfile(entry)
        assert content is not None, "a file has content"
        with os.fdopen(os.open(path, _NEW_FILE, entry.mode), "wb") as file:
            while piece := content.read(_PIECE):
                look()
                file.write(piece)


def _inside(folder: Path, name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise tarfile.TarError(f"{name!r} leads out of the tree")
    return os.path.join(folder, name)  # noqa: PTH118 - may be no text that a Path could show


class _Budget:
    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._left = most_bytes

    def spend(self, size: int) -> None:
        """Before anything of it is written. Raises TreeTooLarge."""
        self._left -= size
        if self._left < 0:
            raise TreeTooLarge(self._most)


class Looking:
    """A file that is read, with a look before each piece."""

    def __init__(self, file: IO[bytes], look: Look) -> None:
        self._file = file
        self._look = look

    def read(self, size: int = -1) -> bytes:
        self._look()
        return self._file.read(size)
