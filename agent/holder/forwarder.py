"""The process that holds a side's listener for a module that cannot (`handover: port`).

Our own and not systemd-socket-proxyd, even where that is present: SIGTERM cuts the live connections of that one and it
cannot stop accepting without ending, while this one stops accepting on SIGTERM and ends with its last connection; it
waits for a module that is being restarted instead of refusing; and it is a fork of the holder that needs no exec.
"""

from __future__ import annotations

import os
import select
import signal as signals
import socket

from agent.holder.loop import Loop
from agent.holder.pump import Pump

PATIENCE = 20.0  # seconds a user waits for a module that is being started again
_LOOK_SECONDS = 2.0
_AT_ONCE = 64
_PAUSE_WITHOUT_DESCRIPTORS = 0.1


class Forwarder:
    """Accepts on `listener` (shared, non-blocking) and carries to a port of 127.0.0.1."""

    def __init__(self, loop: Loop, listener: socket.socket, port: int) -> None:
        self._loop = loop
        self._listener = listener
        self._target = ("127.0.0.1", port)
        self._pumps: set[Pump] = set()
        self._accepting = True
        os.set_blocking(listener.fileno(), False)
        self._watch = loop.watch(listener.fileno(), select.EPOLLIN, self._accept)
        self._parent = os.getppid()
        self._refusals = 0
        loop.every(_LOOK_SECONDS, self._end_when_forsaken)

    def stop_accepting(self) -> None:
        """What is connected goes on; the loop ends with the last of it."""
        if self._accepting:
            self._accepting = False
            self._watch.end()
            self._listener.close()
        self._end_if_done()

    def _end_when_forsaken(self) -> None:
        """When the holder that made it has died and its module too, nobody may be left to end it. (With only the holder
        dead, the next one adopts it.)"""
        if os.getppid() == self._parent:
            return
        with socket.socket() as sock:
            self._refusals = self._refusals + 1 if sock.connect_ex(self._target) else 0
        if self._refusals > PATIENCE / _LOOK_SECONDS:
            self.stop_accepting()

    def _accept(self, mask: int) -> None:
        if mask & select.EPOLLHUP:
            self.stop_accepting()
            return
        for _ in range(_AT_ONCE):
            try:
                user, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._watch.change(0)
                self._loop.later(_PAUSE_WITHOUT_DESCRIPTORS, self._resume)
                return
            self._pumps.add(Pump(self._loop, user, self._target, patience=PATIENCE, on_end=self._ended))

    def _resume(self) -> None:
        if self._accepting:
            self._watch.change(select.EPOLLIN)

    def _ended(self, pump: Pump) -> None:
        self._pumps.discard(pump)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._accepting and not self._pumps:
            self._loop.stop()


def run(listener: socket.socket, port: int) -> None:
    """Forwards until SIGTERM and the end of the last connection after it."""
    loop = Loop()
    awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    forwarder = Forwarder(loop, listener, port)

    def woken(_: int) -> None:
        if signals.SIGTERM in os.read(awake, 64):
            forwarder.stop_accepting()

    signals.set_wakeup_fd(wake)
    signals.signal(signals.SIGTERM, lambda *_: None)  # only to wake the loop
    loop.watch(awake, select.EPOLLIN, woken)
    loop.run()
