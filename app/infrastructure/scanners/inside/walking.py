"""The files of a tree that strangers made: regular ones only, no link is followed, depth and number are bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.report import Reason

MOST_FILES = 200_000
DEEPEST = 100
# Folders that package managers fill. `pip install --target` fills any folder, see `_installed_here`.
_OF_DEPENDENCIES = frozenset({"node_modules", "site-packages", "dist-packages", "bower_components"})
_LONGEST_RECORD = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FoundFile:
    """`name` is its path within the tree, with `/`; `is_dependency`: a package manager put it there."""

    path: Path
    name: str
    size: int
    is_dependency: bool

    @property
    def base(self) -> str:
        return self.path.name


def walk(root: Path, gathering: Gathering) -> list[FoundFile]:
    """The module's own files first, then those of its dependencies, each by name. Raises OSError if the root itself
    cannot be listed; what cannot be read below is left out, and counted."""
    files: list[FoundFile] = []
    for file in _files(root, gathering):
        if len(files) == MOST_FILES:
            gathering.leave_out(Reason.MANY_FILES, file.name)
            break
        files.append(file)
    return sorted(files, key=lambda file: file.is_dependency)


def _files(root: Path, gathering: Gathering) -> Iterator[FoundFile]:
    waiting = [("", False)]
    while waiting:
        folder, is_dependency = waiting.pop()
        try:
            entries = _entries(root / folder)
        except OSError:
            if not folder:
                raise
            gathering.leave_out(Reason.UNREADABLE, folder)
            continue
        installed = _installed_here(root / folder, entries)
        below = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            of_dependency = is_dependency or entry.name in _OF_DEPENDENCIES or entry.name in installed
            try:
                if entry.is_symlink():
                    gathering.leave_out(Reason.LINK, name)
                elif entry.is_dir(follow_symlinks=False):
                    below.append((name, of_dependency))
                elif entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    yield FoundFile(root / name, name, size, of_dependency)
                else:
                    gathering.leave_out(Reason.SPECIAL, name)
            except OSError:
                gathering.leave_out(Reason.UNREADABLE, name)
        if below and folder.count("/") + bool(folder) >= DEEPEST:
            gathering.leave_out(Reason.DEEP, below[0][0], len(below))
        else:
            waiting += reversed(below)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _installed_here(folder: Path, entries: list[os.DirEntry[str]]) -> frozenset[str]:
    """What pip put beside the module's own files (`pip install --target .`): the first parts of the paths in the
    RECORD of each *.dist-info (Binary distribution format, packaging.python.org)."""
    names: set[str] = set()
    for entry in entries:
        if not entry.name.endswith(".dist-info") or entry.is_symlink():
            continue
        names.add(entry.name)
        record = folder / entry.name / "RECORD"
        if record.is_symlink() or not record.is_file():
            continue
        try:
            with record.open(encoding="utf-8", errors="replace") as lines:
                names.update(line.lstrip('"').split("/", 1)[0].split(",", 1)[0] for line in _bounded(lines))
        except OSError:
            continue
    return frozenset(names) - {"", ".", ".."}


def _bounded(lines: Iterator[str]) -> Iterator[str]:
    read = 0
    for line in lines:
        read += len(line)
        if read > _LONGEST_RECORD:
            return
        yield line
