"""Who has an inherited socket open: read from /proc, to tell at once that a module threw its listener away."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
FIRST_DESCRIPTOR = 3


def inherited_sockets(pid: int, count: int) -> frozenset[str]:
    """The sockets (`socket:[inode]`) at the first inherited descriptors of a process that has just started.

    Empty where that is not known: it may have ended, belong to somebody else, or have moved them already.
    """
    numbers = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count)
    links = (_target(PROC / str(pid) / "fd" / str(number)) for number in numbers)
    return frozenset(link for link in links if link.startswith("socket:"))


def held_by_session(leader: int, sockets: frozenset[str]) -> bool:
    """Whether any process of a module's session or group has one of the sockets open.

    Only those are looked at, since holder and agent have the sockets, too. A process that may not be looked at counts
    as having it.
    """
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    return any(_has_one(pid, sockets) for pid in pids if _is_of(pid, leader))


def _is_of(pid: int, leader: int) -> bool:
    try:
        return os.getsid(pid) == leader or os.getpgid(pid) == leader
    except OSError:
        return False


def _has_one(pid: int, sockets: frozenset[str]) -> bool:
    try:
        return any(_target(descriptor) in sockets for descriptor in (PROC / str(pid) / "fd").iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
