"""The probe's own small HTTP client, against servers that answer well, badly and never."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent import httpget
from agent.httpget import NoAnswer, Reply

CHUNKED = b"HTTP/1.1 200\r\ntransfer-encoding: Chunked\r\n\r\n"


def ask(answer: bytes, *, hang: bool = False, timeout: float = 5) -> Reply:
    """GET from a server that says `answer` and closes, or hangs after it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if hang:
            await asyncio.sleep(30)
        writer.close()

    return asyncio.run(_against(serve, timeout))


async def _against(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], timeout: float
) -> Reply:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await httpget.get(("127.0.0.1", server.sockets[0].getsockname()[1]), "/x", timeout)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.0 503 Busy\r\n\r\nno length", 503, b"no length"),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, b""),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n", 200, b"abcde"),
    ],
)  # fmt: skip
def test_answers(answer: bytes, status: int, body: bytes) -> None:
    reply = ask(answer)
    assert (reply.status, reply.body) == (status, body)
    assert 0 < reply.latency_ms < 5000


def test_an_answer_with_a_length_ends_without_a_close() -> None:
    assert ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", hang=True).body == b"ok"


def test_a_large_answer_is_bounded() -> None:
    assert len(ask(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 3_000_000).body) < 2 * httpget.LARGEST_ANSWER


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(NoAnswer) as refused:
        ask(answer)
    assert refused.value.connected


def test_silence_ends_at_the_timeout() -> None:
    with pytest.raises(NoAnswer, match=r"got no answer within 0\.2 s"):
        ask(b"", hang=True, timeout=0.2)


def test_nobody_listens() -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await httpget.get(("127.0.0.1", port), "/", 5)

    with pytest.raises(NoAnswer) as refused:
        asyncio.run(scenario())
    assert not refused.value.connected
