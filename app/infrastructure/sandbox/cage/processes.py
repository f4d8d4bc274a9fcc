"""The processes that descend from one, as /proc shows them: how many, what they use, and ending them all."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Load:
    """Of a tree: processes, resident bytes, CPU seconds of those that are and of those that they waited for, and each
    one's own by (process id, start)."""

    processes: int
    resident_bytes: int
    cpu_seconds: float
    own_cpu: dict[tuple[int, int], float]


def descendants(root: int) -> list[int]:
    """Process ids below `root`, parents before children; what is born meanwhile may be missing."""
    children = _children_of_one if _has_children_files() else _from_table_of_all()
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def load(pids: Iterable[int]) -> Load:
    """What these use together; those that are gone count nothing."""
    own: dict[tuple[int, int], float] = {}
    waited_for = 0.0
    resident = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is None:
            continue
        own[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / _TICKS
        waited_for += (int(fields[13]) + int(fields[14])) / _TICKS
        resident += _resident(pid, fields)
    return Load(len(own), resident, sum(own.values()) + waited_for, own)


def waited_for_by(pid: int) -> float:
    """CPU seconds of what a process has waited for so far."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS if fields is not None else 0.0


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory of these, what several share counted once among them all; dearer to find out than `load`."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            total += _resident(pid, _stat(pid) or [])
    return total


def _resident(pid: int, fields: list[str]) -> int:
    """Bytes. Of a process whose first thread has ended, the kernel tells nothing but by those that still run."""
    if not fields:
        return 0
    if fields[0] == "Z":
        others = (_stat(pid, f"/task/{task.name}") for task in _numbered(Path(f"/proc/{pid}/task")))
        return max((int(other[21]) for other in others if other), default=0) * _PAGE
    return int(fields[21]) * _PAGE


def shared_memory_bytes() -> int:
    """Of the whole machine: files in memory, tmpfs and shared mappings."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    return 0


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap() -> Iterator[tuple[int, int]]:
    """(pid, wait status) of each child of ours that has ended; does not wait. Raises ChildProcessError without any."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        yield pid, status


def reap_all_but(kept: int) -> None:
    """Waits for each child that has ended, so that none counts as a process any more; `kept` is left for later."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == kept:
            return
        os.waitpid(ended.si_pid, 0)


def threads_of_user(user: int) -> int:
    """How many threads run as a user: what RLIMIT_NPROC counts."""
    total = 0
    for entry in _numbered(Path("/proc")):
        try:
            if entry.stat().st_uid == user:
                total += len(os.listdir(entry / "task"))  # noqa: PTH208
        except OSError:
            continue
    return total


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that no folder shows: of files that are deleted and still open, and of files in memory.

    `unseen`: there is a process that we may not look into (it made itself so, or executes what it may not read).
    """

    on_device: int
    in_memory: int
    unseen: bool


def held_open(pids: Iterable[int], device: int) -> Held:
    """By these processes, of files on `device`."""
    on_device: dict[tuple[int, int], int] = {}
    in_memory: dict[tuple[int, int], int] = {}
    unseen = False
    for pid in pids:
        links = _descriptors(pid)
        if links is None:
            unseen = True
            continue
        for link in links:
            try:
                status = link.stat()
                if status.st_nlink:
                    continue
                key = (status.st_dev, status.st_ino)
                if status.st_dev == device:
                    on_device[key] = status.st_blocks * 512
                elif str(link.readlink()).startswith("/memfd:"):
                    in_memory[key] = status.st_blocks * 512
            except OSError:
                continue
    return Held(sum(on_device.values()), sum(in_memory.values()), unseen)


def kill_everything_of(user: int, partner: int) -> None:
    """SIGKILL to all that runs as a user. With that user's effective id, kill(-1) reaches all of them in one step of
    the kernel's, which no fork can slip through; so this needs root, and a user whom nobody else runs as.

    The other two ids are those of `partner`, whom nobody runs as: so none of them can stop or end the one that comes
    for them (kill(2) says which ids are compared). Without a capability left, or it would reach the whole machine.
    """
    if min(user, partner) <= 0:
        raise ValueError("not root")
    killer = os.fork()
    if killer == 0:
        try:
            os.setgroups([])
            os.setresgid(partner, partner, partner)
            os.setresuid(partner, user, partner)
            if _effective_capabilities() == 0:
                os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def _effective_capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def _descriptors(pid: int) -> list[Path] | None:
    """Of each of its threads, which may have tables of their own, and outlive the first one. None when one is closed
    to us."""
    found: list[Path] = []
    for task in _numbered(Path(f"/proc/{pid}/task")):
        try:
            found += (task / "fd").iterdir()
        except PermissionError:
            if _has_memory(task):
                return None
        except OSError:
            continue
    return found


def _has_memory(task: Path) -> bool:
    """Whether it still executes: what ends belongs to root from then on, and holds nothing open for long."""
    try:
        return not (task / "statm").read_text().startswith("0 ")
    except OSError:
        return False


@cache
def _has_children_files() -> bool:
    return Path("/proc/thread-self/children").exists()


def _children_of_one(pid: int) -> list[int]:
    found: list[int] = []
    for task in _numbered(Path(f"/proc/{pid}/task")):
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _from_table_of_all() -> Callable[[int], list[int]]:
    """The same from one reading of the whole of /proc, for kernels without `children` files."""
    table: dict[int, list[int]] = {}
    for entry in _numbered(Path("/proc")):
        fields = _stat(int(entry.name))
        if fields is not None:
            table.setdefault(int(fields[1]), []).append(int(entry.name))
    return lambda pid: table.pop(pid, [])


def _numbered(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _stat(pid: int, task: str = "") -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on: the name before may hold anything."""
    try:
        return Path(f"/proc/{pid}{task}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
