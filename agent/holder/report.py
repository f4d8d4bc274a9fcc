"""What the holder has to say for itself: lines of its log file."""

from __future__ import annotations

import contextlib
import time


def report(text: str) -> None:
    """Never fails: a full disk must not stop what is being reported."""
    with contextlib.suppress(OSError):
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)
