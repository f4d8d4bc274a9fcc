"""Log files that stay small although a process holds them open: their beginning moves to FILE.1, in place."""

import os
from pathlib import Path

LARGEST = 8 * 1024 * 1024
_CHUNK = 1024 * 1024


def cut(log: Path, largest: int = LARGEST) -> bool:
    """Cut a log that has grown beyond `largest` bytes; whether it was.

    The writer appends (O_APPEND), so it goes on at the new end. What it writes between copy and cut is lost: a few
    lines at most, for which no process of the stack has to be asked to open its log again.
    """
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return False
    if size <= largest:
        return False
    new = log.with_name(log.name + ".1.new")
    try:
        with log.open("rb") as source, new.open("wb") as target:
            source.seek(max(0, size - largest))
            while chunk := source.read(_CHUNK):
                target.write(chunk)
        new.rename(log.with_name(log.name + ".1"))
    except OSError:
        # The disk is full: then it matters most that the log gets small, and least what it said long ago.
        new.unlink(missing_ok=True)
    os.truncate(log, 0)
    return True


def last_words(log: Path, lines: int = 1) -> str:
    """The last lines that are not empty, joined; empty when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])[-500:]
