"""Tables, cells, and what must not reach a terminal."""

from __future__ import annotations

import io

import pytest

from app.cli.configuration import OutputFormat
from app.cli.durations import clock, seconds_of, wire_seconds
from app.cli.errors import ReaderGone, UsageProblem
from app.cli.output import Coloured, Output, clean, fields, one_line, table


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain\ttext\nlines\r\n", "plain\ttext\nlines\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGk=\x1b\\after", "after"),
        ("a\x08b\x00c\x7fd\x9be", "abcde"),
        ("\x1bc", ""),
        ("\u00e9 \U0001f600", "\u00e9 \U0001f600"),
    ],
)
def test_control_characters_are_taken_out(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_cells() -> None:
    assert [one_line(value) for value in (None, "", True, 0, " a\nb ")] == ["-", "-", "yes", "0", "a b"]


def test_tables_line_up_and_fit() -> None:
    rows = [("a", 1, "short"), ("longer", None, "x" * 100)]
    assert table(("NAME", "N", "TEXT"), rows)[:2] == ["NAME    N  TEXT", "a       1  short"]
    narrow = table(("NAME", "N", "TEXT"), rows, 40)
    assert max(map(len, narrow)) == 40
    assert narrow[2].endswith("…")
    assert narrow[1].endswith("short")


def test_colours_do_not_move_columns() -> None:
    rows = [(Coloured("\x1b[32mok\x1b[0m"), "x"), ("longer", "y")]
    assert table(("S", "V"), rows) == ["S       V", "\x1b[32mok\x1b[0m      x", "longer  y"]


def test_only_our_own_colours_are_kept() -> None:
    foreign = "\x1b]0;owned\x07\x1b[31mhost"
    assert table(("H",), [(foreign,)]) == ["H", "host"]
    assert fields([("host", foreign)]) == ["host  host"]


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("name", "a"), ("longer", 0), ("none", None)]) == ["name    a", "longer  0"]


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_is_gone_ends_the_command() -> None:
    with pytest.raises(ReaderGone):
        Output(OutputFormat.TEXT, Closed(), io.StringIO()).line("text")


def test_a_pipe_gets_no_colours_and_everything_whole() -> None:
    output = Output(OutputFormat.TEXT, io.StringIO(), io.StringIO())
    assert output.status("Failed") == "Failed"
    assert output.width() > 10_000
    assert not output.live


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("45m", 2700), ("1h30m", 5400), ("0.5s", 0.5), ("250ms", 0.25), ("01:30:00", 5400)],
)
def test_durations_that_people_type(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "soon", "5 m", "m", "1e9", "nan", "5m3", "\u0665"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageProblem):
        seconds_of(text)


def test_durations_that_people_read() -> None:
    shown = [clock(seconds) for seconds in (-1, 0.04, 9.96, 59.9, 184, 7500, 273600)]
    assert shown == ["0.0s", "0.0s", "10.0s", "59s", "3m04s", "2h05m", "3d04h"]
    assert wire_seconds("00:01:30.250") == 90.25
    assert wire_seconds("30:00:00") == 108000
    assert wire_seconds(None) is None
