"""What the exit code of `hotswap` says. API.md, "The command line", is its contract."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """WAITING_FOR_A_PERSON is also what a watch of a paused deployment ends with at its time limit."""

    DONE = 0
    NOT_SUCCEEDED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_PERMITTED = 4
    REFUSED = 5
    STILL_RUNNING = 6
    WAITING_FOR_A_PERSON = 7
    DEFECT = 70  # a fault of this program itself (EX_SOFTWARE of sysexits.h)
    DETACHED = 130  # Ctrl-C: 128 + SIGINT
    PIPE_CLOSED = 141  # the reader went away: 128 + SIGPIPE
