"""Which processes belong to a folder: they have it in their command line, environment or working folder.

So everything of one stack is found, modules and holders included, whoever its parent is and whatever its name.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Leftover:
    """A process that runs; `command` is its command line."""

    pid: int
    command: str


def processes_of(folder: Path, proc: Path = Path("/proc")) -> list[Leftover]:
    """The processes of a folder that we may see, without ourselves and without ended ones that nobody has reaped."""
    found = []
    for entry in sorted(path for path in proc.iterdir() if path.name.isdecimal()):
        if int(entry.name) == os.getpid():
            continue
        command = _read(entry / "cmdline")
        if command and (_names(command + _read(entry / "environ"), folder) or _works_in(entry, folder)):
            found.append(Leftover(int(entry.name), command.replace(b"\0", b" ").decode("utf-8", "replace").strip()))
    return found


def what_is_left(folder: Path, patience: float = 10.0) -> list[Leftover]:
    """The processes of a folder whose stack was stopped; those that are ending just now get `patience` seconds."""
    deadline = time.monotonic() + patience
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _names(texts: bytes, folder: Path) -> bool:
    wanted = os.fsencode(folder)
    return any(text.endswith(wanted) or wanted + b"/" in text for text in texts.split(b"\0"))


def _works_in(entry: Path, folder: Path) -> bool:
    try:
        return (entry / "cwd").readlink().is_relative_to(folder)
    except OSError:  # it has ended, or is another user's
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""
