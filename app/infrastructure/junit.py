"""JUnit XML as test runners write it (there is no standard; this reads what they have in common), from a hostile hand.

Read by Expat event by event, so that memory does not grow with the file; a document type is refused, and with it every
entity that could explode; size and depth are bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from xml.parsers import expat

from app.domain.tested import MOST_NAMES, TestCounts, name_of

LARGEST = 32 * 1024 * 1024
DEEPEST = 64
MOST_FILES = 200
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ANY_FOLDERS = "**"
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
    """Files of the pattern, or in the usual places, at most MOST_FILES of each, in order. No link is followed, and a
    folder that cannot be read, or is too deep to be named, holds none: the tree is a stranger's, so nothing is raised.
    """
    found: set[Path] = set()
    for each in (pattern,) if pattern else USUAL_PLACES:
        found.update(islice(_matching(tree, each.split("/")), MOST_FILES))
    return sorted(found)[:MOST_FILES]


def remove_reports(tree: Path, pattern: str | None) -> None:
    """All of them, before tests run: what counts is what these write. One that cannot be removed is no report either:
    its name is longer than any that can be opened."""
    for each in (pattern,) if pattern else USUAL_PLACES:
        for path in list(_matching(tree, each.split("/"))):
            with suppress(OSError):
                path.unlink()


def _matching(tree: Path, parts: list[str]) -> Iterator[Path]:
    """`**` stands for any number of folders, as in Path.glob, which raises where this goes on.

    Each folder is visited with the places in the pattern where it may stand, so that the time does not grow with what
    a pattern (a stranger's as well) could match in how many ways.
    """
    waiting = [(tree, _with_what_follows({0}, parts))]
    while waiting:
        folder, places = waiting.pop()
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                if below := _below(entry.name, places, parts):
                    waiting.append((folder / entry.name, below))
            elif entry.is_file(follow_symlinks=False) and _ends(entry.name, places, parts):
                yield folder / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _below(name: str, places: set[int], parts: list[str]) -> set[int]:
    """Where in the pattern one may stand in a folder of that name; nothing: nowhere."""
    last = len(parts) - 1
    steps = {at if parts[at] == _ANY_FOLDERS else at + 1 for at in places if at < last and _fits(name, parts[at])}
    return _with_what_follows(steps, parts)


def _with_what_follows(places: set[int], parts: list[str]) -> set[int]:
    """With those behind each `**`, which may stand for no folder at all."""
    found = set(places)
    for at, part in enumerate(parts):
        if at in found and part == _ANY_FOLDERS:
            found.add(at + 1)
    return found


def _ends(name: str, places: set[int], parts: list[str]) -> bool:
    last = len(parts) - 1
    return last in places and _fits(name, parts[last])


def _fits(name: str, part: str) -> bool:
    return part == _ANY_FOLDERS or fnmatchcase(name, part)


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
