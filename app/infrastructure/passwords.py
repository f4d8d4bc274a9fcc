"""Passwords: argon2id with OWASP's lesser memory profile (19 MiB, 2 passes, 1 lane), few at a time.

Each hash costs 19 MiB and some tens of milliseconds of a core, so a flood of log-ins must queue and not multiply: at
most `_AT_ONCE` are computed together in a process, and who waits longer than `_LONGEST_WAIT` is told to come back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.domain.errors import TooMany

_AT_ONCE = 2
_LONGEST_WAIT = 10.0
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_turn = threading.BoundedSemaphore(_AT_ONCE)
# Verified in place of the hash of a user who does not exist, so that both take as long. It is of no password.
_NOBODY = _hasher.hash("")


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _turn.acquire(timeout=_LONGEST_WAIT):
        raise TooMany("Too many log-ins at once.", retry_after=5)
    try:
        yield
    finally:
        _turn.release()


def hash_password(password: str) -> str:
    """The encoded hash, with its salt and parameters in it. Raises TooMany."""
    with _one_of_few():
        return _hasher.hash(password)


def verify_password(encoded: str | None, password: str) -> bool:
    """Whether `password` is the one of `encoded`; None (no such user) takes as long and is False. Raises TooMany."""
    with _one_of_few():
        try:
            _hasher.verify(encoded or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return encoded is not None
