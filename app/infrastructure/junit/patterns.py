"""Patterns of paths, followed folder by folder: `*`, `?` and `[...]` within a name, `**` for any number of folders.

A pattern is a stranger's, and so are the names. Each is compiled once, and a folder is known by the places in the
patterns that lead to it, so that the work for a name is bounded by the pattern's length, in however many ways it fits.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

_ANY_FOLDERS = "**"
_SPECIAL = frozenset("*?[")
Fits = Callable[[str], object]
Places = frozenset[int]
"""Parts of patterns that the names in a folder are to be held against; none: nothing below it is looked for."""


class Patterns:
    """Several at once: a path that more than one names is named once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._parts: list[str] = []
        self._lasts: set[int] = set()
        starts = []
        for pattern in patterns:
            starts.append(len(self._parts))
            self._parts += _parts_of(pattern)
            self._lasts.add(len(self._parts) - 1)
        self._fits = {part: _compiled(part) for part in self._parts if part != _ANY_FOLDERS}
        self.start = self._with_what_follows(starts)

    def below(self, places: Places, name: str) -> Places:
        """The places for the names in the folder of this name."""
        fitting = self._fitting(places - self._lasts, name)
        stays = {at for at in places if self._parts[at] == _ANY_FOLDERS}
        return self._with_what_follows(stays | {at + 1 for at in fitting})

    def names(self, places: Places, name: str) -> bool:
        """Whether a file of this name is one that is looked for."""
        return bool(self._fitting(places & self._lasts, name))

    def _fitting(self, places: Places, name: str) -> set[int]:
        """Each different part is held against the name once."""
        wanted = {self._parts[at] for at in places} - {_ANY_FOLDERS}
        fitting = {part for part in wanted if self._fits[part](name)}
        return {at for at in places if self._parts[at] in fitting}

    def _with_what_follows(self, places: Iterable[int]) -> Places:
        """With those behind each `**`, which may stand for no folder at all. No two of them follow each other."""
        found = set(places)
        found |= {at + 1 for at in found if self._parts[at] == _ANY_FOLDERS and at not in self._lasts}
        return frozenset(found)


def _parts_of(pattern: str) -> list[str]:
    """`**/**` is `**`; a `.` is no folder."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part not in ("", ".") and not (part == _ANY_FOLDERS and parts[-1:] == [_ANY_FOLDERS]):
            parts.append(part)
    return parts or [_ANY_FOLDERS]


def _compiled(part: str) -> Fits:
    """Runs of `*` are one: `fnmatch` makes them atomic, so that no name makes it look at a place again and again."""
    return re.compile(translate(part)).match if _SPECIAL & set(part) else part.__eq__
