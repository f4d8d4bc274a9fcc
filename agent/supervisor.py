"""Keeps processes as the journal wants them: restarts the active, ends the drained, watches those that stand by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from agent.addresses import Endpoint, Program
from agent.failures import OperationFailed
from agent.health import describe_exit
from agent.holder.protocol import Event, HolderError, HolderReplaced, ListenerRepaired, ProcessState
from agent.journal import Journal
from agent.metrics import Counters
from agent.processes import Processes
from agent.protocol import ModuleKey
from agent.records import Role, SideRecord
from agent.telemetry import context, spans

log = logging.getLogger(__name__)

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.1, 30.0  # seconds before a crashed module is started again
MOST_DOUBLINGS = 10  # a module may crash thousands of times, and a power of that many no longer fits a float
SETTLED = 30.0  # seconds after which a process counts as having come up
CRASH_LOOP = 5  # crashes in a row
ASK_AGAIN = 2.0  # seconds after which a drain is asked for again: the holder may be another one by now


def back_off(crashes: int) -> float:
    """Seconds to wait before a start after so many crashes in a row."""
    return float(min(FIRST_BACK_OFF * 2 ** min(max(0, crashes - 1), MOST_DOUBLINGS), LONGEST_BACK_OFF))


class ModuleStatus(StrEnum):
    """The `status` of a module in a heartbeat."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    CRASH_LOOP = "crashLoop"
    STOPPED = "stopped"
    INSTALLED = "installed"


@dataclass(slots=True)
class Watch:
    """The active process of a module. `process` is None while it is down.

    `listening` and `steered` are False after a start that failed before its addresses were bound or users sent to it.
    """

    record: SideRecord
    program: Program
    process: ProcessState | None
    endpoints: tuple[Endpoint, ...]
    listening: bool = True
    steered: bool = True
    status: ModuleStatus = ModuleStatus.RUNNING
    restarts: int = 0
    crashes: int = 0  # in a row
    since: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class Supervisor:
    """One per agent. Its tasks never outlive `close`."""

    def __init__(self, journal: Journal, processes: Processes, counters: Counters) -> None:
        self._journal = journal
        self._processes = processes
        self._counters = counters
        self._active: dict[ModuleKey, Watch] = {}
        self._leaving: dict[ModuleKey, asyncio.Task[None]] = {}
        self._endings: dict[tuple[ModuleKey, str], asyncio.Task[None]] = {}
        self._standing: dict[tuple[ModuleKey, str], asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()
        self._unsubscribe = processes.holder.subscribe(self._receive)
        self.changed = asyncio.Event()

    async def close(self) -> None:
        """Stop watching; processes go on."""
        self._unsubscribe()
        watches = [watch.task for watch in self._active.values() if watch.task is not None]
        tasks = [*watches, *self._endings.values(), *self._standing.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the active release -----------------------------------------------------------------------------------

    def adopt(self, record: SideRecord, process: ProcessState) -> None:
        """From now on this is the module's active process; the one before is not restarted any more."""
        program = self._processes.program(record.key, record.release)
        before = self._forget_watch(record.key)
        self._stop_standing(record.key, record.side)
        watch = Watch(record, program, process, tuple(self._processes.addresses.endpoints(program)))
        watch.restarts = before.restarts if before is not None else 0
        self._active[record.key] = watch
        watch.task = self._watching(watch)
        self.changed.set()

    def _watching(self, watch: Watch) -> asyncio.Task[None]:
        """It goes on long after the operation that began it, and is no part of that one's story."""
        return asyncio.create_task(self._supervise(watch), context=context.detached())

    def _forget_watch(self, key: ModuleKey) -> Watch | None:
        watch = self._active.pop(key, None)
        if watch is not None and watch.task is not None:
            watch.task.cancel()
            self._leaving[key] = watch.task
        return watch

    async def _left(self, key: ModuleKey) -> None:
        """Wait for the watch that was forgotten last: it may have been in the middle of a start."""
        task = self._leaving.pop(key, None)
        if task is not None:
            await asyncio.wait([task])

    async def _supervise(self, watch: Watch) -> None:
        context.begin(module=watch.record.key.module, version=watch.record.release.version)
        while True:
            if watch.process is None:
                await self._start_again(watch)
                continue
            try:
                ended = await self._processes.ended(watch.process.identity)
            except HolderError as error:  # nothing answers, and whether it still runs is asked again
                log.error("cannot watch %s: %s", watch.record.key, error)
                await asyncio.sleep(ASK_AGAIN)
                continue
            log.warning("%s %s: %s", watch.record.key, watch.record.release.version, describe_exit(ended))
            watch.process = None
            watch.crashes = 1 if time.monotonic() - watch.since > SETTLED else watch.crashes + 1
            watch.status = ModuleStatus.CRASH_LOOP if watch.crashes >= CRASH_LOOP else ModuleStatus.RESTARTING
            self.changed.set()

    async def _start_again(self, watch: Watch) -> None:
        await asyncio.sleep(back_off(watch.crashes))
        if not await self._bring_up(watch):
            watch.crashes += 1
            return
        watch.restarts += 1
        self._counters.restart(watch.record.key.module)
        if watch.crashes < CRASH_LOOP:
            watch.status = ModuleStatus.RUNNING
        self.changed.set()

    async def _bring_up(self, watch: Watch) -> bool:
        """Listen, send users to it and start it, as far as that is not done yet; False if any of it failed.

        Whatever happens here must not end the supervision of a module, which nobody else would begin again.
        """
        try:
            if not watch.listening:
                watch.endpoints = tuple(await self._processes.addresses.listen(watch.program))
                watch.listening = True
            if not watch.steered:  # before the start, so that users wait where it will take them
                await self._steer(watch)
                watch.steered = True
            process = await self._processes.start(watch.program, watch.record, watch.endpoints)
        except (OperationFailed, HolderError, OSError, sqlite3.Error) as error:
            log.error("cannot run the active release of %s: %s", watch.record.key, error)
            return False
        except Exception:
            log.exception("cannot run the active release of %s", watch.record.key)
            return False
        watch.process, watch.since = process, time.monotonic()
        return True

    async def _steer(self, watch: Watch) -> None:
        """Send users to the side of a watch, unless it is that of the old side, between a commit and its switch."""
        if self._journal.module(watch.record.key).active_side == watch.record.side:
            await self._processes.steer(watch.endpoints, watch.record.side)

    def is_running(self, key: ModuleKey) -> bool:
        """Whether the active release runs and is not known to crash."""
        watch = self._active.get(key)
        return watch is not None and watch.process is not None and watch.status is ModuleStatus.RUNNING

    def watch(self, key: ModuleKey) -> Watch | None:
        """What is known of the active process of a module."""
        watch = self._active.get(key)
        looping = watch is not None and watch.status is ModuleStatus.CRASH_LOOP and watch.process is not None
        if watch is not None and looping and time.monotonic() - watch.since > SETTLED:
            watch.status, watch.crashes = ModuleStatus.RUNNING, 0
        return watch

    async def halt(self, key: ModuleKey, drain: float) -> None:
        """End the active process without restarting it, and wait for its end."""
        watch = self._forget_watch(key)
        await self._left(key)
        process = await self._processes.find(watch.record) if watch is not None else None
        if process is not None:
            await self._processes.stop(process.identity, drain)
            await self._processes.gone(process.identity)

    async def resume(self, key: ModuleKey) -> None:
        """Run what was committed as active, and send users to it. Used at start and to undo a `halt`.

        What cannot be started now is tried again with back-off. Raises `OperationFailed` if the release is damaged.
        """
        module = self._journal.module(key)
        if module.active is None or module.active_side is None:
            return
        record = next(side for side in self._journal.sides(key) if side.side == module.active_side)
        before = self._forget_watch(key)
        program = self._processes.program(key, record.release)
        endpoints = tuple(self._processes.addresses.endpoints(program))
        watch = Watch(record, program, None, endpoints, listening=False, steered=False)
        watch.restarts = before.restarts if before is not None else 0
        if not await self._bring_up(watch):
            watch.status, watch.crashes = ModuleStatus.RESTARTING, 1
        self._active[key] = watch
        watch.task = self._watching(watch)
        self.changed.set()

    # -- what leaves or stands by -----------------------------------------------------------------------------

    def drain(self, record: SideRecord, timeout: float) -> None:
        """End the process of a side in the background; the side is free when it has ended."""
        self._stop_standing(record.key, record.side)
        place = (record.key, record.side)
        if place not in self._endings:
            self._journal.put_side(replace_role(record, Role.DRAINING))
            self._endings[place] = asyncio.create_task(self._end(record, timeout))
            self.changed.set()

    async def _end(self, record: SideRecord, timeout: float) -> None:
        place = (record.key, record.side)
        try:
            await self._left(record.key)
            with spans.span("drain", module=record.key.module, version=record.release.version):
                await _insist(lambda: self._end_all(record, timeout), f"end {record.release.version} of {record.key}")
        finally:
            self._endings.pop(place, None)
            self.changed.set()

    async def _end_all(self, record: SideRecord, timeout: float) -> None:
        while (process := await self._processes.find(record)) is not None:
            await self._processes.retire(process, timeout)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN):
                    await self._processes.gone(process.identity)
        self._journal.drop_side(record.key, record.side)
        await self._close_unused(record)

    async def _close_unused(self, record: SideRecord) -> None:
        """Close the addresses that only the ended release listened on."""
        in_use: set[str | None] = set()
        for other in self._journal.sides(record.key):
            program = self._processes.known_program(other.key, other.release)
            in_use |= {endpoint.key for endpoint in self._processes.addresses.endpoints(program)}
        ended = self._processes.known_program(record.key, record.release)
        keys = [endpoint.key for endpoint in self._processes.addresses.endpoints(ended) if endpoint.key is not None]
        await self._processes.release([key for key in keys if key not in in_use])

    def keep_warm(self, record: SideRecord) -> None:
        """Leave a process on its idle side until its time is over or it ends by itself."""
        self._journal.put_side(record)
        place = (record.key, record.side)
        self._stop_standing(*place)
        self._standing[place] = asyncio.create_task(
            _insist(lambda: self._stand(record), f"watch {record.release.version} of {record.key}"),
            context=context.detached(),
        )
        self.changed.set()

    async def _stand(self, record: SideRecord) -> None:
        left = None if record.until is None else max(0.0, record.until - time.time())
        process = await self._processes.find(record)
        if process is not None:
            try:
                async with asyncio.timeout(left):
                    await self._processes.gone(process.identity)
            except TimeoutError:
                program = self._processes.known_program(record.key, record.release)
                self.drain(record, program.manifest.drain.timeout)
                return
        self._journal.drop_side(record.key, record.side)
        self._standing.pop((record.key, record.side), None)
        self.changed.set()

    def _stop_standing(self, key: ModuleKey, side: str) -> None:
        task = self._standing.pop((key, side), None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def free_side(self, key: ModuleKey, side: str) -> None:
        """Return when nothing is on a side: what drains is waited for, what stands by is drained first."""
        for record in self._journal.sides(key):
            if record.side == side:
                program = self._processes.known_program(key, record.release)
                self.drain(record, program.manifest.drain.timeout)
        ending = self._endings.get((key, side))
        if ending is not None:
            await asyncio.shield(ending)

    def dismiss(self, key: ModuleKey, old: Program) -> None:
        """The module is to be absent: end all of it in the background."""
        self._forget_watch(key)
        for record in self._journal.sides(key):
            self.drain(record, old.manifest.drain.timeout)

    def standby(self, key: ModuleKey) -> list[SideRecord]:
        """What is on the idle side."""
        active = self._journal.module(key).active_side
        return [
            record for record in self._journal.sides(key) if record.side != active and record.role != Role.CANDIDATE
        ]

    # -- events of the holder ---------------------------------------------------------------------------------

    def _receive(self, event: Event) -> None:
        if isinstance(event, HolderReplaced):
            self._later(self._steer_all())
        elif isinstance(event, ListenerRepaired) and event.lost_listener and event.identity is not None:
            for watch in self._active.values():
                if watch.process is not None and watch.process.identity == event.identity:
                    log.warning("%s can accept no more (%s) and is started again", watch.record.key, event.reason)
                    self._later(self._processes.stop(event.identity, watch.program.manifest.drain.timeout))

    async def _steer_all(self) -> None:
        """The next holder was given the listeners; which side is active is said again, it costs nothing."""
        for watch in list(self._active.values()):
            try:
                await self._steer(watch)
            except HolderError as error:
                log.error("cannot steer %s: %s", watch.record.key, error)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    def all_watches(self) -> Iterable[Watch]:
        """Every active process."""
        return list(self._active.values())


async def _insist(work: Callable[[], Coroutine[None, None, None]], what: str) -> None:
    """Do it until it is done: a process that nobody ends any more would keep its side for ever."""
    while True:
        try:
            return await work()
        except (HolderError, OSError, sqlite3.Error) as error:
            log.error("cannot %s yet: %s", what, error)
        await asyncio.sleep(ASK_AGAIN)


def replace_role(record: SideRecord, role: Role) -> SideRecord:
    """The same side for another reason."""
    return SideRecord(record.key, record.side, role, record.release, record.operation_id)
