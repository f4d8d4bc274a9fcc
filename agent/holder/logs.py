"""Log files of processes: appended to by them, cut in place by us, so that they stay bounded and nobody reopens."""

from __future__ import annotations

import os
from pathlib import Path

_KEEP = 0.5  # of the limit
_READ = 4 * 1024 * 1024
_MOST_READS = 16


def cut(path: Path, limit: int) -> bool:
    """Keeps the newest half of `limit` bytes of a file that has grown over `limit`, from the start of a line on.

    The writers have it open with O_APPEND, so they go on at the new end. The tail is copied to the front, what has been
    added meanwhile behind it, and the rest cut off: only what is written in the microseconds between our last read and
    the truncation is lost, and a full disk is no obstacle. True when it was cut; a file that cannot be opened is none
    of ours.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        if size <= limit:
            return False
        read = size - int(limit * _KEEP)
        written = 0
        for _ in range(_MOST_READS):  # it may write faster than we read
            chunk = os.pread(fd, _READ, read)
            if not chunk:
                break
            read += len(chunk)
            if written == 0:
                chunk = chunk[chunk.find(b"\n") + 1 :]
            written += os.pwrite(fd, chunk, written)
        os.ftruncate(fd, written)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
