"""The events of a deployment as they happen, from a thread of its own, over every broken connection.

Server-sent events are followed, resumed with `Last-Event-ID`; so nothing is missed or told twice, whatever restarts.
Where a stream is refused or swallowed on the way (a proxy that buffers), the pages of events are asked for instead.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from app.cli.client import Client
from app.cli.deployment_events import DeploymentEvent, event_of, event_of_stream
from app.cli.errors import Busy, CliError, NotLoggedIn, NotPermitted, Refused, Silence
from app.cli.server_sent_events import EventTooLong, lines, parse

EVENT_STREAM = "text/event-stream"
_SILENCE = 45.0  # seconds; servers send a comment more often than that
_SWALLOWED = 2  # streams that said nothing at all, in a row
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_POLL = 2.0
_PAGE = 200
_LAST = 2.0  # seconds for the thread to notice that it is to end


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream, or polling in its place, works."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """It does not, for this reason; it is tried again."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """There will be no more events from here: the server said no."""

    error: CliError


News = DeploymentEvent | Connected | Disconnected | Ended


class _NoStream(Exception):
    """What answered is no event stream."""


class _NoMoreEvents(Exception):
    """The deployment has ended, and all its events are known here."""


class EventFeed:
    """Delivers news from its thread until `stop`. Events come in order, each once, starting after number `after`."""

    def __init__(
        self,
        client: Client,
        deployment_id: str,
        after: int,
        deliver: Callable[[News], None],
        silence: float = _SILENCE,
    ) -> None:
        self._client = client
        self._path = f"/deployments/{quote(deployment_id, safe='')}/events"
        self._last = after
        self._deliver = deliver
        self._silence = silence
        self._heard = False
        self._stopping = threading.Event()
        self._response: httpx.Response | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, also in the middle of waiting for the next event."""
        self._stopping.set()
        response = self._response
        if response is not None:
            _interrupt(response)
        self._thread.join(_LAST)

    def _run(self) -> None:
        pause, swallowed = _FIRST_PAUSE, 0
        while not self._stopping.is_set():
            before = self._last
            try:
                if swallowed >= _SWALLOWED:
                    self._page()
                    continue
                self._stream()
                why = "the stream ended"
            except _NoStream:
                swallowed = _SWALLOWED
                continue
            except _NoMoreEvents:
                return
            except (CliError, EventTooLong) as error:
                if isinstance(error, NotLoggedIn | NotPermitted | Refused) and not isinstance(error, Busy):
                    self._deliver(Ended(error))
                    return
                why = str(error)
                if isinstance(error, Silence) and not self._heard:
                    swallowed += 1
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if self._last != before else min(pause * 2, _LONGEST_PAUSE)
            self._deliver(Disconnected(why))
            self._stopping.wait(pause * random.uniform(0.5, 1.0))

    def _stream(self) -> None:
        headers = {"Accept": EVENT_STREAM, "Last-Event-ID": str(self._last)}
        self._heard = True
        with self._client.stream(self._path, headers, silence=self._silence) as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                raise _NoMoreEvents
            if not response.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                raise _NoStream
            self._heard = False
            self._response = response
            try:
                self._deliver(Connected())
                for item in parse(lines(self._noting(response.iter_bytes()))):
                    self._take(event_of_stream(item.data))
            finally:
                self._response = None

    def _noting(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._heard = True
            yield chunk

    def _page(self) -> None:
        """The pages of what is new, then a pause."""
        while True:
            page = self._client.get(self._path, {"after": self._last, "limit": _PAGE})
            before = self._last
            for raw in page:
                self._take(event_of(raw))
            if self._last == before or self._stopping.is_set():
                break
        self._deliver(Connected())
        self._stopping.wait(_POLL)

    def _take(self, event: DeploymentEvent | None) -> None:
        if event is not None and event.id > self._last:
            self._last = event.id
            self._deliver(event)


def _interrupt(response: httpx.Response) -> None:
    """Wake a thread that reads this answer: shutting a socket down is safe from another thread, closing it is not."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already
