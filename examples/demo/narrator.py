"""What the person at the terminal reads."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TextIO

_WIDTH = 110
_BOLD, _DIM, _RED = "1", "2", "31"


class Narrator:
    """Chapters, the commands that are run, and what came of them. Raises BrokenPipeError when nobody reads any more."""

    def __init__(self, out: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out or sys.stdout
        self._colours = self._out.isatty() and not environment.get("NO_COLOR")
        self._width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns) if self._out.isatty() else _WIDTH
        self._chapter = 0

    def chapter(self, title: str, why: str) -> None:
        """A new step of the story, and why it is taken."""
        self._chapter += 1
        self._print("")
        self._print(self._coloured(f"{self._chapter}. {title}", _BOLD))
        for line in textwrap.wrap(why, self._width - 3):
            self._print(f"   {line}")

    def command(self, line: str) -> None:
        """A command line, as the person could have typed it."""
        self._print(self._coloured(f"   $ {line}", _BOLD))

    def output(self, line: str) -> None:
        """A line that a command printed, cut to the width."""
        shown = f"     {line}"
        if len(shown) > self._width:
            shown = shown[: self._width - 1].rstrip() + "…"
        self._print(self._coloured(shown, _DIM))

    def say(self, text: str = "") -> None:
        """A sentence of our own."""
        self._print(f"   {text}" if text else "")

    def plain(self, text: str) -> None:
        """A line as it is."""
        self._print(text)

    def alarm(self, text: str) -> None:
        """What went wrong."""
        self._print(self._coloured(f"   {text}", _RED))

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _print(self, text: str) -> None:
        encoding = self._out.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)
