"""Users of a module: keep-alive and one-shot clients that count what they got."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Load:
    """Answers by what they said, failures by their reason."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._stop = asyncio.Event()

    async def user(self, keep_alive: bool) -> None:
        """Ask again and again; a connection that the server closes after an answer is no failure."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(30):
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    wanted = "keep-alive" if keep_alive else "close"
                    writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: {wanted}\r\n\r\n".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(_length(head))
                if not head.startswith(b"HTTP/1.1 200"):
                    self.failures[head.split(b"\r\n")[0].decode()] += 1
                else:
                    self.answers[body.decode()] += 1
                if not keep_alive or b"Connection: close" in head:
                    writer.close()
                    reader = writer = None
            except (OSError, EOFError, TimeoutError) as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
                reader = writer = None
            await asyncio.sleep(0.01)
        if writer is not None:
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self, users: int = 6) -> AsyncIterator[Load]:
        """Half of the users keep their connection."""
        tasks = [asyncio.create_task(self.user(number % 2 == 0)) for number in range(users)]
        try:
            yield self
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)


def _length(head: bytes) -> int:
    return int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
