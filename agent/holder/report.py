"""What the holder has to say for itself: lines of its log file, with the names of agent/telemetry/names.py.

Written out here: the standard library's loggers would stay in the memory of every holder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time


def report(text: str, error: BaseException | None = None) -> None:
    """Never fails: a full disk must not stop what is being reported."""
    said = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "error" if error else "warning",
        "event": text, "service": "holder", "pid": os.getpid(),
    }  # fmt: skip
    if error is not None:
        import traceback

        said["error"] = f"{type(error).__name__}: {error}"
        said["exception"] = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):
        print(json.dumps(said), flush=True)
