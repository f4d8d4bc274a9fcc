"""What a folder of OSV files says about some packages.

Without an index the whole folder is read each time. With one, a small SQLite file that says which entry is about which
package, only once for each state of the folder; then what is asked for is read directly. The index holds no data of
its own and can be deleted at any time; a broken one is made anew, and of two made at once the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event
from urllib.parse import quote

from app.domain.components import Ecosystem
from app.infrastructure.osv.entries import Entry, EntryInvalid, modified, package_names, read_entry
from app.infrastructure.osv.folder import OsvUnavailable, contents, sources
from app.infrastructure.scanners.wording import clean

_MOST_NAMED = 20
_ABANDONED_AFTER = 3600.0
_FORM = "1"
_TABLES = """
create table about (state text, read integer, newest text, broken_count integer, broken text);
create table places (ecosystem text, name text, source text, member text);
"""
_PLACES = "select source, member from places where ecosystem = ? and name = ?"
_INDEXED = "create index places_by_package on places (ecosystem, name)"
Package = tuple[Ecosystem, str]


class LookupCancelled(Exception):
    """The caller did not want to know any more."""


@dataclass(slots=True)
class About:
    """`read` counts the entries of the folder, `newest` is the latest change among them; `broken` names the first files
    that are no entries."""

    read: int = 0
    newest: datetime | None = None
    broken_count: int = 0
    broken: list[str] = field(default_factory=list)

    def note_broken(self, name: str) -> None:
        self.broken_count += 1
        if len(self.broken) < _MOST_NAMED:
            self.broken.append(clean(name, 200))

    def note(self, changed: datetime | None) -> None:
        self.read += 1
        if changed is not None and (self.newest is None or changed > self.newest):
            self.newest = changed


def read_folder(
    folder: Path, packages: Collection[Package], cancelled: Event | None = None, index: Path | None = None
) -> tuple[dict[str, Entry], About]:
    """The entries about these packages, by id, and what there is to say about the whole folder. `index` is a file of
    ours, made if it is not there. Raises OsvUnavailable, LookupCancelled, OSError for an index that cannot be written.
    """
    reading = _Reading(folder, frozenset(packages), cancelled or Event())
    if index is None:
        reading.read_all(None)
    elif not reading.read_indexed(index):
        _make_index(index, reading)
    if reading.about.read == 0:
        broken = f" ({reading.about.broken_count} broken files)" if reading.about.broken_count else ""
        raise OsvUnavailable(f"there is no vulnerability data in {folder}{broken}")
    return reading.entries, reading.about


class _Reading:
    def __init__(self, folder: Path, wanted: frozenset[Package], cancelled: Event) -> None:
        self._folder = folder
        self._wanted = wanted
        self._cancelled = cancelled
        self._begin()

    def _begin(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.about = About()
        self._sources = sources(self._folder, self.about.note_broken)

    def state(self) -> str:
        """Changes with any file: by its name, size and time of change."""
        digest = hashlib.sha256(_FORM.encode())
        for source in self._sources:
            try:
                status = (self._folder / source).stat()
            except OSError:
                continue
            digest.update(repr((source, status.st_size, status.st_mtime_ns, status.st_ino)).encode())
        return digest.hexdigest()

    def read_all(self, index: sqlite3.Connection | None) -> None:
        for source in self._sources:
            for place, content in contents(self._folder, source, self.about.note_broken):
                if self._cancelled.is_set():
                    raise LookupCancelled
                try:
                    names = self._take(content)
                except (EntryInvalid, ValueError, RecursionError):
                    self.about.note_broken(str(place))
                    continue
                if index is not None:
                    rows = [(kind.value, name, place.source, place.member) for kind, name in sorted(names)]
                    index.executemany("insert into places values (?, ?, ?, ?)", rows)

    def _take(self, content: bytes) -> set[Package]:
        value = json.loads(content)
        names = set(package_names(value))
        self.about.note(modified(value))
        if names & self._wanted:
            self._keep(read_entry(value))
        return names

    def _keep(self, entry: Entry) -> None:
        """The same entry may be there twice, as a file and in an export: the later state counts."""
        known = self.entries.get(entry.id)
        if known is None or (entry.modified and (known.modified is None or entry.modified > known.modified)):
            self.entries[entry.id] = entry

    def read_indexed(self, path: Path) -> bool:
        """False where the index is not there, not sound, or of another state of the folder."""
        try:
            with closing(sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True)) as index:
                row = index.execute("select * from about").fetchone()
                if row is None or row[0] != self.state():
                    return False
                places = self._places(index)
            self.about = About(row[1], datetime.fromisoformat(row[2]) if row[2] else None, row[3], json.loads(row[4]))
        except (sqlite3.Error, ValueError, TypeError):
            return False
        return self._read_places(places)

    def _places(self, index: sqlite3.Connection) -> dict[str, set[str]]:
        places: dict[str, set[str]] = defaultdict(set)
        for ecosystem, name in self._wanted:
            for source, member in index.execute(_PLACES, (ecosystem.value, name)):
                places[source].add(member)
        return places

    def _read_places(self, places: dict[str, set[str]]) -> bool:
        """False where a file is not what it was: then all is read again."""
        unexpected: list[str] = []
        for source in sorted(places):
            for place, content in contents(self._folder, source, unexpected.append, places[source]):
                if self._cancelled.is_set():
                    raise LookupCancelled
                try:
                    self._keep(read_entry(json.loads(content)))
                except (EntryInvalid, ValueError, RecursionError):
                    unexpected.append(str(place))
        if unexpected:
            self._begin()
        return not unexpected


def _make_index(path: Path, reading: _Reading) -> None:
    """Beside its place, and then put there whole."""
    _remove_unfinished(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    state = reading.state()
    try:
        # Lost with a power cut, and then made anew: nothing is synced.
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as index:
            index.executescript("pragma journal_mode = off; pragma synchronous = off;" + _TABLES)
            index.execute("begin")
            reading.read_all(index)
            index.execute(_INDEXED)
            index.execute("insert into about values (?, ?, ?, ?, ?)", _row(state, reading.about))
            index.execute("commit")
        unfinished.replace(path)
    except sqlite3.Error as error:
        raise OSError(f"the index {path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_unfinished(path: Path) -> None:
    """What others left that were killed while they made one: no making takes so long."""
    horizon = time.time() - _ABANDONED_AFTER
    for leftover in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            if leftover.stat().st_mtime < horizon:
                leftover.unlink()


def _row(state: str, about: About) -> tuple[str, int, str | None, int, str]:
    newest = about.newest.isoformat() if about.newest else None
    return state, about.read, newest, about.broken_count, json.dumps(about.broken)
