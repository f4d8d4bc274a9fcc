"""The holder's event loop: epoll and a heap of timers, one thread.

Not `selectors`: a listener is watched for EPOLLHUP alone while a module accepts on it, and edge-triggered while it
has to become quiet; `selectors` offers neither.
"""

from __future__ import annotations

import heapq
import itertools
import select
import sys
import time
from collections.abc import Callable
from functools import partial

LONGEST_SLEEP = 3600.0


class Watch:
    """A descriptor that is being watched; `change` and `end` are all one does with it."""

    __slots__ = ("_epoll", "active", "callback", "fd", "mask")

    def __init__(self, epoll: select.epoll, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        self._epoll = epoll
        self.fd = fd
        self.mask = mask
        self.callback = callback
        self.active = True
        epoll.register(fd, mask)

    def change(self, mask: int) -> None:
        """Watches for `mask` from now on. 0 leaves EPOLLHUP and EPOLLERR, which cannot be switched off."""
        if self.active and mask != self.mask:
            self.mask = mask
            self._epoll.modify(self.fd, mask)

    def end(self) -> None:
        """To be called before the descriptor is closed: a duplicate elsewhere would keep it in the epoll set."""
        if self.active:
            self.active = False
            self._epoll.unregister(self.fd)


class Timer:
    """A call that is to come; `cancel` is harmless afterwards."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Calls back until `stop`. An exception in a callback is reported and survived: this process is the parent of
    other people's services."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, Watch] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._running = False

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> Watch:
        """Calls `callback(events)` when `fd` shows any of `mask`, or EPOLLHUP or EPOLLERR."""
        watch = Watch(self._epoll, fd, mask, callback)
        self._watches[fd] = watch
        return watch

    def unwatch(self, fd: int) -> None:
        """Ends the watch of a descriptor, before it is closed."""
        watch = self._watches.pop(fd, None)
        if watch is not None:
            watch.end()

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls for ever, also after a call that raised."""

        def again() -> None:
            self.later(seconds, again)
            callback()

        self.later(seconds, again)

    def run(self) -> None:
        self._running = True
        while self._running:
            self.turn(LONGEST_SLEEP)

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._epoll.close()

    def turn(self, longest: float) -> None:
        """One round: waits at most `longest` seconds, then calls back what is ready or due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        wait = max(0.0, min(longest, self._timers[0][0] - time.monotonic())) if self._timers else longest
        ready = [(self._watches[fd], mask) for fd, mask in self._epoll.poll(wait) if fd in self._watches]
        # What hung up first: a listener that a module shut down is replaced before anything uses the group.
        ready.sort(key=lambda entry: not entry[1] & select.EPOLLHUP)
        for watch, mask in ready:
            if watch.active:
                _survive(partial(watch.callback, mask))
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                _survive(callback)


def _survive(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        sys.excepthook(*sys.exc_info())
