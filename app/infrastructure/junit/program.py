"""The program in the sandbox: finds reports in the folder that it is started in.

    start.py app.infrastructure.junit.program clear PATTERNS SECONDS     takes them away
    start.py app.infrastructure.junit.program read PATTERNS SECONDS      reads them

PATTERNS is a list in JSON, SECONDS of processor time are what it takes for reading. It answers with one line, in the
form of `answer`, on its output. Its parts fail file by file, and every total is bounded: files, bytes, cases, time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.domain.tested import TestCounts, added
from app.infrastructure.junit.answer import MOST_COMPLAINTS, Answer
from app.infrastructure.junit.finding import find_reports
from app.infrastructure.junit.parsing import ReportInvalid, open_report, read_report
from app.infrastructure.junit.patterns import Patterns

MOST_FILES = 200
MOST_BYTES = 128 * 1024 * 1024
MOST_CASES = 500_000


class TimeIsUp(Exception):
    """The time for reading is used up."""


def main(arguments: Sequence[str]) -> None:
    """Raises nothing for what is in the tree."""
    mode, patterns, seconds = arguments
    compiled = Patterns(json.loads(patterns))
    if mode == "clear":
        answer = clear(Path(), compiled)
    else:
        answer = Reading(Path(), time.process_time() + float(seconds)).all(compiled)
    sys.stdout.write(answer.dumps() + "\n")


def clear(tree: Path, patterns: Patterns) -> Answer:
    """Remove them all. Complaints name what stays."""
    complaints = Complaints()
    for name in list(find_reports(tree, patterns, complaints.add)):
        try:
            (tree / name).unlink()
        except OSError as error:
            complaints.add(f"{name} cannot be removed: {error.strerror}")
    return Answer(None, complaints.told())


class Reading:
    """`deadline` by the processor time of this process."""

    def __init__(self, tree: Path, deadline: float, clock: Callable[[], float] = time.process_time) -> None:
        self._tree = tree
        self._deadline = deadline
        self._clock = clock
        self._bytes_left = MOST_BYTES
        self._cases_left = MOST_CASES
        self._complaints = Complaints()

    def all(self, patterns: Patterns) -> Answer:
        counts: list[TestCounts] = []
        files = 0
        try:
            for name in find_reports(self._tree, patterns, self._complaints.add):
                self._look()
                files += 1
                if files > MOST_FILES:
                    self._complaints.add(f"there are more than {MOST_FILES} reports: those from {name} on are not read")
                    break
                if (count := self._tried(name)) is not None:
                    counts.append(count)
                    self._cases_left -= count.total
        except TimeIsUp:
            self._complaints.add("the time for reading is used up: not all reports are read")
        return Answer(added(counts), self._complaints.told())

    def _tried(self, name: str) -> TestCounts | None:
        try:
            with open_report(self._tree / name) as file:
                size = os.fstat(file.fileno()).st_size
                if size > self._bytes_left:
                    raise ReportInvalid(f"brings all reports to more than {MOST_BYTES // 1024**2} MiB")
                self._bytes_left -= size
                return read_report(file, self._cases_left, self._look)
        except ReportInvalid as invalid:
            self._complaints.add(f"{name} {invalid}")
        except OSError as error:
            self._complaints.add(f"{name} cannot be read: {error.strerror}")
        except TimeIsUp:
            self._complaints.add(f"{name} takes too long to read")
            raise
        # Whatever a parser or a codec throws at a hostile file costs that file, never the others.
        except Exception as error:
            self._complaints.add(f"{name} cannot be read: {type(error).__name__}: {error}")
        return None

    def _look(self) -> None:
        if self._clock() > self._deadline:
            raise TimeIsUp


class Complaints:
    """The first ones, and how many there are."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._more = 0

    def add(self, sentence: str) -> None:
        if len(self._first) < MOST_COMPLAINTS:
            self._first.append(sentence)
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        return (*self._first, *([f"and {self._more} more"] if self._more else []))
