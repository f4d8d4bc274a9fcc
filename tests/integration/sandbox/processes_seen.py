"""Looking for what a run may have left, by a word in its command line."""

from __future__ import annotations

import time
from pathlib import Path

_DEADLINE = 30.0


def with_token(token: str) -> list[int]:
    """Processes that are not zombies and have `token` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if token.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_for(token: str, *, present: bool) -> list[int]:
    """What is there once some, or none, are; fails after a while."""
    deadline = time.monotonic() + _DEADLINE
    while bool(found := with_token(token)) != present:
        assert time.monotonic() < deadline, f"{token}: {found}"
        time.sleep(0.02)
    return found
