"""Walking a tree that somebody may be changing: through descriptors, never following a link, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

# Nested deeper than this is not walked: each level holds a descriptor. Real trees stay below a hundred.
MAXIMUM_DEPTH = 256

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeep(Exception):
    """Folders are nested deeper than MAXIMUM_DEPTH."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on the disk (blocks that are allocated, so a hole counts nothing) and entries. `apparent` is what files
    seem to hold, holes included: what it takes to copy them."""

    size: int = 0
    entries: int = 0
    apparent: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.size + other.size, self.entries + other.entries, self.apparent + other.apparent)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.size - other.size, self.entries - other.entries, self.apparent - other.apparent)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry: its name in the folder that the descriptor `folder` (open until the next one is asked for) holds."""

    folder: int
    name: str
    status: os.stat_result


def walk(top: int, *, unlock: bool = False) -> Iterator[Found]:
    """Every entry below the folder that `top` is a descriptor of, each once; a folder before what is in it.

    What vanishes meanwhile is passed over, and so is a folder that cannot be read, unless `unlock`: then its owner
    (we) gets the right to read it. Raises TooDeep.
    """
    stack = [(os.dup(top), _names(top))]
    try:
        while stack:
            folder, names = stack[-1]
            if not names:
                stack.pop()
                os.close(folder)
                continue
            name = names.pop()
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            yield Found(folder, name, status)
            if stat.S_ISDIR(status.st_mode):
                if len(stack) >= MAXIMUM_DEPTH:
                    raise TooDeep(f"folders are nested deeper than {MAXIMUM_DEPTH}")
                below = open_folder(name, folder, unlock=unlock)
                if below is not None:
                    stack.append((below, _names(below)))
    finally:
        for folder, _ in stack:
            os.close(folder)


def measure(top: int, *, unlock: bool = False) -> Usage:
    """What is below a folder; files with several names count once. Raises TooDeep."""
    size = entries = apparent = 0
    seen: set[tuple[int, int]] = set()
    for found in walk(top, unlock=unlock):
        entries += 1
        status = found.status
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        size += status.st_blocks * 512
        apparent += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return Usage(size, entries, apparent)


def give(top: int, user: int, group: int, *, only_of: int | None = None) -> None:
    """Makes `user` the owner of a folder and all below, of what belongs to `only_of` only when that is given."""
    for found in walk(top):
        if only_of is None or found.status.st_uid == only_of:
            os.chown(found.name, user, group, dir_fd=found.folder, follow_symlinks=False)
    if only_of is None or os.fstat(top).st_uid == only_of:
        os.chown(top, user, group)


def open_folder(name: str, folder: int, *, unlock: bool) -> int | None:
    """A descriptor of a folder in a folder; None when it vanished, is no folder (a link included), or is closed to
    us. With `unlock` the owner's rights are added first where they are missing."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        return _unlocked(name, folder) if unlock else None
    except OSError:
        return None


def _unlocked(name: str, folder: int) -> int | None:
    """fchmod refuses a descriptor of O_PATH, and chmod would follow a link: /proc/self/fd leads to just this folder."""
    try:
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(handle)


def _names(folder: int) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
