"""The kinds of users: what each does over and over. HTTP/1.1 by hand, so that nothing is retried behind our back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from urllib.parse import urlsplit

from tests.load.tally import Tally

LIMIT = 30.0  # seconds for one request; who waits longer has failed
LATENESS = 0.5  # seconds between a late user's connect and its first byte


class UserKind(StrEnum):
    KEEP_ALIVE = "keep-alive"
    ONE_SHOT = "one-shot"
    LATE = "late"  # with TCP_DEFER_ACCEPT at the server, its handshake ends half a second after it connected


class Unexpected(Exception):
    """An answer that is none of status 200."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.reusable = True

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port))

    async def get(self, path: str, host: str, *, last: bool) -> str:
        """The body of the answer. Raises OSError, EOFError, Unexpected."""
        close = "Connection: close\r\n" if last else ""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n".encode())
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = (await self._reader.readexactly(int(headers["content-length"]))).decode()
        if last or headers.get("connection", "").lower() == "close":
            self.reusable = False
        if status.split(" ")[1] != "200":
            raise Unexpected(f"{status} {body}")
        return body

    def close(self) -> None:
        self._writer.close()


class User:
    """One user of one target, until `ended` is set."""

    def __init__(self, kind: UserKind, target: str, url: str, pause: float, tally: Tally, ended: asyncio.Event) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path or "/"
        self._kind, self._target, self._pause, self._tally, self._ended = kind, target, pause, tally, ended
        self._connection: _Connection | None = None

    async def run(self) -> None:
        ask: Callable[[], Awaitable[str]] = self._late if self._kind is UserKind.LATE else self._ask
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(LIMIT):
                    body = await ask()
            except (OSError, EOFError, Unexpected, TimeoutError) as error:
                self._hang_up()
                self._tally.failed(self._target, self._kind.value, repr(error))
            else:
                self._tally.answered(self._target, body)
            await self._rest()
        self._hang_up()

    async def _ask(self) -> str:
        last = self._kind is UserKind.ONE_SHOT
        if self._connection is None:
            self._connection = await _Connection.open(self._host, self._port)
        body = await self._connection.get(self._path, self._host, last=last)
        if not self._connection.reusable:
            self._hang_up()
        return body

    async def _late(self) -> str:
        self._connection = await _Connection.open(self._host, self._port)
        await asyncio.sleep(LATENESS)
        body = await self._connection.get(self._path, self._host, last=True)
        self._hang_up()
        return body

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._pause):
                await self._ended.wait()
        except TimeoutError:
            return

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
