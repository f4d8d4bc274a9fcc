"""Users of a module: clients that ask every node again and again, and count what they got.

Half of them keep their connection, half open one for each request. Nothing is tried again: whatever is not an answer
with status 200 that says, in its header and in its body, which version gave it, is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ANSWER_LIMIT = 15.0  # seconds
_VERSION = re.compile(rb"\(version ([^)\s]+)\)\s*$")


@dataclass(frozen=True)
class Endpoint:
    """A node's name and the URL at which its module answers."""

    node: str
    url: str


@dataclass
class Tally:
    """What was counted in one part of the story. `slowest` is in seconds."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # (node, version)
    failures: Counter[str] = field(default_factory=Counter)  # by node and reason
    slowest: float = 0.0

    @property
    def answered(self) -> int:
        return self.answers.total()

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def versions(self) -> dict[str, int]:
        """Answers by the version that gave them."""
        counted: Counter[str] = Counter()
        for (_, version), count in self.answers.items():
            counted[version] += count
        return dict(sorted(counted.items()))

    @property
    def nodes(self) -> set[str]:
        """Whoever answered at all."""
        return {node for node, _ in self.answers}


class GarbledAnswer(Exception):
    """An answer that is none of a working module."""


class Load:
    """The clients, in a thread with an event loop of its own."""

    def __init__(self, endpoints: Iterable[Endpoint], pause: float = 0.08, clients_per_kind: int = 2) -> None:
        """`pause` is how many seconds a client rests between an answer and its next request."""
        self.endpoints = tuple(endpoints)
        self.clients = 2 * clients_per_kind * len(self.endpoints)
        self._pause = pause
        self._per_kind = clients_per_kind
        self._tally = Tally()
        self._last_answers: dict[str, float] = {}  # version -> when, on the monotonic clock
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; what has been asked is still waited for and counted."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(2 * _ANSWER_LIMIT)

    def cut(self) -> Tally:
        """What was counted since the last cut. A request counts where it ends."""
        with self._lock:
            tally, self._tally = self._tally, Tally()
        return tally

    def wait_for_more_answers(self, count: int, limit: float) -> bool:
        """Wait until so many more were counted; False if `limit` seconds were not enough."""
        deadline = time.monotonic() + limit
        with self._lock:
            wanted = self._tally.answered + count
        while time.monotonic() < deadline:
            with self._lock:
                if self._tally.answered >= wanted:
                    return True
            time.sleep(0.05)
        return False

    def wait_for_silence_of(self, version: str, quiet: float, limit: float) -> bool:
        """Wait until a version has answered nobody for `quiet` seconds: then its processes have been drained."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            with self._lock:
                last = self._last_answers.get(version, 0.0)
            if time.monotonic() - last > quiet:
                return True
            time.sleep(0.05)
        return False

    async def _all(self) -> None:
        kinds = (True, False) * self._per_kind
        await asyncio.gather(*(self._client(each, kind) for each in self.endpoints for kind in kinds))

    async def _client(self, endpoint: Endpoint, keep_alive: bool) -> None:
        connection: _Connection | None = None
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(_ANSWER_LIMIT):
                    connection = connection or await _Connection.to(endpoint)
                    version, closing = await connection.ask(keep_alive)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, GarbledAnswer) as error:
                self._failed(endpoint, f"{type(error).__name__} {error}".strip())
                closing = True
            else:
                self._answered(endpoint, version, time.monotonic() - began)
            if closing and connection is not None:
                connection.close()
                connection = None
            await asyncio.sleep(self._pause)
        if connection is not None:
            connection.close()

    def _answered(self, endpoint: Endpoint, version: str, seconds: float) -> None:
        with self._lock:
            self._tally.answers[endpoint.node, version] += 1
            self._tally.slowest = max(self._tally.slowest, seconds)
            self._last_answers[version] = time.monotonic()

    def _failed(self, endpoint: Endpoint, reason: str) -> None:
        with self._lock:
            self._tally.failures[f"{endpoint.node}: {reason}"] += 1


@dataclass
class _Connection:
    """One connection to a node's module."""

    host: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, endpoint: Endpoint) -> _Connection:
        address = urlsplit(endpoint.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        return cls(address.netloc, reader, writer)

    async def ask(self, keep_alive: bool) -> tuple[str, bool]:
        """The version that answered, and whether the connection ends with this answer."""
        wanted = "keep-alive" if keep_alive else "close"
        self.writer.write(f"GET /greet?name=Ada HTTP/1.1\r\nHost: {self.host}\r\nConnection: {wanted}\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "")))
        if not status.startswith("HTTP/1.1 200 "):
            raise GarbledAnswer(status)
        said = _VERSION.search(body)
        version = headers.get("x-module-version")
        if version is None or said is None or version != said[1].decode("latin-1"):
            raise GarbledAnswer(f"header says version {version}, body {body[:80]!r}")
        return version, headers.get("connection", "").lower() == "close" or not keep_alive

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()
