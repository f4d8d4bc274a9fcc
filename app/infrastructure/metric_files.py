"""The files in which processes count (prometheus_client's multi-process mode), and what becomes of those of the dead.

One process writes to each file. What a dead one counted must go on counting, or sums would fall; but its file must
go, or there would be one for every process that ever lived. So its counters and histograms are added into one file
for all the dead, and its gauges go.

Kind of lock: flock on a file of the folder, shared by those who read and exclusive for who folds; it ends with its
process. A fold that is cut (kill -9, a full disk) is finished or forgotten by the next: the sums are written to a
file of their own, then the names of what they hold, and only then do they take the old sums' place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLD_EVERY = 30.0
"""Seconds between two looks of one process for the dead."""
_SMALLEST = 8  # bytes; a file that was opened a moment ago has none yet
_NAME = re.compile(r"(counter|histogram|gauge_[a-z]+)_(\d+)\.db")
_SUMMED = ("counter", "histogram")

_looked: dict[Path, float] = {}
_looking = threading.Lock()


class MetricFiles(Collector):
    """All that the processes of one folder have counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        if _due(self._folder):
            with contextlib.suppress(OSError):  # a full disk: another time
                fold(self._folder)
        with _locked(self._folder, fcntl.LOCK_SH):
            files = [str(file) for file in self._folder.glob("*.db") if _size(file) >= _SMALLEST and not _left(file)]
            metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
            return metrics


def _due(folder: Path) -> bool:
    with _looking:
        now = time.monotonic()
        if now - _looked.get(folder, -FOLD_EVERY) < FOLD_EVERY:
            return False
        _looked[folder] = now
        return True


def fold(folder: Path) -> None:
    """Take in the files of processes that have died. Nothing while somebody reads or folds; raises OSError."""
    with contextlib.suppress(BlockingIOError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in _SUMMED:
            _Sums(folder, kind).finish()
        dead = [(file, kind) for file, kind, pid in _files(folder) if not _lives(pid)]
        for kind in _SUMMED:
            _Sums(folder, kind).add([file for file, of in dead if of == kind])
        for file, kind in dead:
            if kind.startswith("gauge"):
                file.unlink(missing_ok=True)


class _Sums:
    """What all dead processes have counted, of one type of metric."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._sums = folder / f"{kind}_dead.db"
        self._new = folder / f"{kind}_dead.new"
        self._names = folder / f"{kind}_dead.names"

    def add(self, files: list[Path]) -> None:
        if not files:
            return
        known = [self._sums] if self._sums.exists() else []
        self._write([*known, *files])
        draft = self._names.with_suffix(".draft")
        draft.write_text("\n".join(file.name for file in files))
        draft.rename(self._names)
        self.finish()

    def finish(self) -> None:
        """With names written, the new sums hold all that is named; without, they may be half of it."""
        if not self._names.exists():
            self._new.unlink(missing_ok=True)
            return
        if self._new.exists():
            self._new.rename(self._sums)
        for name in self._names.read_text().splitlines():
            (self._folder / name).unlink(missing_ok=True)
        self._names.unlink()

    def _write(self, files: list[Path]) -> None:
        values: dict[str, float] = defaultdict(float)
        for file in files:
            if _size(file) >= _SMALLEST:
                for key, value, _time, _place in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
                    values[key] += value
        self._new.unlink(missing_ok=True)
        new = MmapedDict(str(self._new))  # type: ignore[no-untyped-call]
        for key, value in values.items():
            new.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
        new.close()  # type: ignore[no-untyped-call]


def _files(folder: Path) -> Iterator[tuple[Path, str, int]]:
    for file in folder.glob("*.db"):
        match = _NAME.fullmatch(file.name)
        if match is not None:
            yield file, match[1], int(match[2])


def _left(file: Path) -> bool:
    """Whether it is a gauge of a process that is gone: a state that no longer is."""
    match = _NAME.fullmatch(file.name)
    return match is not None and match[1].startswith("gauge") and not _lives(int(match[2]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Raises BlockingIOError where it may not wait."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
