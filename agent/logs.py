"""What modules and hooks say: files opened with O_APPEND, cut in place, read from their end, and followed.

No pipe of ours is between a module and its log, so the death of agent or holder never blocks or kills a writer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

TAIL = 4096  # bytes of an operation's `outputTail`
CHUNK = 65536
POLL = 0.2  # seconds between two looks at a file that is followed
STILL_HERE, QUIET = b"\0", 4.0  # what a follower gets after so many seconds in which nothing was added


def size_of(file: Path) -> int:
    """Its length in bytes, 0 if there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def newest(file: Path, count: int, since: int = 0) -> bytes:
    """The last `count` bytes of a file, none from before the offset `since` unless it was cut meanwhile."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(size - count, since if since <= size else 0)
            stream.seek(max(start, 0))
            return stream.read(count)
    except FileNotFoundError:
        return b""


def tail(file: Path, since: int = 0) -> str:
    """The last 4 KB as text, as results carry it."""
    return as_tail(newest(file, TAIL, since).decode("utf-8", "replace"))


def as_tail(text: str) -> str:
    """At most the last 4 KB (in UTF-8) of a text, without null bytes, which JSON stores refuse."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace")[-TAIL:].decode("utf-8", "ignore")


def cut(file: Path, largest: int) -> bool:
    """Keep a log bounded: over `largest` bytes its content moves to `<name>.1` and the file starts anew, in place.

    Writers have it open with O_APPEND and go on at the new start. What is written between copy and cut is lost.
    """
    if size_of(file) <= largest:
        return False
    shutil.copyfile(file, file.with_name(f"{file.name}.1"))
    os.truncate(file, 0)
    return True


async def follow(current: Callable[[], Path], count: int) -> AsyncGenerator[bytes, None]:
    """The newest `count` bytes and then what is added, for as long as the reader stays.

    `current` names the file each time: after a swap the log of the new active side goes on. A null byte comes while a
    module is quiet: without it nobody between here and the reader would ever learn that the other has left.
    """
    file = current()
    first = newest(file, count)
    position = size_of(file)
    yield first
    said = time.monotonic()
    while True:
        await asyncio.sleep(POLL)
        now = current()
        if now != file:
            file, position = now, 0
        size = size_of(file)
        if size < position:
            position = 0
        while position < size:
            added = await asyncio.to_thread(_read, file, position, min(CHUNK, size - position))
            if not added:
                break
            position += len(added)
            yield added
            said = time.monotonic()
        if time.monotonic() - said >= QUIET:
            yield STILL_HERE
            said = time.monotonic()


def _read(file: Path, position: int, count: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(position)
        return stream.read(count)
