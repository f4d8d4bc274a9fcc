"""A thread with an event loop, in which any number of users ask their targets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping

from tests.load.tally import Tally
from tests.load.users import User, UserKind

GENEROUS = 120.0  # seconds to wait for answers on a slow machine


class Load:
    """Users of `targets` (name -> URL). `pause`: seconds a user rests between its requests."""

    def __init__(self, targets: Mapping[str, str], *, pause: float = 0.03) -> None:
        self.tally = Tally()
        self._targets, self._pause = dict(targets), pause
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._users: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, keep_alive: int = 0, one_shot: int = 0, late: int = 0) -> None:
        """So many more users of each kind, for each target."""
        counts = {UserKind.KEEP_ALIVE: keep_alive, UserKind.ONE_SHOT: one_shot, UserKind.LATE: late}
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        asyncio.run_coroutine_threadsafe(self._start(kinds), self._loop).result()

    def wait_for(self, answers: int, limit: float = GENEROUS) -> None:
        """Until each target has given so many more answers. Raises AssertionError."""
        goal = {target: self.tally.of(target).total() + answers for target in self._targets}
        deadline = time.monotonic() + limit
        while any(self.tally.of(target).total() < number for target, number in goal.items()):
            assert time.monotonic() < deadline, f"too few answers: {self.tally.versions}; {self.tally.failures}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Let every user end its request. Once it has returned, the tally stands."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()

    async def _start(self, kinds: list[UserKind]) -> None:
        for target, url in self._targets.items():
            for kind in kinds:
                user = User(kind, target, url, self._pause, self.tally, self._ended)
                self._users.append(asyncio.create_task(user.run()))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._until_ended())
        finally:
            self._loop.close()

    async def _until_ended(self) -> None:
        await self._ended.wait()
        await asyncio.gather(*self._users)
