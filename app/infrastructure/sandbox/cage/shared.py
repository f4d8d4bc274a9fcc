"""The places of a machine that anybody may write to.

Where no mount namespace hides them, a user of its own shows what in them is the run's: that is counted with its
folders, and taken away at the end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.infrastructure.sandbox.cage import disk
from app.infrastructure.sandbox.cage.disk import Usage
from app.infrastructure.sandbox.removal import remove_tree

PLACES = tuple(place for place in ("/tmp", "/var/tmp", "/dev/shm") if Path(place).is_dir())


def usage(user: int) -> Usage:
    """What a user has there, with all below. Raises TooDeep."""
    total = Usage()
    for path, status in _entries(user):
        total += Usage(status.st_blocks * 512, 1)
        if stat.S_ISDIR(status.st_mode):
            with suppress(OSError):
                folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    total += disk.measure(folder)
                finally:
                    os.close(folder)
    return total


def remove(user: int) -> None:
    """Once nothing runs as that user any more."""
    for path, _ in _entries(user):
        with suppress(OSError):
            remove_tree(path)


def _entries(user: int) -> Iterator[tuple[Path, os.stat_result]]:
    for place in PLACES:
        with suppress(OSError):
            for path in list(Path(place).iterdir()):
                with suppress(OSError):
                    status = path.lstat()
                    if status.st_uid == user:
                        yield path, status
