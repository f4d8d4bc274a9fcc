"""Reading bodies within bounds: so many at once in a process, JSON within a time, and no waiting for what is not read.

A body that is under way holds a thread of the server. Of the threads that streams (streaming.py) leave, only three
quarters may wait for one, a few more wait a moment for a place, and all others are told at once to come back: so there
is always a thread for requests without a body. Who has sent all of a body needs no place for it.
"""

from __future__ import annotations

import threading
import time
from typing import IO, Any

from flask import Flask, Request, Response, g, request
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import RequestTimeout

from app.api.problems import malformed
from app.api.server import ClientSocket
from app.domain.errors import Invalid, Unavailable

_WAIT_SECONDS = 1.0
_RETRY_SECONDS = 1
_CUT = "ended before it was whole"


class Bodies:
    """The places of one process for bodies that arrive."""

    def __init__(self, threads: int, json_seconds: float) -> None:
        shared = threads - threads // 2
        most = max(1, shared * 3 // 4)
        self._places = threading.BoundedSemaphore(most)
        # Who waits for a place holds a thread as well.
        self._waiting = threading.BoundedSemaphore((shared - most) // 2)
        self._json_seconds = json_seconds

    def guard(self, asked: Request, *, upload: bool) -> None:
        """Before the body of this request is read. An upload may take as long as it moves."""
        if _announced(asked):
            seconds = None if upload else self._json_seconds
            asked.environ["wsgi.input"] = g.body = _Body(self, asked, seconds)

    def enter(self) -> None:
        """Take a place. Raises Unavailable."""
        if self._places.acquire(blocking=False):
            return
        waits = self._waiting.acquire(blocking=False)
        try:
            if not waits or not self._places.acquire(timeout=_WAIT_SECONDS):
                raise Unavailable("Too many requests are being received; send it again.", _RETRY_SECONDS)
        finally:
            if waits:
                self._waiting.release()

    def leave(self) -> None:
        self._places.release()


class _Body:
    """The input of one request. `whole`: all of it has been read."""

    def __init__(self, bodies: Bodies, asked: Request, seconds: float | None) -> None:
        self.whole = False
        self._bodies = bodies
        self._stream: IO[bytes] = asked.environ["wsgi.input"]
        self._length = asked.content_length
        self._seconds = seconds
        self._arrived = 0
        self._holds = False
        connection = asked.environ.get("gunicorn.socket")
        if isinstance(connection, ClientSocket):
            connection.before_waiting = self._begin
            connection.deadline = None if seconds is None else time.monotonic() + seconds

    def read(self, size: int = -1) -> bytes:
        """Raises Unavailable without a place, RequestTimeout, Invalid for a body that ends early or is malformed."""
        if self.whole:
            return b""
        try:
            piece = self._stream.read(size)
        except TimeoutError:
            raise RequestTimeout(self._too_slow()) from None
        except ParseException as error:
            raise malformed(error) from None
        except (NoMoreData, ConnectionError):
            raise Invalid({"body": [_CUT]}) from None
        self._arrived += len(piece)
        if not piece and self._length is not None and self._arrived < self._length:
            raise Invalid({"body": [_CUT]})
        if not piece or self._arrived == self._length:
            self.whole = True
            self.end()
        return piece

    def _begin(self) -> None:
        """Before the first time that the rest of the body must be waited for."""
        if not self._holds:
            self._bodies.enter()
            self._holds = True

    def _too_slow(self) -> str:
        if self._seconds is None:
            return "The request's body stopped arriving."
        return f"The request's body did not arrive within {self._seconds:g} seconds."

    def end(self) -> None:
        """Give the place back; more than once is once."""
        if self._holds:
            self._holds = False
            self._bodies.leave()


def register(app: Flask) -> None:
    """Let places be given back, and connections be closed whose body was not read, instead of waiting for its rest."""
    app.after_request(_answered)
    app.teardown_request(_over)


def _answered(response: Response) -> Response:
    body: _Body | None = g.get("body")
    connection = request.environ.get("gunicorn.socket")
    if _announced(request) and not (body and body.whole) and isinstance(connection, ClientSocket):
        connection.close_after_answer()
    return response


def _over(_error: BaseException | None = None) -> None:
    body: _Body | None = g.pop("body", None)
    if body is not None:
        body.end()


def _announced(asked: Request) -> bool:
    environ: dict[str, Any] = asked.environ
    return bool(asked.content_length) or "HTTP_TRANSFER_ENCODING" in environ
