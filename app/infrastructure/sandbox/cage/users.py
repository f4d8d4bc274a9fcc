"""A user that nobody else is, for the time of one run, taken by root from a range that nobody gives out."""

from __future__ import annotations

import os
import pwd
import socket

from app.infrastructure.sandbox.cage.processes import threads_of_user

# Marked as unused in systemd's list of user ids (UIDS-GIDS.md), and below 65536, so that it exists in containers too.
FIRST, LAST = 60578, 61183


def take_user() -> tuple[int, socket.socket]:
    """(user and group id, what holds it until it is closed or we die). Raises OSError when none is free.

    The lock is an abstract socket: it needs no file, and it goes with the process however that ends.
    """
    count = (LAST - FIRST + 1) // 2
    offset = int.from_bytes(os.urandom(4)) % count
    for step in range(count):
        user = FIRST + (offset + step) % count * 2
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lock.bind(f"\0hotswap-sandbox-user-{user}")
        except OSError:
            lock.close()
            continue
        if not _has_a_name(user) and not _has_a_name(partner_of(user)) and threads_of_user(user) == 0:
            return user, lock
        lock.close()
    raise OSError("no free user id for a sandbox")


def _has_a_name(user: int) -> bool:
    """Whether somebody has given out the id after all."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def partner_of(user: int) -> int:
    """A second id that belongs to each: see `processes.kill_everything_of`."""
    return user + 1


def become(user: int) -> None:
    """For good, all three ids, without other groups."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
