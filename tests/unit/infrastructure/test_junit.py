"""Reports of tests from hostile hands: patterns, trees, and JUnit XML."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from encodings.aliases import aliases
from pathlib import Path

import pytest

from app.domain.tested import MOST_NAMES, TestCounts, added
from app.infrastructure.junit import finding, parsing, patterns, program
from app.infrastructure.junit.answer import LONGEST, Answer, AnswerInvalid, parse_answer
from app.infrastructure.junit.finding import find_reports
from app.infrastructure.junit.parsing import ReportInvalid, open_report, read_report
from app.infrastructure.junit.patterns import Patterns
from app.infrastructure.junit.program import Reading, clear
from app.infrastructure.junit.reading import USUAL_PLACES
from app.infrastructure.sandbox.removal import remove_tree

USUAL = """<?xml version="1.0"?>
<testsuites><testsuite name="s" tests="4">
  <testcase classname="tests.test_a" name="test_passes" time="0.1"/>
  <testcase classname="tests.test_a" name="test_fails"><failure message="no">assert</failure></testcase>
  <testcase classname="" name="test_errs"><error/><system-out>x</system-out></testcase>
  <testcase name="test_skipped"><skipped/></testcase>
</testsuite></testsuites>
"""


def report(text: str | bytes, most_cases: int = 10_000) -> TestCounts:
    return read_report(io.BytesIO(text.encode() if isinstance(text, str) else text), most_cases)


def found(tree: Path, *asked: str) -> tuple[list[str], list[str]]:
    complaints: list[str] = []
    return sorted(find_reports(tree, Patterns(asked or USUAL_PLACES), complaints.append)), complaints


def put(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(USUAL)


def read(tree: Path, *asked: str, seconds: float = 60) -> Answer:
    return Reading(tree, seconds, Clock()).all(Patterns(asked or USUAL_PLACES))


class Clock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_counts_and_failing_names() -> None:
    counts = report(USUAL)
    assert counts == TestCounts(4, 2, 1, ("tests.test_a: test_fails", "test_errs"))
    assert counts.passed == 1
    assert counts.sentence() == "4 tests: 1 passed, 2 failed, 1 skipped (failed: tests.test_a: test_fails, test_errs)"


def test_names_are_bounded_and_all_are_counted() -> None:
    case = f'<testcase name="{"n" * 5000}"><failure/></testcase>'
    counts = report(f"<testsuite>{case * 200}</testsuite>")
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
        ('<?xml version="1.0" encoding="utf-7-x"?><testsuite/>', "no XML: unknown encoding"),
        ("<testsuite>" + "<testcase/>" * 10_001 + "</testsuite>", "more test cases"),
    ],
)
def test_what_is_no_report_is_refused_by_name(text: str | bytes, complaint: str) -> None:
    with pytest.raises(ReportInvalid, match=complaint):
        report(text)


def test_whatever_encoding_a_report_names_costs_that_report_alone(tmp_path: Path) -> None:
    names = sorted({*aliases, *aliases.values(), "undefined", "idna", "punycode", "../x", "raw_unicode_escape"})
    put(tmp_path, "sound.xml")
    for name in names:
        text = f'<?xml version="1.0" encoding="{name}"?><testsuite><testcase/></testsuite>'
        (tmp_path / "odd.xml").write_text(text)
        counts = read(tmp_path, "*.xml").counts
        assert counts is not None
        assert counts.total in (4, 5), name


def test_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    with path.open("wb") as file:
        file.truncate(100 * 1024**2)
    assert read(tmp_path) == Answer(None, ("junit.xml has more than 32 MiB",))


def test_neither_links_nor_pipes_are_read(tmp_path: Path) -> None:
    put(tmp_path, "real.xml", "outside/a.xml")
    (tmp_path / "junit.xml").symlink_to("real.xml")
    os.mkfifo(tmp_path / "report.xml")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/reports").symlink_to(tmp_path / "outside")
    assert found(tmp_path) == ([], [])
    assert found(tmp_path / "tree") == ([], [])
    with pytest.raises(OSError, match="symbolic"):
        open_report(tmp_path / "junit.xml")
    with pytest.raises(ReportInvalid, match="no file"):
        open_report(tmp_path / "report.xml")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.xml", ["a.xml", "deep/b.xml", "deep/er/c.xml", "deep/er/d1.xml"]),
        ("deep/**/?.xml", ["deep/b.xml", "deep/er/c.xml"]),
        ("./*/*.xml", ["deep/b.xml"]),
        ("deep/e*/[cd]*.xml", ["deep/er/c.xml", "deep/er/d1.xml"]),
        ("**/er/**/**/c.xml", ["deep/er/c.xml"]),
        ("**b.xml", []),
        ("deep/**b.xml", ["deep/b.xml"]),
        ("a.xml/*", []),
        ("../*.xml", []),
        ("**", []),
        (".", []),
        ("[", []),
        ("**/" * 30 + "*" + "a*" * 100 + "b", []),
    ],
)
def test_patterns_are_those_of_a_shell_whatever_they_are(tmp_path: Path, pattern: str, names: list[str]) -> None:
    put(tmp_path, "a.xml", "deep/b.xml", "deep/er/c.xml", "deep/er/d1.xml", "a" * 250)
    assert found(tmp_path, pattern) == (names, [])


def test_the_usual_places(tmp_path: Path) -> None:
    put(tmp_path, "target/surefire-reports/TEST-a.xml", "test-results/deep/b.xml", "elsewhere/c.xml")
    assert found(tmp_path) == (["target/surefire-reports/TEST-a.xml", "test-results/deep/b.xml"], [])


@pytest.mark.parametrize("pattern", ["**/" * 7 + "*.xml", "**/d/" * 40 + "*.xml", "**/*/" * 40 + "x"])
def test_each_folder_is_listed_once_and_each_name_held_against_a_part_once(
    tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What took a pattern of seven `**` in a chain of 150 folders longer than anybody waits."""
    (tmp_path / "/".join(["d"] * 150)).mkdir(parents=True)
    listed: list[str] = []
    fitted: list[str] = []
    entries, compiled = finding._entries, patterns._compiled

    def listing(tree: Path, folder: str, most: int, complain: finding.Complain) -> list[os.DirEntry[str]]:
        listed.append(folder)
        return entries(tree, folder, most, complain)

    def compiling(part: str) -> patterns.Fits:
        fits = compiled(part)

        def counted(name: str) -> object:
            fitted.append(name)
            return fits(name)

        return counted

    monkeypatch.setattr(finding, "_entries", listing)
    monkeypatch.setattr(patterns, "_compiled", compiling)
    names, complaints = found(tmp_path, pattern)
    assert names == []
    assert len(listed) == len(set(listed)) <= finding.DEEPEST + 1
    assert len(fitted) <= 2 * len(listed), "two different parts at most"
    assert len(complaints) == 1
    assert complaints[0].endswith("more than 100 folders deep")


def test_only_so_many_entries_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST_ENTRIES", 5)
    put(tmp_path, *(f"reports/{number}.xml" for number in range(9)))
    names, complaints = found(tmp_path)
    assert len(names) <= 5
    assert complaints == ["more than 5 files and folders are not looked through"]


def test_folders_too_deep_to_be_named_are_told(tmp_path: Path) -> None:
    put(tmp_path, "a.xml")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    names, complaints = found(tmp_path, "**/*.xml")
    assert names == ["a.xml"]
    assert len(complaints) == 1
    assert "cannot be looked into: File name too long" in complaints[0]
    remove_tree(tmp_path / ("d" * 200))


@pytest.mark.parametrize(
    ("limit", "value", "total", "complaint"),
    [
        ("MOST_FILES", 3, 12, "there are more than 3 reports: those from reports/3.xml on are not read"),
        ("MOST_BYTES", 3 * len(USUAL), 12, "reports/3.xml brings all reports to more than 0 MiB"),
        ("MOST_CASES", 13, 12, "reports/3.xml brings more test cases than are counted"),
    ],
)
def test_all_reports_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, total: int, complaint: str
) -> None:
    monkeypatch.setattr(program, limit, value)
    put(tmp_path, *(f"reports/{number}.xml" for number in range(9)))
    answer = read(tmp_path)
    assert answer.counts is not None
    assert answer.counts.total == total
    assert answer.complaints[0] == complaint


def test_the_time_is_bounded_and_what_was_read_counts(tmp_path: Path) -> None:
    put(tmp_path, *(f"reports/{number}.xml" for number in range(9)))
    answer = read(tmp_path, seconds=7)
    assert answer.counts is not None
    assert 4 <= answer.counts.total < 36
    assert answer.complaints[-1] == "the time for reading is used up: not all reports are read"


def test_the_first_complaints_are_told_and_all_are_counted(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path, f"reports/{number:02}.xml")
        (tmp_path / f"reports/{number:02}.xml").write_text("no")
    answer = read(tmp_path)
    assert len(answer.complaints) == 11
    assert answer.complaints[-1] == "and 20 more"


def test_those_from_before_are_taken_away(tmp_path: Path) -> None:
    put(tmp_path, "junit.xml", "reports/a.xml", "reports/a.txt")
    assert clear(tmp_path, Patterns(USUAL_PLACES)) == Answer()
    assert found(tmp_path, "**/*") == (["reports/a.txt"], [])


def test_an_answer_comes_back_as_it_was_and_fits() -> None:
    full = Answer(TestCounts(9999, 60, 1, ("\U0001f600" * 300,) * MOST_NAMES), ("\U0001f600" * 300,) * 11)
    assert parse_answer(full.dumps().encode()) == full
    assert len(full.dumps()) < LONGEST
    assert parse_answer(Answer(None, ("a\0b\udcff",)).dumps().encode()) == Answer(None, ("a\\x00b\\xff",))


def _wrong() -> Iterator[bytes]:
    yield from (b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"{}")
    for counts in ([1], [1, 2, 0, []], [-1, 0, 0, []], [True, 0, 0, []], [1, 0, 0, ["a"]], [1, 1, 0, ["a" * 301]], 7):
        yield json.dumps({"counts": counts, "complaints": []}).encode()
    for complaints in (["a"] * 12, [1], "a", ["a" * 301]):
        yield json.dumps({"counts": None, "complaints": complaints}).encode()


@pytest.mark.parametrize("line", list(_wrong()))
def test_an_answer_is_a_strangers_word(line: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        parse_answer(line)


def test_reports_are_added_up() -> None:
    assert added([]) is None
    assert added([TestCounts(2, 1, 0, ("a",)), TestCounts(3, 1, 1, ("b",))]) == TestCounts(5, 2, 1, ("a", "b"))


def test_a_report_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_PIECE", 7)
    assert report(USUAL).total == 4
