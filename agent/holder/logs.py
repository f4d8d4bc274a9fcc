"""Log files of processes: appended to by them, cut in place by us, so that they stay bounded and nobody reopens."""

from __future__ import annotations

import os
from pathlib import Path

_KEEP = 0.5  # of the limit
_READ = 4 * 1024 * 1024
_MOST_READS = 16


def cut(path: Path, limit: int) -> bool:
    """Keeps the newest half of `limit` bytes of a file that has grown over `limit`, from the start of a line on.

    The writers have it open with O_APPEND, so they go on at the new end. What they write between our last read and the
    truncation is lost; reading on until nothing more comes keeps that to microseconds. True when it was cut. A file
    that does not exist or a full disk is no error here (truncating frees space first).
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        if size <= limit:
            return False
        keep = int(limit * _KEEP)
        tail = bytearray()
        position = size - keep
        for _ in range(_MOST_READS):  # it may write faster than we read
            chunk = os.pread(fd, _READ, position)
            if not chunk:
                break
            tail += chunk
            position += len(chunk)
            del tail[: -2 * keep]
        os.ftruncate(fd, 0)
        start = tail.find(b"\n") + 1
        os.write(fd, memoryview(tail)[start:])
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
