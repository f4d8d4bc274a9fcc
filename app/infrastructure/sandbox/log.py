"""The output of a run, in a file of bounded size: the first bytes and the last ones; what lies between is counted.

The file only ever grows, so that whoever follows it needs no knowledge of this: first the head as it comes, then, once
that is full, a line each time as much again was left out, and at the end one line and the tail.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from types import TracebackType

_FIRST_NOTE = 1024 * 1024


class BoundedLog:
    """Not for several threads. Memory: the tail and one piece, whatever is written."""

    def __init__(self, path: Path, head_bytes: int, tail_bytes: int) -> None:
        """Opens `path` anew; a link there is not followed. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._head_left = head_bytes
        self._tail_bytes = tail_bytes
        self._tail: deque[bytes] = deque()
        self._in_tail = 0
        self._next_note = _FIRST_NOTE
        self.total = 0
        self.left_out = 0

    def __enter__(self) -> BoundedLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, piece: bytes) -> None:
        """Takes the next bytes, whatever they are. Raises OSError when the disk of the log is full."""
        self.total += len(piece)
        head = piece[: self._head_left]
        if head:
            _write_all(self._file, head)
            self._head_left -= len(head)
        rest = piece[len(head) :]
        if rest:
            self._keep(rest)

    def close(self) -> None:
        """Writes what was kept of the end."""
        if self._file < 0:
            return
        try:
            if self.left_out:
                _write_all(self._file, f"\n... {size_text(self.left_out)} left out ...\n".encode())
            for piece in self._tail:
                _write_all(self._file, piece)
        finally:
            os.close(self._file)
            self._file = -1
            self._tail.clear()

    def _keep(self, piece: bytes) -> None:
        self._tail.append(piece)
        self._in_tail += len(piece)
        while self._in_tail > self._tail_bytes:
            excess = self._in_tail - self._tail_bytes
            oldest = self._tail.popleft()
            if len(oldest) > excess:
                self._tail.appendleft(oldest[excess:])
            dropped = min(excess, len(oldest))
            self._in_tail -= dropped
            self.left_out += dropped
        if self.left_out >= self._next_note:
            self._next_note = self.left_out * 2
            _write_all(self._file, f"\n... {size_text(self.left_out)} left out so far ...\n".encode())


def size_text(size: int) -> str:
    """812 MB, in powers of ten, rounded down to what is easily said."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"{size // factor} {unit}"
    return f"{size} bytes"


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
