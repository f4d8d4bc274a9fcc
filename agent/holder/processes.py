"""The processes of the holder: started or adopted, watched by pidfd, ended with all they left behind."""

from __future__ import annotations

import json
import os
import select
import signal as signals
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.holder import identity, limits, marker, shim
from agent.holder.limits import Bounds
from agent.holder.loop import Loop, Timer, Watch
from agent.holder.marker import Marker
from agent.holder.protocol import (
    ProcessExited,
    ProcessIdentity,
    ProcessSpec,
    ProcessState,
    Side,
    StartFailed,
    UnknownProcess,
)

_MOST_ENDED = 64
_LOOK_AGAIN_SECONDS = 1.0
_LEFT_BEHIND_SECONDS = 10.0  # for what a process leaves behind when it ends by itself, between SIGTERM and SIGKILL


@dataclass(slots=True)
class Process:
    """A process and what is under way with it."""

    identity: ProcessIdentity
    marker: Marker
    bounds: Bounds
    is_child: bool
    pidfd: int
    watch: Watch | None = None
    running: bool = True
    exit_code: int | None = None
    forwarder: ProcessIdentity | None = None
    quieting: bool = False  # retired, SIGTERM not yet sent
    stopping: bool = False  # SIGTERM sent, or about to be
    has_left_something: bool = False  # it has ended, and what it started has not
    grace: float = _LEFT_BEHIND_SECONDS
    kill_timer: Timer | None = field(default=None, repr=False)

    def sits_on(self, key: str, side: Side) -> bool:
        return self.marker.side is side and any(seat.key == key for seat in self.marker.seats)

    def state(self) -> ProcessState:
        its = self.marker
        return ProcessState(
            self.identity, its.name, its.tag, tuple(seat.key for seat in its.seats), its.side, its.handover,
            self.running, self.exit_code, its.port, self.forwarder, its.limits_by, its.log_file,
            self.quieting or self.stopping,
        )  # fmt: skip


class Processes:
    """The table. `on_exit(process)` is called for each end, when the process has been reaped."""

    def __init__(self, loop: Loop, on_exit: Callable[[Process], None], open_files: int) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._open_files = open_files
        self._table: dict[ProcessIdentity, Process] = {}

    def all(self) -> Sequence[Process]:
        return list(self._table.values())

    def get(self, who: ProcessIdentity) -> Process:
        """Raises UnknownProcess."""
        try:
            return self._table[who]
        except KeyError:
            raise UnknownProcess(f"no process {who} is known here") from None

    def on(self, key: str, side: Side) -> Process | None:
        """The last process that was started on the side and has not been forgotten."""
        found = [p for p in self._table.values() if p.sits_on(key, side)]
        return next((p for p in found if p.running), found[-1] if found else None)

    def start(
        self, spec: ProcessSpec, its: Marker, sockets: Sequence[int], bounds: Bounds, account: shim.Account | None,
        done: Callable[[Process | StartFailed], None],
    ) -> Process:  # fmt: skip
        """Forks; the process counts as running at once, `done` is called after its exec or its failure (it has left the
        table then). Raises StartFailed when it cannot even fork."""
        try:
            pid, pipe = shim.fork(spec, its, sockets, bounds, account, self._open_files)
        except OSError as error:
            raise StartFailed(f"fork: {os.strerror(error.errno or 0)}") from error
        who = identity.identity_of(pid)  # ours to reap, so it is there even if it has ended
        assert who is not None
        process = Process(who, its.for_pid(pid), bounds, True, os.pidfd_open(pid), forwarder=its.forwarder)
        self._table[who] = process
        self._loop.watch(pipe, select.EPOLLIN, lambda _: self._report(pipe, process, done))
        return process

    def _report(self, pipe: int, process: Process, done: Callable[[Process | StartFailed], None]) -> None:
        text = os.read(pipe, 65536)
        self._loop.unwatch(pipe)
        os.close(pipe)
        if text:
            os.waitpid(process.identity.pid, 0)
            os.close(process.pidfd)
            process.running = False
            process.bounds.remove()
            del self._table[process.identity]
            report = json.loads(text)
            done(StartFailed(f"{report['step']}: {report['error']}"))
            return
        self._watch(process)
        done(process)

    def adopt(self, who: ProcessIdentity, its: Marker) -> Process | None:
        """Takes over what an earlier holder started; None when it has ended meanwhile."""
        pidfd = identity.open_pidfd(who)
        if pidfd is None:
            return None
        bounds = limits.of_folders(its.limits_by, its.limit_folders)
        process = self._table[who] = Process(who, its, bounds, False, pidfd, forwarder=its.forwarder)
        self._watch(process)
        return process

    def _watch(self, process: Process) -> None:
        process.watch = self._loop.watch(process.pidfd, select.EPOLLIN, lambda _: self._ended(process))

    def _ended(self, process: Process) -> None:
        assert process.watch is not None
        process.watch.end()
        os.close(process.pidfd)
        # Before it is reaped: as long as its pid is taken, its session's number cannot be somebody else's.
        left_behind = marker.descendants(process.marker.start, process.identity, by_session=process.is_child)
        if process.is_child:
            _, status = os.waitpid(process.identity.pid, 0)
            process.exit_code = os.waitstatus_to_exitcode(status)
        process.running = False
        if process.kill_timer is not None:
            process.kill_timer.cancel()
        self._end_left_behind(process, left_behind)
        self._forget_oldest()
        self._on_exit(process)

    def _end_left_behind(self, process: Process, left_behind: Sequence[ProcessIdentity]) -> None:
        """What it leaves behind may still hold its listener and its memory."""
        process.has_left_something = bool(_send_all(left_behind, signals.SIGTERM))
        if process.has_left_something:
            self._loop.later(process.grace, lambda: self._kill_left_behind(process, left_behind))
        else:
            process.bounds.remove()

    def _kill_left_behind(self, process: Process, known: Sequence[ProcessIdentity]) -> None:
        found = {*known, *marker.descendants(process.marker.start, process.identity, by_session=False)}
        process.has_left_something = bool(_send_all(found, signals.SIGKILL))
        if process.has_left_something:
            self._loop.later(_LOOK_AGAIN_SECONDS, lambda: self._kill_left_behind(process, known))
        else:
            process.bounds.remove()

    @staticmethod
    def _signal_descendants(process: Process, signal: signals.Signals) -> None:
        """Of one that runs."""
        _send_all(marker.descendants(process.marker.start, process.identity, by_session=True), signal)

    def signal(self, process: Process, signal: signals.Signals, *, group: bool) -> None:
        """Raises UnknownProcess when it has ended."""
        if not process.running:
            raise UnknownProcess(f"process {process.identity} has ended")
        try:
            signals.pidfd_send_signal(process.pidfd, signal)
        except ProcessLookupError:
            raise UnknownProcess(f"process {process.identity} has ended") from None
        if group:
            self._signal_descendants(process, signal)

    def terminate(self, process: Process, drain_timeout: float) -> None:
        """SIGTERM now; SIGKILL to it and its descendants after `drain_timeout` seconds. Once per process."""
        if not process.running or process.kill_timer is not None:
            return
        process.quieting, process.stopping, process.grace = False, True, drain_timeout
        process.kill_timer = self._loop.later(drain_timeout, lambda: self._kill(process))
        try:
            signals.pidfd_send_signal(process.pidfd, signals.SIGTERM)
            signals.pidfd_send_signal(process.pidfd, signals.SIGCONT)  # one that is stopped could not end
        except ProcessLookupError:
            return

    def _kill(self, process: Process) -> None:
        if process.running:
            process.grace = 0.0
            self._signal_descendants(process, signals.SIGKILL)
            try:
                signals.pidfd_send_signal(process.pidfd, signals.SIGKILL)
            except ProcessLookupError:
                return

    def forget(self, process: Process) -> None:
        """Drops an ended process."""
        self._table.pop(process.identity, None)

    def _forget_oldest(self) -> None:
        ended = [p for p in self._table.values() if not p.running]
        for process in ended[:-_MOST_ENDED]:
            self.forget(process)


def _send_all(them: Iterable[ProcessIdentity], signal: signals.Signals) -> int:
    """How many of them were there to get it."""
    return sum(identity.send(who, signal) for who in them)


def exited(process: Process) -> ProcessExited:
    return ProcessExited(process.identity, process.exit_code, process.stopping)
