"""Ctrl-C and its kin: an exception in the middle of the story, never in the middle of a start or a stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from examples.demo.errors import Interrupted

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Raises Interrupted at SIGINT, SIGTERM and SIGHUP, once it is installed."""

    def __init__(self) -> None:
        self._held = False
        self._patience = ""
        self._waiting: int | None = None

    def install(self) -> None:
        for number in _NUMBERS:
            signal.signal(number, self._arrived)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What arrives meanwhile is raised afterwards."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting is not None:
            raise Interrupted(self._waiting)

    def ignore(self, patience: str) -> None:
        """From now on answer with a line on stderr only."""
        self._patience = patience

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._patience:
            with suppress(OSError):  # the terminal may be gone
                os.write(2, f"\n   {self._patience}\n".encode())
        elif self._held:
            self._waiting = number
        else:
            raise Interrupted(number)
