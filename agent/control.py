"""The agent's local socket: how somebody on the same machine stops it, and waits for that."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

STOP, STOP_MODULES = b"stop\n", b"stop modules\n"


class ControlSocket:
    """Takes one line per connection; the connection stays open until the agent has ended."""

    def __init__(self, path: Path, stop: Callable[[bool], None]) -> None:
        self._path = path
        self._stop = stop
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; only the same user may connect (the data folder is 0700)."""
        self._path.unlink(missing_ok=True)
        with _short(self._path) as path:
            self._server = await asyncio.start_unix_server(self._serve, path)
        self._path.chmod(0o600)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line in (STOP, STOP_MODULES):
            self._stop(line == STOP_MODULES)
            writer.write(b"stopping\n")
        else:
            writer.write(b"unknown command\n")
            writer.close()

    def close(self) -> None:
        """Listen no more. Who waits for the end learns it from the closed connection of the dying process."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The same socket by a name that fits into the 107 bytes of an address, however deep the folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def ask_to_stop(path: Path, timeout: float, *, modules: bool) -> bool:
    """Stop the agent behind a socket and wait for its end; False if none listens. Raises TimeoutError."""
    try:
        with _short(path) as short:
            reader, writer = await asyncio.open_unix_connection(short)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    async with asyncio.timeout(timeout):
        with contextlib.suppress(ConnectionError):
            writer.write(STOP_MODULES if modules else STOP)
            await writer.drain()
            await reader.read()
    writer.close()
    return True
