"""Watches every listener: notices those that a module shut down, and answers where no process does.

Users who arrive at a listener that is not the active side's (their handshake began before a switch, or something is
wrong with the steering) are carried to the active side; probes there are closed, so that a health check never gets an
answer from the wrong process.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable

from agent.holder import sockets
from agent.holder.listeners import Listeners
from agent.holder.loop import Loop, Watch
from agent.holder.protocol import Side, SidePhase
from agent.holder.pump import Pump

_AT_ONCE = 64
_PAUSE_WITHOUT_DESCRIPTORS = 0.1
_PATIENCE = 20.0  # seconds for which a refused connection to the active side is tried again
_MOST_FORWARDED = 2000


class Reception:
    """`phase` tells what a side is doing; `arrived(key, side)` is called when somebody arrives at a side that has to
    become quiet; `lost(key, side)` after a side's listener had to be replaced."""

    def __init__(
        self,
        loop: Loop,
        phase: Callable[[str, Side], SidePhase],
        arrived: Callable[[str, Side], None],
        lost: Callable[[Listeners, Side | None], None],
    ) -> None:
        self._loop = loop
        self._phase = phase
        self._arrived = arrived
        self._lost = lost
        self._watches: dict[tuple[str, int], Watch] = {}
        self._pumps: set[Pump] = set()

    @property
    def forwarding(self) -> int:
        """Users being carried now."""
        return len(self._pumps)

    def refresh(self, listeners: Listeners) -> None:
        """To be called after anything that changes what the address's sides do."""
        for number, member in listeners.members.items():
            if member.sock is None:
                continue
            mask = self._mask(listeners, number)
            if mask == select.EPOLLIN:
                os.set_blocking(member.sock.fileno(), False)
            watch = self._watches.get((listeners.key, number))
            if watch is not None and watch.active and watch.fd == member.sock.fileno():
                watch.change(mask)
            else:
                self._watches[listeners.key, number] = self._loop.watch(
                    member.sock.fileno(), mask, self._ready(listeners, number)
                )

    def forget(self, listeners: Listeners) -> None:
        """Before the address is closed."""
        for key, number in list(self._watches):
            if key == listeners.key:
                self._watches.pop((key, number)).end()

    def _mask(self, listeners: Listeners, number: int) -> int:
        side = listeners.side_of(number)
        if side is None:
            return select.EPOLLIN
        phase = self._phase(listeners.key, side)
        if phase is SidePhase.OCCUPIED:
            return 0
        if phase is SidePhase.QUIETING:
            return select.EPOLLIN | select.EPOLLET
        # Nobody accepts on the active side: users wait in its queue for the next start.
        return 0 if side is listeners.active else select.EPOLLIN

    def _ready(self, listeners: Listeners, number: int) -> Callable[[int], None]:
        def ready(mask: int) -> None:
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                self._replace(listeners, number)
            elif self._mask(listeners, number) == select.EPOLLIN:
                self._accept(listeners, number)
            else:
                side = listeners.side_of(number)
                if side is not None:
                    self._arrived(listeners.key, side)

        return ready

    def _replace(self, listeners: Listeners, number: int) -> None:
        watch = self._watches.pop((listeners.key, number), None)
        if watch is not None:
            watch.end()
        try:
            side = listeners.lost(number)
        finally:
            self.refresh(listeners)
        self._lost(listeners, side)

    def _accept(self, listeners: Listeners, number: int) -> None:
        member = listeners.members[number]
        assert member.sock is not None
        for _ in range(_AT_ONCE):
            try:
                user, peer = member.sock.accept()
            except BlockingIOError:
                return
            except OSError:
                self._pause(listeners, number)
                return
            if listeners.is_probe(peer[0], peer[1]) or len(self._pumps) >= _MOST_FORWARDED:
                user.close()
                continue
            member.used_until = time.monotonic()
            self._carry(listeners, user)

    def _carry(self, listeners: Listeners, user: socket.socket) -> None:
        listeners.attach()  # if the steering is what brought the user here, it must not bring us back
        self._pumps.add(
            Pump(self._loop, user, listeners.target, patience=_PATIENCE, on_end=self._pumps.discard)
        )

    def _pause(self, listeners: Listeners, number: int) -> None:
        """Out of descriptors: the queue waits."""
        watch = self._watches[listeners.key, number]
        watch.change(0)
        self._loop.later(_PAUSE_WITHOUT_DESCRIPTORS, lambda: self._resume(listeners))

    def _resume(self, listeners: Listeners) -> None:
        if any(key == listeners.key for key, _ in self._watches):
            self.refresh(listeners)


def queue_of(listeners: Listeners, side: Side) -> int | None:
    """Connections waiting on the side; None when its listener is not in our hands."""
    sock = listeners.member(side).sock
    try:
        return sockets.accept_queue(sock) if sock is not None else None
    except OSError:
        return None
