"""How an operation that was accepted can fail: the error codes of a result in docs/agent-protocol.md."""

from __future__ import annotations

import errno
import sqlite3
from enum import StrEnum

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})


class FailureCode(StrEnum):
    """The `error.code` of a failed operation's result."""

    FETCH_FAILED = "fetch_failed"
    VERIFICATION_FAILED = "verification_failed"
    BAD_ARCHIVE = "bad_archive"
    INSUFFICIENT_RESOURCES = "insufficient_resources"
    NEVER_HEALTHY = "never_healthy"
    EXITED = "exited"
    NOT_LISTENING = "not_listening"
    HOOK_FAILED = "hook_failed"
    DESTINATION_TAKEN = "destination_taken"
    DISK_FULL = "disk_full"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class OperationFailed(Exception):
    """An operation that cannot go on; the engine undoes it and records this as its result.

    `output_tail` is the last 4 KB of what the command, hook, process or health check said.
    """

    def __init__(self, code: FailureCode, message: str, output_tail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.output_tail = output_tail


class TokenSuperseded(Exception):
    """The commit found a higher fencing token than the operation's own."""


def failure_of(error: BaseException) -> OperationFailed:
    """Any error as a failed result: full disks are told apart, everything unforeseen is `internal`."""
    if isinstance(error, OperationFailed):
        return error
    if isinstance(error, TimeoutError):
        return OperationFailed(FailureCode.TIMEOUT, "the operation took longer than its timeout")
    full = isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS
    if full or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return OperationFailed(FailureCode.DISK_FULL, f"the disk is full: {error}")
    return OperationFailed(FailureCode.INTERNAL, f"{type(error).__name__}: {error}")
