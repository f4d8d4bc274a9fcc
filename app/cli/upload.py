"""An archive on its way: what is read of it is told to somebody who shows progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from app.cli.output import Output

Progress = Callable[[int], None]  # bytes sent so far
_MEGABYTE = 1_000_000
_WORTH_A_BAR = 2 * _MEGABYTE


class Told:
    """A binary file that tells how far it has been read. httpx asks for its length with seek and tell."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._progress(self._file.tell())
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(64 * 1024):
            yield chunk


@contextmanager
def progress(output: Output, total: int, what: str) -> Iterator[Progress]:
    """A bar on a terminal for what takes a while, nothing else; it is on stderr, and gone afterwards."""
    if not output.live or not output.err.isatty() or total < _WORTH_A_BAR:
        yield lambda _sent: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=output.err), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda sent: bar.update(task, completed=sent)


def shown_size(count: int) -> str:
    """`740 B`, `1.3 MB`."""
    if count < 1000:
        return f"{count} B"
    if count < _MEGABYTE:
        return f"{count / 1000:.1f} kB"
    return f"{count / _MEGABYTE:.1f} MB"
