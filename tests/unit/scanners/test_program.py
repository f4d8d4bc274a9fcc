"""The program as a whole: trees that are hostile, and what it says of what it could not do."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from app.infrastructure.scanners.inside import manifests, program, walking
from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.inside.program import look, main
from app.infrastructure.scanners.inside.reading import TooSlow, at_most, read_bytes
from app.infrastructure.scanners.inside.walking import FoundFile
from app.infrastructure.scanners.report import LeftOut, Reason, Report, report_json
from tests.unit.scanners.looked_at import found, left_out, looked_at, made


def test_links_pipes_and_names_that_are_not_utf_8(tmp_path: Path) -> None:
    tree = made(tmp_path, {"a.py": "eval(x)\n"})
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "round").symlink_to(".")
    os.mkfifo(tree / "pipe")
    Path(os.fsdecode(os.fsencode(tree) + b"/odd\xff\n.py")).write_text("eval(x)\n")
    report = looked_at(tree, {})
    assert found(report, "bandit.B307") == [
        ("bandit.B307", "medium", "a.py", 1),
        ("bandit.B307", "medium", "odd\\xff .py", 1),
    ]
    assert left_out(report, Reason.LINK) == LeftOut(Reason.LINK, 2, "link")
    assert left_out(report, Reason.SPECIAL) == LeftOut(Reason.SPECIAL, 1, "pipe")


def test_folders_are_looked_into_to_some_depth(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * (walking.DEEPEST + 1))
    deep.mkdir(parents=True)
    (deep / "below.py").write_text("eval(x)\n")
    (deep.parent / "last.py").write_text("eval(x)\n")
    report = looked_at(tmp_path, {})
    assert [str(each[2]).rpartition("/")[2] for each in found(report, "bandit.")] == ["last.py"]
    assert left_out(report, Reason.DEEP) is not None


def test_files_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "MOST_FILES", 5)
    report = looked_at(tmp_path, {f"f{number}.txt": "x" for number in range(9)})
    assert report.files == 5
    assert left_out(report, Reason.MANY_FILES) == LeftOut(Reason.MANY_FILES, 1, "f5.txt")


def test_a_tree_that_is_not_there_is_no_clean_tree(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "none", time.monotonic() + 10, lambda _place: None)


def test_what_the_time_did_not_suffice_for_is_said(tmp_path: Path) -> None:
    report = looked_at(tmp_path, {"a.py": "x", "b.py": "y"}, seconds=0)
    assert left_out(report, Reason.TIME) == LeftOut(Reason.TIME, 6, "a.py (packages)")


def test_one_file_has_its_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression that would run for hours is interrupted, and the files after it have their turn."""
    monkeypatch.setattr(program, "SECONDS_FOR_ONE", 0.3)

    def backtrack(file: FoundFile, _gathering: Gathering) -> None:
        if file.base == "a.txt":
            re.match(r"(a*)*b", "a" * 200)

    monkeypatch.setattr(program, "look_for_packages", backtrack)
    report = looked_at(tmp_path, {"a.txt": "x", "b.py": "eval(x)\n"})
    assert left_out(report, Reason.SLOW) == LeftOut(Reason.SLOW, 1, "a.txt")
    assert [each[2] for each in found(report, "bandit.")] == ["b.py"]


def test_whatever_a_parser_throws_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_text: str) -> list[object]:
        raise AttributeError("'NoneType' object has no attribute 'x'")

    monkeypatch.setitem(manifests._BY_NAME, "poetry.lock", broken)
    report = looked_at(tmp_path, {"poetry.lock": "", "requirements.txt": "a==1"})
    assert left_out(report, Reason.BROKEN) == LeftOut(Reason.BROKEN, 1, "poetry.lock")
    assert len(report.components) == 1
    assert "AttributeError" in capsys.readouterr().err


def test_what_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may be root, who can read everything: so a file goes away once it is listed."""
    monkeypatch.setattr(program, "look_for_packages", lambda _file, _gathering: (tmp_path / "b.txt").unlink())
    report = looked_at(tmp_path, {"a.txt": "x", "b.txt": "y"})
    assert left_out(report, Reason.UNREADABLE) == LeftOut(Reason.UNREADABLE, 2, "b.txt")


def test_files_that_are_too_large(tmp_path: Path) -> None:
    for name in ("large.py", "large.txt", "package-lock.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(40 * 1024 * 1024)
    assert left_out(looked_at(tmp_path, {}), Reason.LARGE) == LeftOut(Reason.LARGE, 5, "package-lock.json")


def test_a_file_that_becomes_a_pipe_does_not_hold_the_program_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(tmp_path / "pipe", 10)


def test_too_slow_passes_through_what_catches_exceptions() -> None:
    with pytest.raises(TooSlow), at_most(0.05):
        while True:
            try:
                sum(range(1000))
            except Exception:
                pytest.fail("it was caught")


def test_the_same_tree_gives_the_same_report(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{name}/app.py": "eval(x)\npassword = 'abc-Def-12'\n" for name in "dbca"}
    files |= {"requirements.txt": "b==1\na==1\n", "x/requirements.txt": "a==1\n", "y.png": b"\0"}
    one: Report = looked_at(tmp_path / "one", files)
    other: Report = looked_at(tmp_path / "two", dict(reversed(files.items())))
    assert report_json(one) == report_json(other)


def test_the_program_writes_its_report_whole_and_says_where_it_is(tmp_path: Path) -> None:
    tree = made(tmp_path / "tree", {"a.py": "eval(x)\n"})
    main([os.fspath(tree), os.fspath(tmp_path / "report"), "30"])
    assert json.loads((tmp_path / "report").read_text())["files"] == 1
    assert (tmp_path / "report.at").read_bytes().partition(b"\n")[0] == b"a.py (Python code)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.at", "tree"]
