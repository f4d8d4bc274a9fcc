"""The watchdog: looks at what the run uses, and says which limit is passed. It ends nothing itself."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from app.infrastructure.sandbox.cage import disk, processes, shared, syscalls
from app.infrastructure.sandbox.cage.cgroup import Group
from app.infrastructure.sandbox.cage.disk import TooDeep, Usage
from app.infrastructure.sandbox.plan import Plan
from app.infrastructure.sandbox.spec import Limit

# A look takes place at most this often, and costs at most a tenth of one core; counting folders costs another tenth,
# and a third of one core while they fill.
LOOK_EVERY = 0.1
_SHARE = 10.0
# All folders are counted at least this often, and earlier once the file system holds so much more than at the last
# count that the limit could be passed: a quarter of what is left of it.
_COUNT_EVERY = 2.0
_SHARE_WHILE_FILLING = 2.0
_FRACTION = 4


class Watch:
    """One run's. Folders are given as descriptors, so that renaming them leads nowhere; the first is what is kept."""

    def __init__(
        self, plan: Plan, folders: Sequence[int], group: Group | None, user: int | None, *, unlock: bool
    ) -> None:
        """`user`: the dedicated one, None without; what it has in places that are open to all belongs to the run."""
        self._plan = plan
        self._group = group
        self._user = user if not plan.mount_namespace else None
        self._runs_as = user
        self._own_cpu: dict[tuple[int, int], float] = {}
        self._ended_cpu = 0.0
        self._folders = folders
        self._unlock = unlock
        self._start = self._count_folders()
        self._used = Usage()
        self._disk_cost = 0.0
        self._counted_at = time.monotonic()
        self._remember_machine()
        self._others = self._filled_then.size
        self.cpu_seconds = 0.0
        self.peak_memory: int | None = None
        self.next_look = 0.0

    def look(self, pids: Sequence[int], waited_for: float, *, started: bool = True) -> Limit | None:
        """The limit that is passed, if any, by these processes; `waited_for` are the CPU seconds of orphans of theirs
        that one of ours has waited for. Until the command has `started`, they are ours, on their way to another user
        and closed to everybody."""
        begun = time.monotonic()
        passed = self._processes(pids, waited_for)
        cost = time.monotonic() - begun
        try:
            return passed or self._disk(pids, started=started)
        except TooDeep:
            return Limit.DEPTH
        finally:
            self.next_look = time.monotonic() + max(LOOK_EVERY, cost * _SHARE)

    def final(self) -> Limit | None:
        """After all has ended: what the last moments have added to the folders, and what it takes to keep the result.

        The workspace is copied then, and a copy has no holes. Not before: many a program makes a large sparse file for
        the time that it runs, which hurts nobody.
        """
        try:
            self._used = self._added()
        except TooDeep:
            return Limit.DEPTH
        return Limit.DISK if self._used.apparent > self._plan.disk_bytes else self._disk_limit()

    def _processes(self, pids: Sequence[int], waited_for: float) -> Limit | None:
        load = processes.load(pids)
        # The first sum misses what nobody waits for (SIGCHLD ignored), the second what came and went between two looks.
        self._ended_cpu += sum(used for key, used in self._own_cpu.items() if key not in load.own_cpu)
        self._own_cpu = load.own_cpu
        seen = self._ended_cpu + sum(load.own_cpu.values())
        exact = self._group.cpu_seconds() if self._group is not None else 0.0
        self.cpu_seconds = max(self.cpu_seconds, load.cpu_seconds + waited_for, seen, exact)
        memory = load.resident_bytes
        if memory > self._plan.memory_bytes:
            # What processes share is in the sum once for each of them: only then is it worth finding out.
            with syscalls.looking_as(self._runs_as):
                memory = processes.proportional_bytes(pids) or memory
        if load.processes:
            self.peak_memory = max(self.peak_memory or 0, memory)
        if memory > self._plan.memory_bytes:
            return Limit.MEMORY
        if load.processes > self._plan.processes:
            return Limit.PROCESSES
        return Limit.CPU if self.cpu_seconds > self._plan.cpu_seconds else None

    def _disk(self, pids: Sequence[int], *, started: bool) -> Limit | None:
        if not self._is_due():
            return None
        begun = time.monotonic()
        self._used = self._added()
        with syscalls.looking_as(self._runs_as):
            held = processes.held_open(pids, os.fstat(self._folders[0]).st_dev)
        self._used += Usage(held.on_device, 0)
        others = self._statistics().size - self._used.size
        if started and held.unseen:
            # What it holds open is part of what the file system has grown by since nobody was closed to us. Others may
            # have written that as well: so only what is too much by itself is taken for its own.
            grown = others - self._others
            self._used += Usage(grown if grown > self._plan.disk_bytes else 0, 0)
        else:
            self._others = others
        self._counted_at = time.monotonic()
        self._disk_cost = self._counted_at - begun
        self._remember_machine()
        if held.in_memory > self._plan.memory_bytes:
            return Limit.MEMORY
        return self._disk_limit()

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._counted_at
        if waited >= max(_COUNT_EVERY, self._disk_cost * _SHARE):
            return True
        if waited < self._disk_cost * _SHARE_WHILE_FILLING:
            return False
        filled = self._statistics()
        grown = filled - self._filled_then
        size_left = max(0, self._plan.disk_bytes - self._used.size)
        entries_left = max(0, self._plan.files - self._used.entries)
        shared = processes.shared_memory_bytes() - self._shared_then
        return (
            grown.size * _FRACTION > size_left
            or grown.entries * _FRACTION > entries_left
            or shared * _FRACTION > self._plan.memory_bytes
        )

    def _disk_limit(self) -> Limit | None:
        if self._used.size > self._plan.disk_bytes:
            return Limit.DISK
        return Limit.FILES if self._used.entries > self._plan.files else None

    def _added(self) -> Usage:
        return self._count_folders() - self._start

    def _count_folders(self) -> Usage:
        """Of apparent sizes only those in the first folder, the workspace: all else goes with the run."""
        kept, *others = (disk.measure(folder, unlock=self._unlock) for folder in self._folders)
        if self._user is not None:
            others.append(shared.usage(self._user))
        return sum((replace(other, apparent=0) for other in others), kept)

    def _remember_machine(self) -> None:
        """What all of the machine used when we counted last: what it uses more since then may be the run's."""
        self._filled_then = self._statistics()
        self._shared_then = processes.shared_memory_bytes()

    def _statistics(self) -> Usage:
        """What the whole file systems hold, ours and others'."""
        places: list[int | str] = [self._folders[0], *(shared.PLACES if self._user is not None else ())]
        statuses = [os.statvfs(place) for place in places]
        size = sum((status.f_blocks - status.f_bfree) * status.f_frsize for status in statuses)
        return Usage(size, sum(status.f_files - status.f_ffree for status in statuses))
