"""The supervisor of one run: starts the command in its cage, watches it, ends it, and tells how it went.

Two processes of ours, so that no single kill -9 lets anything go: the guardian (`guard`) adopts what the supervisor
leaves when that dies, and the supervisor ends everything when the guardian or the caller is gone.

    caller --control pipe--> guardian -> supervisor -> first process of the run -> command -> whatever it starts

The caller's death is seen as the end of the control pipe and through a pidfd; a byte on that pipe cancels.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.infrastructure.sandbox.cage import command, disk, layout, namespaces, processes, root, shared, syscalls, users
from app.infrastructure.sandbox.cage.cgroup import Group
from app.infrastructure.sandbox.cage.channels import Channels, drain, in_child, read_answer, told_of_children
from app.infrastructure.sandbox.cage.watch import Watch
from app.infrastructure.sandbox.plan import Identity, Plan
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.spec import Limit

_SWEEP_PAUSE = 0.005
# The kernel's out-of-memory killer is to choose what runs in the cage before anything of ours.
_OOM_SCORE = "800"


def guard(plan: Plan, channels: Channels) -> None:
    """The guardian: returns when the supervisor has ended and nothing of the run is left."""
    syscalls.adopt_orphans()
    group = Group(plan.cgroup) if plan.cgroup else None
    user, lock = users.take_user() if plan.identity is Identity.DEDICATED else (None, None)
    try:
        if group is not None:
            group.limit(plan.cgroup_controllers, plan.processes + 2, plan.memory_bytes)
        guardian = os.getpid()
        child = os.fork()
        if child == 0:
            in_child(lambda: _Run(plan, channels, user, group, guardian).go(), channels.result)
        os.close(channels.output)
        os.close(channels.control)
        os.waitpid(child, 0)
        _sweep(user, group)
    finally:
        _clean_up(plan, user, group)
        if lock is not None:
            lock.close()


def _in_sight(plan: Plan, user: int | None) -> int | None:
    """The dedicated user where it can write to places that are the machine's."""
    return None if plan.mount_namespace else user


def _clean_up(plan: Plan, user: int | None, group: Group | None) -> None:
    """Done by both of ours, since either may be killed before it comes to it."""
    in_sight = _in_sight(plan, user)
    if in_sight is not None:
        shared.remove(in_sight)
    if group is not None:
        group.close()
    if plan.scratch:
        with suppress(OSError):
            remove_tree(Path(plan.scratch))


def _sweep(user: int | None, group: Group | None) -> None:
    """Ends all that descends from us, until nothing does. Whatever a killed process leaves becomes our child."""
    while True:
        try:
            for _ in processes.reap():
                pass
        except ChildProcessError:
            return
        if group is not None:
            with suppress(OSError):
                group.kill()
        if user is not None:
            processes.kill_everything_of(user, users.partner_of(user))
        below = processes.descendants(os.getpid())
        processes.signal_all(below, signal.SIGSTOP)
        processes.signal_all(below, signal.SIGKILL)
        time.sleep(_SWEEP_PAUSE)


class _Run:
    """The supervisor's own state."""

    def __init__(self, plan: Plan, channels: Channels, user: int | None, group: Group | None, guardian: int) -> None:
        self._plan = plan
        self._channels = channels
        self._user = user
        self._group = group
        self._guardian = guardian
        self._limit: Limit | None = None
        self._status: int | None = None
        self._killed = False
        self._kill_at: float | None = None
        self._orphan_ended = -1
        self._started = plan.pid_namespace

    def go(self) -> None:
        syscalls.adopt_orphans()
        plan = self._plan
        folders = [_open(path) for path in (plan.workspace, plan.scratch) if path]
        if self._user is not None:
            for folder in folders:
                disk.give(folder, self._user, self._user)
            # Or it could write to its output, but not open /dev/stdout.
            os.fchown(self._channels.output, self._user, self._user)
        namespaces.prepare_children(plan)
        watch = Watch(plan, folders, self._group, self._user, unlock=plan.identity is Identity.SAME)
        begun = time.monotonic()
        status_pipe, first = self._start()
        # An orphan that has ended counts as a process until it is waited for.
        self._orphan_ended = told_of_children()
        # Not before: who is hidden can write neither the map of a user namespace nor its own OOM score.
        syscalls.hide_own_memory()
        self._follow(watch, status_pipe, first, begun + plan.wall_seconds)
        _sweep(self._user if not plan.pid_namespace else None, self._group)
        seconds = time.monotonic() - begun
        limit = self._limit or watch.final() or self._from_status(watch)
        cpu_seconds = max(watch.cpu_seconds, _cpu_of_children(), self._group.cpu_seconds() if self._group else 0.0)
        if self._user is not None:
            for folder in folders:
                with suppress(disk.TooDeep):
                    disk.give(folder, os.getuid(), os.getgid(), only_of=self._user)
        _clean_up(plan, self._user, self._group)
        self._channels.tell(
            {
                "status": self._status,
                "limit": limit.name if limit else None,
                "seconds": seconds,
                "cpu": cpu_seconds,
                "peak": watch.peak_memory,
            }
        )

    def _start(self) -> tuple[int, int]:
        """(where the first process tells the command's wait status, its process id)."""
        reader, writer = os.pipe()
        caller = self._channels.caller
        # Negative: a whole process group. The guardian leads ours.
        protected = (os.getpid(), self._guardian, -self._guardian, caller, -_group_of(caller))
        first = os.fork()
        if first == 0:
            os.close(reader)
            os.set_inheritable(writer, False)
            in_child(lambda: self._be_first(writer, protected), writer)
        os.close(writer)
        os.close(self._channels.output)
        return reader, first

    def _be_first(self, writer: int, protected: Sequence[int]) -> None:
        """In the child. Without a pid namespace it becomes the command itself."""
        plan = self._plan
        syscalls.die_with_parent(signal.SIGKILL)
        os.close(self._channels.control)
        os.close(self._channels.result)
        if self._group is not None:
            self._group.enter()
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
        namespaces.enter_others(plan)
        inside = layout.USER_INSIDE if self._user is None else self._user
        if plan.mount_namespace:
            root.build(plan, inside, network=plan.reaches_network)

        def become() -> None:
            command.become_command(plan, self._user, self._channels.output, protected)

        if not plan.pid_namespace:
            become()
        syscalls.hide_own_memory()
        status = namespaces.be_first_process(lambda: in_child(become, writer))
        os.write(writer, json.dumps({"status": status}).encode() + b"\n")

    def _follow(self, watch: Watch, status_pipe: int, first: int, deadline: float) -> None:
        """Until the command has ended, of itself or by us. Raises OSError with what failed before it started."""
        poll = select.poll()
        first_ends = os.pidfd_open(first)
        orders_end = {self._channels.control}
        if os.getppid() == self._guardian:
            orders_end.add(os.pidfd_open(self._guardian))
        else:
            self._end(Limit.CANCELLED)
        for source in (first_ends, self._orphan_ended, *orders_end):
            poll.register(source, select.POLLIN)
        if not self._started:
            # Not to be read before the end: that nobody can write to it any more says that the command is there.
            poll.register(status_pipe, 0)
        while True:
            now = time.monotonic()
            due = min(self._kill_at or deadline, watch.next_look)
            ready = {source for source, _ in poll.poll(max(0.0, due - now) * 1000)}
            if first_ends in ready:
                break
            if status_pipe in ready:
                self._started = True
                poll.unregister(status_pipe)
            if self._orphan_ended in ready:
                drain(self._orphan_ended)
                processes.reap_all_but(first)
            for source in ready & orders_end:
                self._end(Limit.CANCELLED)
                poll.unregister(source)
                orders_end.discard(source)
            self._look(watch, first, deadline)
        os.close(first_ends)
        self._collect(status_pipe, first)

    def _look(self, watch: Watch, first: int, deadline: float) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill()
        elif self._kill_at is None and now >= deadline:
            self._limit = Limit.WALL
            self._kill_at = now + self._plan.grace_seconds
            pids = self._inside()
            processes.signal_all(pids, signal.SIGTERM)
            processes.signal_all(pids, signal.SIGCONT)
        if now >= watch.next_look:
            waited_for = processes.waited_for_by(first) if self._plan.pid_namespace else _cpu_of_children()
            limit = watch.look(self._inside(), waited_for, started=self._started)
            if limit is not None:
                self._end(limit)

    def _inside(self) -> list[int]:
        """The command's processes, without the first one of a pid namespace, which is ours."""
        below = processes.descendants(os.getpid())
        return below[1:] if self._plan.pid_namespace else below

    def _end(self, limit: Limit) -> None:
        self._limit = self._limit or limit
        self._kill()

    def _kill(self) -> None:
        """SIGKILL for the first process of a pid namespace is the kernel's SIGKILL for all in it."""
        self._kill_at = time.monotonic() + 1.0
        self._killed = True
        if self._group is not None:
            with suppress(OSError):
                self._group.kill()
        if self._user is not None and not self._plan.pid_namespace:
            processes.kill_everything_of(self._user, users.partner_of(self._user))
        processes.signal_all(processes.descendants(os.getpid()), signal.SIGKILL)

    def _collect(self, status_pipe: int, first: int) -> None:
        _, own_status = os.waitpid(first, 0)
        told = read_answer(status_pipe)
        if "failure" in told and not self._killed:
            raise OSError(told["failure"])
        self._status = told.get("status", own_status)

    def _from_status(self, watch: Watch) -> Limit | None:
        """The limits that the kernel keeps itself, by the signal that they end a process with; shells report 128 more
        when it was a child of theirs."""
        if self._group is not None and self._group.ran_out_of_memory():
            return Limit.MEMORY
        code = os.waitstatus_to_exitcode(self._status or 0)
        number = -code if code < 0 else code - 128
        if number == signal.SIGXFSZ:
            return Limit.FILE_SIZE
        used_up = max(watch.cpu_seconds, _cpu_of_children()) >= self._plan.cpu_seconds
        return Limit.CPU if number in (signal.SIGXCPU, signal.SIGKILL) and used_up else None


def _group_of(pid: int) -> int:
    """Its process group; its own id where it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return pid


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
