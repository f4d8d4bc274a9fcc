"""What a person sees of `hotswap up`, and the same as JSON lines in a log, without what is only for the person."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from agent.telemetry import log_lines
from agent.telemetry.redaction import Redactor


class Console:
    """Lines with the seconds since the start before them."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._begun = time.monotonic()
        self._log: Path | None = None
        self._redactor = Redactor()

    def keep(self, log: Path) -> None:
        """From now on what is said is in this log, too."""
        self._log = log

    def say(self, text: str, level: str = "info") -> None:
        """One line of the log. A reader that went away is no reason to stop."""
        self.show(f"{time.monotonic() - self._begun:6.1f}s  {text}")
        if self._log is not None:
            line = log_lines.line(self._redactor.text(text), level, service="supervisor")
            with suppress(OSError), self._log.open("a", encoding="utf-8") as log:  # a full disk stops nobody
                log.write(f"{line}\n")

    def show(self, text: str) -> None:
        """Text as it is."""
        with suppress(OSError):
            print(text, file=self._out, flush=True)
