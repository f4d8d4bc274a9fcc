"""One HTTP GET to a module, over a connection of its own, small and bounded.

A library would pool connections; a probe must not, since the side is chosen when a connection is made.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass

from agent.holder.probe import open_socket, target
from agent.holder.protocol import ProbeSource

LARGEST_ANSWER = 1024 * 1024
LARGEST_LINE = 65536


class NoAnswer(Exception):
    """The module did not give an HTTP answer. `connected`: the kernel at least took the connection; `timed_out`: it
    was we who ended the waiting."""

    def __init__(self, message: str, *, connected: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.connected = connected
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `latency_ms` is from the connect to the last byte."""

    status: int
    body: bytes
    latency_ms: float


async def get(where: tuple[str, int] | ProbeSource, path: str, timeout: float) -> Reply:
    """GET a path from an address, or from the idle side by its probe's source. Raises `NoAnswer`."""
    started = time.monotonic()
    connected = False
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout):
            sock, address = _socket(where)
            await asyncio.get_running_loop().sock_connect(sock, address)
            connected = True
            reader, writer = await asyncio.open_connection(sock=sock, limit=LARGEST_LINE)
            try:
                host = f"[{address[0]}]" if ":" in address[0] else address[0]
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}:{address[1]}\r\nUser-Agent: hotswap-agent\r\n"
                    "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
                )
                status, body = await _read_answer(reader)
            finally:
                writer.close()
    except TimeoutError:
        waited = "connected, but got no answer" if connected else "could not connect"
        raise NoAnswer(f"{waited} within {timeout:g} s", connected=connected, timed_out=True) from None
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        message = str(error) or type(error).__name__
        raise NoAnswer(message, connected=connected) from error
    finally:
        if sock is not None:
            sock.close()
    return Reply(status, body, (time.monotonic() - started) * 1000)


def _socket(where: tuple[str, int] | ProbeSource) -> tuple[socket.socket, tuple[str, int]]:
    if isinstance(where, ProbeSource):
        return open_socket(where), target(where)
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    return sock, where


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status_line = (await reader.readline()).decode("latin-1")
    parts = status_line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdecimal():
        said = status_line[:80] or "nothing, and closed the connection"
        raise ValueError(f"no HTTP answer: {said!r}" if status_line else f"it said {said}")
    headers = await _read_headers(reader)
    if parts[1] in ("204", "304"):
        return int(parts[1]), b""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return int(parts[1]), await _read_chunks(reader)
    length = headers.get("content-length", "")
    if length.isdecimal():
        return int(parts[1]), await reader.readexactly(min(int(length), LARGEST_ANSWER))
    return int(parts[1]), await _read_rest(reader)


async def _read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(200):
        line = (await reader.readline()).decode("latin-1").strip()
        if not line:
            return headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("more than 200 header lines")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < LARGEST_ANSWER:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            await _read_headers(reader)
            break
        if size > LARGEST_ANSWER:
            raise ValueError("the answer is larger than 1 MiB")
        body += await reader.readexactly(size)
        await reader.readline()
    return body


async def _read_rest(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < LARGEST_ANSWER and (more := await reader.read(65536)):
        body += more
    return body
