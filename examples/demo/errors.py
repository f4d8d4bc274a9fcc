"""How a demo ends early."""

from __future__ import annotations


class DemoFailed(Exception):
    """Something did not go as it has to; the text says what, in a sentence."""


class Interrupted(BaseException):
    """A signal asked for the end. As with KeyboardInterrupt, no handler of ordinary errors may take it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
