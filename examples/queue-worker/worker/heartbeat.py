"""The file by which a worker shows that its loop turns: touched on every round, one per version."""

from __future__ import annotations

import os
import time
from pathlib import Path

OLDEST = 5.0


class Stale(Exception):
    """The worker does not turn; the text says why that is known."""


def heartbeat_file() -> Path:
    """Below the data folder, named after the version, since two may run at a time."""
    return Path(os.environ["HOTSWAP_DATA_DIR"]) / f"heartbeat-{os.environ.get('HOTSWAP_VERSION', 'development')}"


def beat(file: Path) -> None:
    """Say: this process turns, now."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(str(os.getpid()), "ascii")
    fresh.replace(file)


def check(file: Path) -> int:
    """The process id of a worker that turns; raises `Stale` if none does."""
    try:
        age = time.time() - file.stat().st_mtime
        pid = int(file.read_text("ascii"))
    except FileNotFoundError as error:
        raise Stale(f"no worker has started: {file} is not there") from error
    except ValueError as error:
        raise Stale(f"{file} does not hold a process id") from error
    if age > OLDEST:
        raise Stale(f"process {pid} has not turned for {age:.0f} s")
    try:
        os.kill(pid, 0)
    except ProcessLookupError as error:
        raise Stale(f"process {pid} is gone") from error
    return pid
