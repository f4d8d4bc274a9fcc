"""The files of a stranger's tree that patterns name: one walk, of bounded depth and number, through no link."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from app.infrastructure.junit.patterns import Patterns, Places

MOST_ENTRIES = 200_000
DEEPEST = 100
Complain = Callable[[str], None]


def find_reports(tree: Path, patterns: Patterns, complain: Complain) -> Iterator[str]:
    """Their names within the tree, in order within each folder. Only folders that a pattern leads into are listed.

    What is not looked into is told to `complain`, a sentence each. Raises nothing for whatever there is.
    """
    left = MOST_ENTRIES
    waiting: list[tuple[str, int, Places]] = [("", 0, patterns.start)]
    while waiting:
        folder, depth, places = waiting.pop()
        below = []
        for entry in _entries(tree, folder, left, complain):
            left -= 1
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if led := patterns.below(places, entry.name):
                    below.append((name, depth + 1, led))
            elif patterns.names(places, entry.name) and entry.is_file(follow_symlinks=False):
                yield name
        if left <= 0:
            complain(f"more than {MOST_ENTRIES} files and folders are not looked through")
            return
        if below and depth >= DEEPEST:
            complain(f"{below[0][0]} is more than {DEEPEST} folders deep")
        else:
            waiting += reversed(below)


def _entries(tree: Path, folder: str, most: int, complain: Complain) -> list[os.DirEntry[str]]:
    """At most so many and one more."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(tree / folder) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) > most:
                    break
    except OSError as error:
        complain(f"{folder or 'the folder of the module'} cannot be looked into: {error.strerror}")
    return sorted(found, key=lambda entry: entry.name)
