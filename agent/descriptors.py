"""Who has an inherited socket open: read from /proc, to tell at once that a module threw its listener away."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"  # the state in /proc/net/tcp


def listening_sockets(ports: Collection[int]) -> frozenset[str]:
    """The listening sockets (`socket:[inode]`) of this machine at some TCP ports."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) in ports:
                found.add(f"socket:[{fields[9]}]")
    return frozenset(found)


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
