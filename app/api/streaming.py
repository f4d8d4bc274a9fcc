"""Server-sent events within bounds: so many streams a process, each gone soon after its client is.

https://html.spec.whatwg.org/multipage/server-sent-events.html. A stream holds a thread of the server while it lasts, so
only half of the threads may carry one, and one more is told to come back. A comment goes out every few seconds: a
client that is gone makes it fail, one that reads nothing for the socket's timeout (observation.py) makes it time out,
and either frees the thread. A stream may go on for hours: whoever loses the session or token that opened it loses the
stream as well, within a few seconds.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, g, request

from app.domain.errors import TooMany

KEEP_ALIVE_SECONDS = 5.0
AUTHENTICATED_SECONDS = 5.0
"""How often a stream asks whether its reader still is who may read it."""
KEEP_ALIVE = ": still here\n\n"
EVENT_STREAM = "text/event-stream"


def wants_stream() -> bool:
    """Whether the client asks for server-sent events (and not merely accepts anything)."""
    best = request.accept_mimetypes.best_match(["application/json", "text/plain", EVENT_STREAM])
    return best == EVENT_STREAM


def frame(data: dict[str, Any], *, event_id: int | str | None = None) -> str:
    """One event. JSON has no line breaks, so its data is one line."""
    number = f"id: {event_id}\n" if event_id is not None else ""
    return f"{number}data: {json.dumps(data, separators=(',', ':'))}\n\n"


class Streams:
    """The places for streams of one process."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    def answer(self, frames: Callable[[], Iterator[str]]) -> Response:
        """A stream of what `frames` yields. Raises TooMany, and what `frames` raises before it yields anything.

        What is yielded later is made after the request's context is gone: it may use nothing of it.
        """
        if not self._places.acquire(blocking=False):
            raise TooMany("Too many event streams are open in this process.", retry_after=2)
        try:
            held = _Held(frames(), self._places.release, g.get("still_authenticated", lambda: True))
        except BaseException:
            self._places.release()
            raise
        response = Response(held, content_type=f"{EVENT_STREAM}; charset=utf-8")
        response.headers["Cache-Control"] = "no-cache"
        # nginx would otherwise collect events until its buffer is full.
        response.headers["X-Accel-Buffering"] = "no"
        return response


class _Held:
    """An iterator that gives its place back when it ends, or when the server closes it; once."""

    def __init__(
        self, frames: Iterator[str], give_back: Callable[[], None], still_authenticated: Callable[[], bool]
    ) -> None:
        self._frames = frames
        self._give_back = give_back
        self._still_authenticated = still_authenticated
        self._asked = time.monotonic()
        self._held = True

    def __iter__(self) -> _Held:
        return self

    def __next__(self) -> str:
        try:
            self._ask()
            return next(self._frames)
        except BaseException:
            self.close()
            raise

    def _ask(self) -> None:
        """Raises StopIteration when the reader may read no more."""
        now = time.monotonic()
        if now - self._asked >= AUTHENTICATED_SECONDS:
            self._asked = now
            if not self._still_authenticated():
                raise StopIteration

    def close(self) -> None:
        if self._held:
            self._held = False
            self._give_back()
            close = getattr(self._frames, "close", None)
            if close is not None:
                close()
