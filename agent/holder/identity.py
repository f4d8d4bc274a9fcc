"""Processes of the machine: who they are, and signals that reach them and nobody who took their pid."""

from __future__ import annotations

import contextlib
import os
import signal as signals
from collections.abc import Iterator
from pathlib import Path

from agent.holder.protocol import ProcessIdentity

_PROC = Path("/proc")
_boot_id: list[str] = []


def boot_id() -> str:
    if not _boot_id:
        _boot_id.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
    return _boot_id[0]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on; None without such a process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()  # a name may hold spaces and brackets


def identity_of(pid: int) -> ProcessIdentity | None:
    """Who has this pid now."""
    fields = _stat(pid)
    return ProcessIdentity(boot_id(), pid, int(fields[19])) if fields else None


def current() -> ProcessIdentity:
    """This process."""
    who = identity_of(os.getpid())
    assert who is not None
    return who


def name_of(pid: int) -> str | None:
    """At most 15 characters."""
    try:
        return (_PROC / str(pid) / "comm").read_text().rstrip("\n")
    except OSError:
        return None


def session_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """A pidfd of exactly this process, None when it has ended.

    Opened first and compared afterwards: while the pid still shows our start time, the pidfd is that process's.
    """
    if identity.boot_id != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError:
        return None
    if identity_of(identity.pid) != identity:
        os.close(pidfd)
        return None
    return pidfd


def send(identity: ProcessIdentity, signal: signals.Signals) -> bool:
    """False when the process had ended."""
    pidfd = open_pidfd(identity)
    if pidfd is None:
        return False
    try:
        signals.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def all_pids() -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def environment_entry(pid: int, name: str) -> str | None:
    """One variable of the environment a process was started with; None where it is missing or not ours to read."""
    prefix = name.encode() + b"="
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            if entry.startswith(prefix):
                return entry[len(prefix) :].decode(errors="replace")
    return None


def name_this_process(title: str) -> None:
    """Makes `ps` show `title` (a fork has its parent's command line), as far as there is room; never fails."""
    with contextlib.suppress(OSError, ValueError):
        (_PROC / "self/comm").write_text(title.split(" ", 1)[0][:15])
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = _stat(os.getpid()) or []
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc(5)
        room = end - start
        text = title.encode()[: room - 1]
        with (_PROC / "self/mem").open("wb", buffering=0) as memory:
            memory.seek(start)
            memory.write(text + b"\0" * (room - len(text)))
