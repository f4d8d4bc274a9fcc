"""Folders in which foreign commands work: one for each attempt of a stage, gone with it however its process ends.

    <work_dir>/<stage id>-<attempt>/    lock: held by the process that works here
                                    log:  what the command prints
                                    tree: where it works

Who makes one first takes away those whose lock nobody holds: their processes were killed. One that cannot be taken away
(another user's, busy, a broken disk) is told and left: it is no reason for other stages not to begin.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.domain.errors import Unavailable
from app.infrastructure.sandbox.removal import remove_tree

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """`tree` does not exist yet: whoever fills it makes it."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def log(self) -> Path:
        return self.folder / "log"


@contextmanager
def workspace(work_dir: Path, stage_id: UUID, attempt: int) -> Iterator[Workspace]:
    """A new, empty one, removed at the end. Raises Unavailable when the disk cannot be written."""
    folder = work_dir / f"{stage_id}-{attempt}"
    try:
        # Others may pass, and not look: as root without namespaces the command is another user's.
        work_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        _sweep(work_dir)
        folder.mkdir(mode=0o711)
        lock = _locked(folder)
        (folder / "log").touch(mode=0o600)
    except OSError as error:
        raise Unavailable(f"No workspace can be made: {error.strerror or error}.", retry_after=30) from error
    try:
        yield Workspace(folder)
    finally:
        _take_away(folder)
        os.close(lock)


def _take_away(folder: Path) -> None:
    """What was made in it is worth more than the folder: what is left is for the next sweep, which tells it again."""
    try:
        remove_tree(folder)
    except OSError as error:
        log.warning("a workspace cannot be removed: %s", error)


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep(work_dir: Path) -> None:
    now = _now_of(work_dir)
    for folder in work_dir.iterdir():
        try:
            _sweep_one(folder, now)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            # Somebody else's at this moment, or taken away by another sweep.
            continue
        except OSError as error:
            log.warning("an old workspace cannot be looked at: %s", error)


def _sweep_one(folder: Path, now: float) -> None:
    if not (folder / "lock").exists() and folder.stat().st_mtime > now - _BEING_MADE:
        return
    lock = _locked(folder)
    try:
        _take_away(folder)
    finally:
        os.close(lock)


_BEING_MADE = 60.0
"""Seconds for which a folder without a lock is taken for one that is just being made."""


def _now_of(work_dir: Path) -> float:
    """The file system's own time."""
    os.utime(work_dir)
    return work_dir.stat().st_mtime
