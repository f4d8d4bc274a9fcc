"""Taking away a tree that somebody hostile made: however deep, whatever its names and modes, never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from app.infrastructure.sandbox.cage.disk import open_folder


def remove_tree(path: Path) -> None:
    """Removes a folder and all in it; a path that is not there is fine, a link or a file is removed itself.

    Folders below the first level are moved up to it and emptied there one after the other, so that two descriptors and
    no recursion do for any depth. Nobody may be writing there any more. Raises OSError for what cannot be removed.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _remove(path.name, parent)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)


def _remove(name: str, parent: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    top = _opened(name, parent)
    try:
        _make_own(top)
        prefix = f".removed-{os.urandom(6).hex()}"
        count = 0
        # A listing of many entries is a long list of names, and no more than that: entries are what was limited.
        waiting = _empty(top, None, prefix, count)
        while waiting:
            folder_name = waiting.pop()
            folder = _opened(folder_name, top)
            try:
                _make_own(folder)
                count += 1
                waiting += _empty(folder, top, prefix, count)
            finally:
                os.close(folder)
            os.rmdir(folder_name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(folder: int, top: int | None, prefix: str, count: int) -> list[str]:
    """Unlinks all but folders, moves those to `top` under new names, and returns their names there."""
    moved: list[str] = []
    for index, name in enumerate(os.listdir(folder)):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
        elif top is None:
            moved.append(name)
        else:
            new_name = f"{prefix}-{count}-{index}"
            # Moving a folder writes its "..", which takes the right to write to it.
            below = _opened(name, folder)
            try:
                _make_own(below)
            finally:
                os.close(below)
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=top)
            moved.append(new_name)
    return moved


def _opened(name: str, parent: int) -> int:
    folder = open_folder(name, parent, unlock=True)
    if folder is None:
        raise OSError(f"the folder {name!r} cannot be opened for removal")
    return folder


def _make_own(folder: int) -> None:
    if os.fstat(folder).st_mode & 0o700 != 0o700:
        os.fchmod(folder, 0o700)
