"""Started by `runner` and `probe` as a process of its own, with nothing inherited but the pipes.

    python -I -S -c "..." OUTPUT_FD CALLER_PID       reads one line of JSON from 0, answers with one on 1

Everything is imported here, at the start: later there is no file system to import from.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings

from app.infrastructure.sandbox.cage import supervisor, trial
from app.infrastructure.sandbox.cage.channels import Channels
from app.infrastructure.sandbox.plan import Plan

# `os.execvpe` imports this one when it is called, which is when there is nothing to import from any more.
__all__ = ["main", "warnings"]


def main() -> None:
    """Runs one plan, or tries what the machine can do when the line is `null`."""
    control, result = 0, 1
    line = _read_line(control)
    if not line:
        return
    try:
        if json.loads(line) is None:
            answer = trial.everything()
            os.write(result, json.dumps(answer).encode() + b"\n")
            return
        # Whatever the caller ignores or blocks comes along over exec.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Of these we hear by the control pipe, when the caller decides; the terminal's Ctrl-C is not for us.
            signal.signal(number, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        channels = Channels(control, result, int(sys.argv[1]), int(sys.argv[2]))
        supervisor.guard(Plan.loads(line), channels)
    except Exception as error:
        failure = {"failure": f"{type(error).__name__}: {error}"}
        os.write(result, json.dumps(failure).encode() + b"\n")


def _read_line(source: int) -> bytes:
    """Up to the newline; what follows on the pipe is left on it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(source, 1)
        if not piece:
            return b""
        line += piece
    return bytes(line)
