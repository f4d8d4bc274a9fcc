"""JUnit XML as test runners write it (there is no standard; this reads what they have in common), from a hostile hand.

Read by Expat event by event, so that memory does not grow with the file; a document type is refused, and with it every
entity that could explode; size and depth are bounded.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from xml.parsers import expat

from app.domain.tested import MOST_NAMES, TestCounts, name_of

LARGEST = 32 * 1024 * 1024
DEEPEST = 64
MOST_FILES = 200
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
USUAL_PLACES = (
    "junit.xml",
    "report.xml",
    "reports/*.xml",
    "test-results/**/*.xml",
    "target/surefire-reports/*.xml",
    "build/test-results/**/*.xml",
)


class ReportInvalid(ValueError):
    """A file that is no JUnit XML, or more of it than is read; one sentence."""


def read_report(path: Path) -> TestCounts:
    """Raises ReportInvalid, and OSError for a file that cannot be read (a link is none)."""
    with os.fdopen(os.open(path, _OLD_FILE), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ReportInvalid("is no file")
        if status.st_size > LARGEST:
            raise ReportInvalid(f"has more than {LARGEST // 1024**2} MiB")
        reading = _Reading()
        try:
            reading.parser.ParseFile(file)
        except expat.ExpatError as error:
            raise ReportInvalid(f"is no XML: {error}") from None
    return reading.counts()


def find_reports(tree: Path, pattern: str | None) -> list[Path]:
    """Files of the pattern, or in the usual places, at most MOST_FILES, in order. No link is followed."""
    found: set[Path] = set()
    for each in (pattern,) if pattern else USUAL_PLACES:
        for path in tree.glob(each):
            if path.is_file() and not _through_link(path, tree):
                found.add(path)
            if len(found) >= MOST_FILES:
                break
    return sorted(found)


def _through_link(path: Path, tree: Path) -> bool:
    while path != tree:
        if path.is_symlink():
            return True
        path = path.parent
    return False


class _Reading:
    """Counts `testcase` elements; `failure`, `error` and `skipped` within them say how each ended."""

    def __init__(self) -> None:
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
        self._total += 1
        self._skipped += self._ended == "skipped"
        if self._ended == "failed":
            self._failed += 1
            if len(self._failing) < MOST_NAMES:
                self._failing.append(self._case)
        self._case = None

    def _refuse_doctype(self, *_: object) -> None:
        raise ReportInvalid("has a document type, which no test report needs")
