"""Starts services in order of readiness, starts again what dies, and stops them in order, in bounded time.

One thread, one event loop: children are forked from it, so there must be no other thread.
"""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import logs
from deploy.local.child import Child, spawn
from deploy.local.console import Console
from deploy.local.errors import StackError
from deploy.local.exit_codes import EXIT_USAGE
from deploy.local.ledger import Ledger
from deploy.local.service import STOP_ORDER, Phase, Restarts, Service

START_LIMIT = 90.0  # seconds for one service to be ready; a slow disk's first initdb is not in it
READY_LIMIT = 180.0  # seconds for the whole to be ready after the last service has been started
STOP_LIMIT = 19.5  # seconds for everything to end
_SERVERS_SHARE = 2.0  # of these, for the servers
_LOOK_EVERY = 0.1
_REPORT_EVERY = 10.0
_CUT_LOGS_EVERY = 5.0


class StartError(Exception):
    """The stack did not get ready. The text says what did not."""


class Refused(StartError):
    """What was asked for cannot be. The text is one line that says what to do."""


class Stopped(Exception):
    """Somebody asked for a stop."""


@dataclass
class _Slot:
    """A service and what became of it."""

    service: Service
    child: Child | None = None
    restarts: Restarts = field(default_factory=Restarts)
    again: asyncio.TimerHandle | None = None


class Supervisor:
    """Runs `services`. `replace=False` leaves dead what died, and says so."""

    def __init__(
        self, services: Sequence[Service], ledger: Ledger, log_folder: Path, console: Console, *, replace: bool = True
    ) -> None:
        self._slots = {service.name: _Slot(service) for service in services}
        self._ledger = ledger
        self._log_folder = log_folder
        self._console = console
        self._replace = replace
        self._stop = asyncio.Event()
        self._stopping = False

    def ask_to_stop(self) -> None:
        """Begin to stop, once; safe to call again and from a signal's handler in the loop."""
        if self._stop.is_set():
            self._console.say("already stopping")
            return
        self._stop.set()

    async def start(self) -> None:
        """Bring every service up, phase by phase. Raises StartError, Stopped."""
        for phase in Phase:
            slots = [slot for slot in self._slots.values() if slot.service.phase is phase]
            for slot in slots:
                self._start(slot)
            await asyncio.gather(*(self._until_ready(slot) for slot in slots))

    async def until_ready(self, ask: Service) -> None:
        """Wait for the probe of a whole, a service without a process of its own. Raises StartError, Stopped."""
        await self._until_ready(_Slot(ask), READY_LIMIT)

    async def run(self) -> None:
        """Watch over all until a stop is asked for."""
        while not self._stop.is_set():
            for name in (*self._slots, "supervisor"):
                logs.cut(self._log(name))
            try:
                await asyncio.wait_for(self._stop.wait(), _CUT_LOGS_EVERY)
            except TimeoutError:
                continue

    async def end(self) -> None:
        """Stop everything in order; what is late is killed. Takes at most STOP_LIMIT."""
        self._stopping = True
        for slot in self._slots.values():
            if slot.again is not None:
                slot.again.cancel()
        begun = time.monotonic()
        for phases in STOP_ORDER:
            limit = STOP_LIMIT if Phase.SERVERS in phases else STOP_LIMIT - _SERVERS_SHARE
            await self._end(phases, begun + limit - time.monotonic())

    async def _end(self, phases: tuple[Phase, ...], limit: float) -> None:
        slots = [slot for slot in self._slots.values() if slot.service.phase in phases]
        living = [slot.child for slot in slots if slot.child and slot.child.exit_code is None]
        if living:
            self._console.say(f"stopping {', '.join(child.service.name for child in living)}")
        try:
            async with asyncio.timeout(max(0.0, limit)):
                await asyncio.gather(*(child.end() for child in living))
                await asyncio.gather(*(slot.service.after() for slot in slots if slot.service.after))
        except TimeoutError:
            await asyncio.gather(*(child.kill() for child in living))

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"

    def _start(self, slot: _Slot) -> None:
        slot.again = None
        name = slot.service.name
        try:
            slot.child = spawn(slot.service, self._ledger, self._log(name), lambda child: self._ended(slot, child))
        except (OSError, subprocess.SubprocessError, StackError) as error:
            # E.g. no process left, or the disk is full: it may be better in a moment.
            self._start_again(slot, time.monotonic(), f"could not be started: {error}")

    def _ended(self, slot: _Slot, child: Child) -> None:
        name = slot.service.name
        self._ledger.strike(name)
        if child.stopping or self._stopping or (slot.service.once and child.exit_code == 0):
            return
        said = logs.last_words(self._log(name), since=child.log_begin)
        what = f"{_manner(child.exit_code)}{f': {said}' if said else ''}"
        if slot.service.once or not self._replace:
            again = "" if slot.service.once else " (not started again: --no-replace)"
            self._console.say(f"{name} {what}{again}", level="warning")
            return
        self._start_again(slot, child.started, what)

    def _start_again(self, slot: _Slot, started: float, what: str) -> None:
        name, now = slot.service.name, time.monotonic()
        wait = slot.restarts.died(started, now)
        if slot.restarts.loops(now):
            said = f"{name} keeps dying, last it {what}. Still trying; see {self._log(name)}"
            self._console.say(said, level="warning")
        elif not slot.restarts.looping:
            self._console.say(f"{name} {what}", level="warning")
        slot.again = asyncio.get_running_loop().call_later(wait, self._start, slot)

    async def _until_ready(self, slot: _Slot, limit: float = START_LIMIT) -> None:
        name, probe = slot.service.name, slot.service.ready
        begun = reported = time.monotonic()
        while True:
            if self._stop.is_set():
                raise Stopped
            lacks = await self._lacks(slot)
            if lacks is None:
                return
            now = time.monotonic()
            if slot.service.once and slot.child and slot.child.exit_code == EXIT_USAGE:
                raise Refused(lacks)
            if now - begun > limit or (slot.service.once and slot.child and slot.child.exit_code):
                raise StartError(f"{name} did not get ready: {lacks}")
            if probe is not None and now - reported > _REPORT_EVERY:
                reported = now
                self._console.say(f"waiting for {name}: {lacks}")
            await asyncio.sleep(_LOOK_EVERY)

    def _last_words(self, child: Child) -> str:
        return logs.last_words(self._log(child.service.name), lines=3, since=child.log_begin)

    async def _lacks(self, slot: _Slot) -> str | None:
        service, child = slot.service, slot.child
        if service.once:
            if child is None or child.exit_code is None:
                return "has not ended"
            return None if child.exit_code == 0 else self._last_words(child)
        return None if service.ready is None else await service.ready()


def _manner(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by signal {-code}"
    return f"ended with code {code}"
