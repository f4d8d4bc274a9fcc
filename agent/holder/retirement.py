"""Ending a process on the idle side without failing a user.

    quieting   nothing may have arrived on its side for `quiet` seconds without a break; it still serves what comes
    settling   only with a forwarder: it accepts no more, the module's own queue has to be empty for a moment
    stopping   SIGTERM sent; the holder accepts what still arrives on the side; SIGKILL after the drain timeout

A process that accepts no more would never be quiet: after the drain timeout it is stopped all the same, and the holder
takes over who waits in its queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.holder.loop import Loop, Timer
from agent.holder.processes import Process
from agent.holder.protocol import ProcessIdentity

_LOOK_SECONDS = 0.05
_SETTLE_SECONDS = 0.2


@dataclass(slots=True)
class _Retirement:
    process: Process
    quiet: float
    drain_timeout: float
    quiet_since: float
    give_up: float
    settling: bool
    timer: Timer


class Retirements:
    """`waiting(process)` counts who waits to be accepted by it; `close_side(process)` is called when the holder is to
    accept in its place (True: a forwarder has to settle first); `terminate(process, drain_timeout)` ends it."""

    def __init__(
        self,
        loop: Loop,
        waiting: Callable[[Process], int],
        close_side: Callable[[Process], bool],
        terminate: Callable[[Process, float], None],
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._close_side = close_side
        self._terminate = terminate
        self._table: dict[ProcessIdentity, _Retirement] = {}

    def begin(self, process: Process, quiet: float, drain_timeout: float) -> None:
        """Again is fine while one is under way."""
        if process.identity in self._table or process.stopping or not process.running:
            return
        now = time.monotonic()
        process.quieting = True
        timer = self._loop.later(min(quiet, _LOOK_SECONDS), lambda: self._look(process.identity))
        self._table[process.identity] = _Retirement(
            process, quiet, drain_timeout, now, now + quiet + drain_timeout, False, timer
        )

    def cancel(self, process: Process) -> None:
        """It gets users again, or has ended."""
        its = self._table.pop(process.identity, None)
        if its is not None:
            its.timer.cancel()
            process.quieting = False

    def arrived(self, process: Process) -> None:
        """Somebody came to its side."""
        its = self._table.get(process.identity)
        if its is not None:
            its.quiet_since = time.monotonic()

    def _look(self, who: ProcessIdentity) -> None:
        its = self._table.get(who)
        if its is None:
            return
        now = time.monotonic()
        if self._waiting(its.process):
            its.quiet_since = now
        need = _SETTLE_SECONDS if its.settling else its.quiet
        if now - its.quiet_since < need and now < its.give_up:
            its.timer = self._loop.later(_LOOK_SECONDS, lambda: self._look(who))
            return
        if not its.settling:
            its.process.quieting, its.process.stopping = False, True
            if self._close_side(its.process):
                its.settling, its.quiet_since = True, now
                its.timer = self._loop.later(_LOOK_SECONDS, lambda: self._look(who))
                return
        del self._table[who]
        self._terminate(its.process, its.drain_timeout)
