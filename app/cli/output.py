"""What is printed: results to stdout, everything said about them to stderr.

As text for people, or as JSON: one document for each command, one line for each event of a watch. Texts that come from
elsewhere (a module's output, a host's name) lose their control characters before they reach a terminal.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from app.cli.configuration import OutputFormat
from app.cli.errors import CliError, ReaderGone

# C0 but tab and line feed, DEL and C1: what could move the cursor, set the title or answer for the user.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Sequences of ECMA-48: CSI, then OSC and the other strings with their end, then all shorter ones.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")
_GREEN, _RED, _YELLOW, _DIM = "32", "31", "33", "2"
_COLOURS = {
    "succeeded": _GREEN,
    "ok": _GREEN,
    "healthy": _GREEN,
    "active": _GREEN,
    "failed": _RED,
    "lost": _RED,
    "rejected": _RED,
    "unavailable": _RED,
    "unhealthy": _RED,
    "rolledback": _RED,
    "expired": _RED,
    "paused": _YELLOW,
    "pendingapproval": _YELLOW,
    "waiting": _YELLOW,
    "rollingback": _YELLOW,
    "cancelling": _YELLOW,
    "drained": _YELLOW,
    "degraded": _YELLOW,
    "skipped": _DIM,
    "pending": _DIM,
    "cancelled": _DIM,
    "superseded": _DIM,
}


class Coloured(str):
    """Our own word in colours: the only text that keeps its escape sequences in a table."""

    __slots__ = ()


def clean(text: str) -> str:
    """Without escape sequences and control characters, tabs and line ends kept."""
    return _CONTROL.sub("", _ANSI.sub("", text.replace("\r\n", "\n")))


def counted(count: object, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{one_line(count)} {noun}" if count == 1 else f"{one_line(count)} {noun}s"


def one_line(value: object) -> str:
    """A value for a cell or a sentence; `-` for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(clean(str(value)).split())


def when(value: object) -> str:
    """A time of the wire without its fraction: `2026-11-24 05:31:12Z`."""
    text = one_line(value)
    match = _TIME.fullmatch(text)
    return f"{match[1]} {match[2]}Z" if match else text


class Output:
    """Prints for one command. `out` and `err` default to the process's own."""

    def __init__(
        self,
        format: OutputFormat,
        out: TextIO | None = None,
        err: TextIO | None = None,
        *,
        colours: bool = True,
    ) -> None:
        self.format = format
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.terminal = self.out.isatty()
        self._colours = colours and self.terminal

    @property
    def json(self) -> bool:
        return self.format is OutputFormat.JSON

    @property
    def live(self) -> bool:
        """Whether a display that redraws itself makes sense."""
        return self.terminal and not self.json

    def data(self, value: Any) -> None:
        """The result as JSON."""
        self._put(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def json_line(self, value: Any) -> None:
        """One JSON value on a line of its own, at once."""
        self._put(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n")

    def line(self, text: str = "") -> None:
        """One line of the result, at once."""
        self._put(clean(text) + "\n")

    def raw(self, text: str) -> None:
        """Text as it came, for a pipe; cleaned on a terminal."""
        self._put(clean(text) if self.terminal else text)

    def _put(self, text: str) -> None:
        """To stdout, at once. Raises ReaderGone."""
        try:
            self.out.write(text)
            self.out.flush()
        except BrokenPipeError:
            raise ReaderGone("the reader of the output is gone") from None

    def say(self, text: str) -> None:
        """Something about the result, for a person; not with JSON."""
        if not self.json:
            print(clean(text), file=self.err, flush=True)

    def warn(self, text: str) -> None:
        print(f"hotswap: warning: {clean(text)}", file=self.err, flush=True)

    def error(self, error: CliError) -> None:
        """Why the command ends: one line, and one for each bad field; with JSON the server's problem."""
        if self.json:
            print(json.dumps(error.to_json(), ensure_ascii=False), file=self.err, flush=True)
            return
        first = [messages[0] for messages in error.fields.values() if messages]
        repeats = bool(first) and all(message in str(error) for message in first)
        print(f"hotswap: {'what was sent is not valid:' if repeats else one_line(error)}", file=self.err)
        for field, messages in error.fields.items():
            for message in messages:
                print(f"  {one_line(field)}: {one_line(message)}", file=self.err)
        self.err.flush()

    def result(self, value: Any, lines: Iterable[str]) -> None:
        """The value as JSON, or these lines."""
        if self.json:
            self.data(value)
            return
        for line in lines:
            self.line_coloured(line)

    def line_coloured(self, text: str) -> None:
        """A line that we made, which may hold our own colours."""
        self._put(text + "\n")

    def status(self, word: object) -> str:
        """A status word, coloured on a terminal."""
        text = one_line(word)
        colour = _COLOURS.get(text.lower().replace(" ", ""))
        return Coloured(f"\x1b[{colour}m{text}\x1b[0m") if self._colours and colour else text

    def width(self) -> int:
        """Columns of the terminal; without one, unbounded."""
        return shutil.get_terminal_size((80, 24)).columns if self.terminal else 1_000_000


def table(head: Sequence[str], rows: Sequence[Sequence[object]], width: int = 1_000_000) -> list[str]:
    """Columns two blanks apart. The last column is cut where the line would not fit into `width`."""
    cells = [[_shown(cell) for cell in row] for row in rows]
    shown = [list(head), *cells]
    widths = [max(_length(row[column]) for row in shown) for column in range(len(head))]
    return [_joined(row, widths, width) for row in shown]


def fields(pairs: Sequence[tuple[str, object]]) -> list[str]:
    """Named values under each other, without those that are None."""
    given = [(name, value) for name, value in pairs if value is not None]
    longest = max((len(name) for name, _ in given), default=0)
    return [f"{name:<{longest}}  {_shown(value)}" for name, value in given]


def _shown(cell: object) -> str:
    return cell if isinstance(cell, Coloured) else one_line(cell)


def _length(cell: str) -> int:
    return len(_ANSI.sub("", cell))


def _joined(row: Sequence[str], widths: Sequence[int], width: int) -> str:
    padded = [cell + " " * (size - _length(cell)) for cell, size in zip(row, widths, strict=True)]
    line = "  ".join(padded).rstrip()
    if _length(line) > width and "\x1b" not in row[-1]:
        excess = _length(line) - width
        last = row[-1]
        if len(last) - excess >= 4:
            return "  ".join([*padded[:-1], last[: len(last) - excess - 1] + "…"])
    return line
