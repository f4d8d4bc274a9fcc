"""JUnit XML as test runners write it (there is no standard; this reads what they have in common), from a hostile hand.

Read by Expat event by event, so that memory does not grow with the file; a document type is refused, and with it every
entity that could explode; size, depth and number of cases are bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from app.domain.tested import MOST_NAMES, TestCounts, name_of

LARGEST = 32 * 1024 * 1024
DEEPEST = 64
# Large: older Expats look at a token again from its beginning with every piece that does not end it.
_PIECE = 1024 * 1024
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ReportInvalid(ValueError):
    """A file that is no JUnit XML, or more of it than is read; one sentence without its subject."""


def open_report(path: Path) -> BinaryIO:
    """Raises ReportInvalid, and OSError for a file that cannot be opened (a link is none)."""
    file = os.fdopen(os.open(path, _OLD_FILE), "rb")
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST:
        return file
    file.close()
    wrong = f"has more than {LARGEST // 1024**2} MiB" if stat.S_ISREG(status.st_mode) else "is no file"
    raise ReportInvalid(wrong)


def read_report(file: BinaryIO, most_cases: int, look: Callable[[], None] = lambda: None) -> TestCounts:
    """`look` is called between pieces, and may raise to end it. Raises ReportInvalid, OSError."""
    reading = _Reading(most_cases)
    try:
        while piece := file.read(_PIECE):
            look()
            reading.parser.Parse(piece, False)
        reading.parser.Parse(b"", True)
    except ReportInvalid:
        raise
    # The latter two: of an encoding that Python does not know, or that Expat cannot take from it.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise ReportInvalid(f"is no XML: {error}") from None
    return reading.counts()


class _Reading:
    """Counts `testcase` elements; `failure`, `error` and `skipped` within them say how each ended."""

    def __init__(self, most_cases: int) -> None:
        self._most_cases = most_cases
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._depth = 0
        self._case: str | None = None
        self._ended = "passed"
        self._total = self._failed = self._skipped = 0
        self._failing: list[str] = []

    def counts(self) -> TestCounts:
        return TestCounts(self._total, self._failed, self._skipped, tuple(self._failing))

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ReportInvalid(f"is more than {DEEPEST} elements deep")
        if self._depth == 1 and name not in ("testsuites", "testsuite"):
            raise ReportInvalid(f"is no JUnit XML: its root is {name[:40]!r}")
        if name == "testcase":
            self._case = name_of(attributes.get("classname", ""), attributes.get("name", "?"))
            self._ended = "passed"
        elif self._case is not None and name in ("failure", "error"):
            self._ended = "failed"
        elif self._case is not None and name == "skipped" and self._ended == "passed":
            self._ended = "skipped"

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name != "testcase" or self._case is None:
            return
        if self._total >= self._most_cases:
            raise ReportInvalid("brings more test cases than are counted")
        self._total += 1
        self._skipped += self._ended == "skipped"
        if self._ended == "failed":
            self._failed += 1
            if len(self._failing) < MOST_NAMES:
                self._failing.append(self._case)
        self._case = None

    def _refuse_doctype(self, *_: object) -> None:
        raise ReportInvalid("has a document type, which no test report needs")
