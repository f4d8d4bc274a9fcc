"""Reading a stranger's file: bounded in bytes, text told from binary, and bounded in time."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# Longer manifests and lock files than this do not exist; a hostile one is left out, and said.
LONGEST_MANIFEST = 32 * 1024 * 1024
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_LOOKED_AT = 8192


class TooLarge(Exception):
    """A file of more bytes than its reader takes."""


class NotText(Exception):
    """A binary file."""


class TooSlow(BaseException):
    """One file took longer than its share. Not an Exception, so that no library's `except Exception` swallows it."""


def read_bytes(path: Path, most: int) -> bytes:
    """The whole content. Raises TooLarge, and OSError also for what is no regular file (any more)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLarge
    return content


def as_text(content: bytes) -> str:
    """UTF-8, or UTF-16 where a mark says so; what cannot be decoded is replaced. Raises NotText if it looks binary."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    if b"\0" in content[:_LOOKED_AT]:
        raise NotText
    return content.decode("utf-8", "replace")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TooSlow in the block once it has used so much processor time, so that a busy machine changes no report;
    regular expressions, too, are interrupted by it. For the main thread."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
