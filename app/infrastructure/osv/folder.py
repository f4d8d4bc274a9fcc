"""A folder of OSV files: single entries (`*.json`) and exports (`*.zip`, as osv.dev has one for each ecosystem), at any
depth. It is read entry by entry, so that memory does not grow with it.

The folder is the operator's, but its files come from elsewhere: sizes are bounded, broken ones counted and named.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LONGEST_ENTRY = 8 * 1024 * 1024
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
Broken = Callable[[str], None]


class OsvUnavailable(Exception):
    """There is no vulnerability data: no folder, or no entry in it. The text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry is: a file's name within the folder, and the name within that, if it is an export."""

    source: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.member}" if self.member else self.source


def sources(folder: Path, broken: Broken) -> list[str]:
    """The names, within the folder, of all that may hold entries, in order; one that cannot be printed is told to
    `broken`. Raises OsvUnavailable without a folder."""
    if not folder.is_dir():
        raise OsvUnavailable(f"there is no folder {folder} with vulnerability data")
    names = []
    for parent, _, files in os.walk(folder, onerror=lambda error: broken(str(error.filename))):
        within = os.path.relpath(parent, folder)
        prefix = "" if within == "." else f"{within}/"
        names += [f"{prefix}{file}" for file in files if file.endswith((".json", ".zip"))]
    for name in sorted(names):
        if not name.isprintable():
            broken(name)
    return sorted(name for name in names if name.isprintable())


def contents(
    folder: Path, source: str, broken: Broken, members: Collection[str] | None = None
) -> Iterator[tuple[Place, bytes]]:
    """The entries of one source, or of an export only those of these names; what cannot be read is told to `broken`."""
    if source.endswith(".zip"):
        yield from _zipped(folder / source, source, broken, members)
        return
    try:
        with _opened(folder / source) as file:
            content = file.read(_LONGEST_ENTRY + 1)
    except OSError:
        content = b""
    if 0 < len(content) <= _LONGEST_ENTRY:
        yield Place(source), content
    else:
        broken(source)


def _opened(path: Path) -> BinaryIO:
    """Raises OSError for whatever is no regular file: a link may lead anywhere, a pipe is waited for without end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _zipped(path: Path, source: str, broken: Broken, members: Collection[str] | None) -> Iterator[tuple[Place, bytes]]:
    try:
        with _opened(path) as file, zipfile.ZipFile(file) as archive:
            for entry in archive.infolist() if members is None else map(archive.getinfo, sorted(members)):
                if entry.filename.endswith(".json"):
                    place = Place(source, entry.filename)
                    content = _unzipped(archive, entry)
                    if content is None:
                        broken(str(place))
                    else:
                        yield place, content
    except (*_BROKEN_ZIP, KeyError):
        broken(source)


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | None:
    """None for what is broken, and for what is larger than an entry is, whatever it is said to be."""
    try:
        with archive.open(entry) as file:
            content = file.read(_LONGEST_ENTRY + 1)
    except _BROKEN_ZIP:
        return None
    return content if len(content) <= _LONGEST_ENTRY else None
