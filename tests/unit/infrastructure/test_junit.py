"""JUnit XML from hostile hands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.domain.tested import MOST_NAMES, TestCounts, added
from app.infrastructure import junit
from app.infrastructure.junit import ReportInvalid, find_reports, read_report
from app.infrastructure.sandbox.removal import remove_tree

USUAL = """<?xml version="1.0"?>
<testsuites><testsuite name="s" tests="4">
  <testcase classname="tests.test_a" name="test_passes" time="0.1"/>
  <testcase classname="tests.test_a" name="test_fails"><failure message="no">assert</failure></testcase>
  <testcase classname="" name="test_errs"><error/><system-out>x</system-out></testcase>
  <testcase name="test_skipped"><skipped/></testcase>
</testsuite></testsuites>
"""


def report(tmp_path: Path, text: str | bytes) -> TestCounts:
    path = tmp_path / "junit.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_report(path)


def test_counts_and_failing_names(tmp_path: Path) -> None:
    counts = report(tmp_path, USUAL)
    assert counts == TestCounts(4, 2, 1, ("tests.test_a: test_fails", "test_errs"))
    assert counts.passed == 1
    assert counts.sentence() == "4 tests: 1 passed, 2 failed, 1 skipped (failed: tests.test_a: test_fails, test_errs)"


def test_names_are_bounded_and_all_are_counted(tmp_path: Path) -> None:
    case = f'<testcase name="{"n" * 5000}"><failure/></testcase>'
    counts = report(tmp_path, f"<testsuite>{case * 200}</testsuite>")
    assert counts.failed == 200
    assert len(counts.failing) == MOST_NAMES
    assert max(map(len, counts.failing)) == 300


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite name="&b;"/>', "document type"),
        ('<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite/>', "document type"),
        ("<html/>", "its root is 'html'"),
        ("", "no XML"),
        ("<testsuite><testcase>", "no XML"),
        (b"\xff\xfe\x00binary", "no XML"),
        ("<testsuite>" + "<testsuite>" * 100, "elements deep"),
    ],
)
def test_what_is_no_report_is_refused_by_name(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(ReportInvalid, match=complaint):
        report(tmp_path, text)


def test_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    with path.open("wb") as file:
        file.truncate(100 * 1024**2)
    with pytest.raises(ReportInvalid, match="more than 32 MiB"):
        read_report(path)


def test_neither_links_nor_pipes_are_read(tmp_path: Path) -> None:
    (tmp_path / "real.xml").write_text(USUAL)
    (tmp_path / "junit.xml").symlink_to("real.xml")
    os.mkfifo(tmp_path / "report.xml")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.xml").write_text(USUAL)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/reports").symlink_to(tmp_path / "outside")
    assert find_reports(tmp_path, None) == []
    assert find_reports(tmp_path / "tree", None) == []
    with pytest.raises(OSError, match="symbolic"):
        read_report(tmp_path / "junit.xml")
    with pytest.raises(ReportInvalid, match="no file"):
        read_report(tmp_path / "report.xml")


def test_the_usual_places_and_a_pattern(tmp_path: Path) -> None:
    for name in ("target/surefire-reports/TEST-a.xml", "test-results/deep/b.xml", "elsewhere/c.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(USUAL)
    assert [path.name for path in find_reports(tmp_path, None)] == ["TEST-a.xml", "b.xml"]
    assert [path.name for path in find_reports(tmp_path, "elsewhere/*.xml")] == ["c.xml"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.xml", ["a.xml", "deep/b.xml", "deep/er/c.xml", "deep/er/d1.xml"]),
        ("deep/**/?.xml", ["deep/b.xml", "deep/er/c.xml"]),
        ("*/*.xml", ["deep/b.xml"]),
        ("deep/e*/[cd]*.xml", ["deep/er/c.xml", "deep/er/d1.xml"]),
        ("**/er/**/**/c.xml", ["deep/er/c.xml"]),
        ("a.xml/*", []),
        ("../*.xml", []),
        ("/" + "**/*" * 40, []),
        ("**/" * 30 + "*" + "a*" * 100 + "b", []),
    ],
)
def test_patterns_are_those_of_a_shell_whatever_they_are(tmp_path: Path, pattern: str, names: list[str]) -> None:
    for name in ("a.xml", "deep/b.xml", "deep/er/c.xml", "deep/er/d1.xml", "a" * 250):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(USUAL)
    assert [os.fspath(path.relative_to(tmp_path)) for path in find_reports(tmp_path, pattern)] == names


def test_folders_that_cannot_be_read_or_named_raise_nothing(tmp_path: Path) -> None:
    """A test may leave any mode and any depth behind; what cannot be opened is a complaint of its reader."""
    (tmp_path / "junit.xml").write_text(USUAL)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.xml").write_text(USUAL)
    here = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("test-results", dir_fd=here)
    below = os.open("test-results", os.O_RDONLY, dir_fd=here)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=below)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = deeper
    os.close(below)
    os.close(here)
    code = (
        "import os, sys; from pathlib import Path; from app.infrastructure.junit import find_reports, read_report\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "for path in find_reports(Path.cwd(), None):\n"
        "    try: read_report(path); print(path.name, 'read')\n"
        "    except OSError as error: print(path.name, error.strerror)\n"
    )
    # Where the test is root, the reader is another user, to whom a mode means something.
    (tmp_path / "reports").chmod(0o444)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tmp_path.parent.parent.parent):
            folder.chmod(folder.stat().st_mode | 0o755)
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.fspath(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    assert told.stdout.splitlines() == ["junit.xml read", "a.xml Permission denied"], told.stderr
    remove_tree(tmp_path / "test-results")


def test_only_so_many_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit, "MOST_FILES", 3)
    (tmp_path / "reports").mkdir()
    for number in range(9):
        (tmp_path / f"reports/{number}.xml").write_text(USUAL)
    assert len(find_reports(tmp_path, None)) == 3


def test_reports_are_added_up() -> None:
    assert added([]) is None
    assert added([TestCounts(2, 1, 0, ("a",)), TestCounts(3, 1, 1, ("b",))]) == TestCounts(5, 2, 1, ("a", "b"))
