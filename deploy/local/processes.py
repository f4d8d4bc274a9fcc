"""Which process is which: a pid alone proves nothing, since the kernel uses it again.

A process is named by (boot id, pid, start time in clock ticks since that boot), as in proc(5).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATE, _SESSION, _START_TIME = 0, 3, 19  # fields of /proc/PID/stat, counted after the command's closing bracket


def boot_id() -> str:
    """Changes with each boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, order=True)
class ProcessKey:
    """One process, for ever."""

    boot: str
    pid: int
    started: int  # clock ticks since boot

    def is_alive(self) -> bool:
        """Whether that very process still runs (a zombie does not)."""
        now = _stat(self.pid)
        return now is not None and now.state not in "ZX" and now.key == self


@dataclass(frozen=True)
class _Stat:
    key: ProcessKey
    session: int
    state: str


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(ProcessKey(boot_id(), pid, int(fields[_START_TIME])), int(fields[_SESSION]), fields[_STATE])


def key_of(pid: int) -> ProcessKey | None:
    """The key of the process that has this pid now."""
    found = _stat(pid)
    return None if found is None else found.key


def session_members(leader: ProcessKey) -> Iterator[ProcessKey]:
    """Live processes of the session that `leader` made, itself included, also when it has ended.

    While a session has members, the kernel gives its number to no new process. So a process that has the leader's pid
    and another start time shows that the session is gone.
    """
    if leader.boot != boot_id():
        return
    now = key_of(leader.pid)
    if now is not None and now != leader:
        return
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        found = _stat(int(entry.name))
        member = found is not None and found.session == leader.pid and found.key.started >= leader.started
        if found is not None and member and found.state not in "ZX":
            yield found.key


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether the process was started with that environment variable. False where we may not look."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{name}={value}".encode() in environment.split(b"\0")
