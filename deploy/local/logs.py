"""Log files that stay small although a process holds them open: their beginning moves to FILE.1, in place."""

import json
import os
from pathlib import Path

LARGEST = 8 * 1024 * 1024
_CHUNK = 1024 * 1024
_LOOKED_AT = 8192  # bytes at the end of a log
_WELL = ("debug", "info")


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


def size(log: Path) -> int:
    """Bytes; 0 where there is no such log."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def last_words(log: Path, lines: int = 1, since: int = 0) -> str:
    """The last lines that may say why somebody died, joined; empty when there are none.

    What stood there before `since` (a size of the log) is of another; where the log was cut meanwhile all of it counts.
    A JSON line of level info is what happened in good health, however long ago; of another one its event is told.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - _LOOKED_AT))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    told = [said for line in text.splitlines() if (said := _trouble(line.strip()))]
    return " | ".join(told[-lines:])[-500:]


def _trouble(line: str) -> str:
    """What a line says of trouble; empty for one that tells of none."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict) or "event" not in said:
        return line
    if str(said.get("level")) in _WELL:
        return ""
    return f"{said['event']}{f': {error}' if (error := said.get('error')) else ''}"
