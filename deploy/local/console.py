"""What a person sees of `hotswap up`."""

import sys
import time
from contextlib import suppress
from typing import TextIO


class Console:
    """Lines with the seconds since the start before them."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """One line of the log. A reader that went away is no reason to stop."""
        self.show(f"{time.monotonic() - self._begun:6.1f}s  {text}")

    def show(self, text: str) -> None:
        """Text as it is."""
        with suppress(OSError):
            print(text, file=self._out, flush=True)
