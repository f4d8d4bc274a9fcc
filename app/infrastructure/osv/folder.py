"""A folder of OSV files: single entries (`*.json`) and exports (`*.zip`, as osv.dev has one for each ecosystem), at any
depth. One pass reads all, and keeps what is about the packages asked for: memory does not grow with the folder.

The folder is the operator's, but its files come from elsewhere: sizes are bounded, broken ones counted and named.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event

from app.domain.components import Ecosystem
from app.infrastructure.osv.entries import Entry, EntryInvalid, modified, package_names, read_entry
from app.infrastructure.scanners.wording import clean

_LONGEST_ENTRY = 8 * 1024 * 1024
_MOST_NAMED = 20
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
Package = tuple[Ecosystem, str]


class OsvUnavailable(Exception):
    """There is no vulnerability data: no folder, or no entry in it. The text is one sentence for a person."""


class LookupCancelled(Exception):
    """The caller did not want to know any more."""


@dataclass(slots=True)
class FolderRead:
    """`entries` by id; `read` counts all that were in the folder, `newest` is the latest change among these; `broken`
    names the first files that are no entries."""

    entries: dict[str, Entry] = field(default_factory=dict)
    read: int = 0
    newest: datetime | None = None
    broken_count: int = 0
    broken: list[str] = field(default_factory=list)

    def note_broken(self, name: str) -> None:
        self.broken_count += 1
        if len(self.broken) < _MOST_NAMED:
            self.broken.append(clean(name, 200))


def read_folder(folder: Path, packages: Collection[Package], cancelled: Event | None = None) -> FolderRead:
    """What the folder has about these packages. Raises OsvUnavailable, LookupCancelled."""
    wanted = frozenset(packages)
    result = FolderRead()
    for name, content in _contents(folder, result):
        if cancelled is not None and cancelled.is_set():
            raise LookupCancelled
        try:
            _take(content, wanted, result)
        except (EntryInvalid, ValueError, RecursionError):
            result.note_broken(name)
    if result.read == 0:
        broken = f" ({result.broken_count} broken files)" if result.broken_count else ""
        raise OsvUnavailable(f"there is no vulnerability data in {folder}{broken}")
    return result


def _take(content: bytes, wanted: frozenset[Package], result: FolderRead) -> None:
    value = json.loads(content)
    packages = set(package_names(value))
    result.read += 1
    changed = modified(value)
    if changed is not None and (result.newest is None or changed > result.newest):
        result.newest = changed
    if packages & wanted:
        entry = read_entry(value)
        known = result.entries.get(entry.id)
        # The same entry may be there twice, as a file and in an export: the later state counts.
        if known is None or _is_later(entry, known):
            result.entries[entry.id] = entry


def _is_later(entry: Entry, known: Entry) -> bool:
    return entry.modified is not None and (known.modified is None or entry.modified > known.modified)


def _contents(folder: Path, result: FolderRead) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise OsvUnavailable(f"there is no folder {folder} with vulnerability data")
    for parent, folders, files in os.walk(folder, onerror=lambda error: result.note_broken(str(error.filename))):
        folders.sort()
        for base in sorted(files):
            path = Path(parent, base)
            name = os.fspath(path.relative_to(folder))
            if base.endswith(".json"):
                try:
                    yield name, _content(path)
                except (OSError, EntryInvalid):
                    result.note_broken(name)
            elif base.endswith(".zip"):
                yield from _zipped(path, name, result)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return _bounded(file.read(_LONGEST_ENTRY + 1))


def _zipped(path: Path, name: str, result: FolderRead) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".json"):
                    content = _unzipped(archive, entry)
                    if content is None:
                        result.note_broken(f"{name}: {entry.filename}")
                    else:
                        yield f"{name}: {entry.filename}", content
    except _BROKEN_ZIP:
        result.note_broken(name)


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | None:
    try:
        with archive.open(entry) as content:
            return _bounded(content.read(_LONGEST_ENTRY + 1))
    except (*_BROKEN_ZIP, EntryInvalid):
        return None


def _bounded(content: bytes) -> bytes:
    if len(content) > _LONGEST_ENTRY:
        raise EntryInvalid(f"it is longer than {_LONGEST_ENTRY} bytes")
    return content
