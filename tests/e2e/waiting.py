"""Waiting for a condition, with a deadline that holds on a slow machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

GENEROUS = 180.0  # seconds
_LOOK_EVERY = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, limit: float = GENEROUS) -> T:
    """The first true value of `condition`. Raises AssertionError, which says `what` did not come."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(_LOOK_EVERY)
    return value
