"""Validation of a module that answers some checks and hangs over others: nobody pays for somebody else's silence."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from agent.addresses import Endpoint
from agent.holder.protocol import Address
from agent.manifest import Kind
from agent.protocol import ModuleKey
from agent.records import ModuleRecord, ReleaseRecord
from agent.supervisor import ModuleStatus, Watch
from agent.validation import Check, ValidateRequest, validate

KEY = ModuleKey("t", "web-service")
DIGEST = "sha256:" + "0" * 64


async def _against_a_module(*paths: str, timeout: float) -> list[dict[str, object]]:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(path)
        if path == "/slow":
            await asyncio.sleep(0.3)
        elif path == "/hangs" or (path == "/once-503" and asked.count(path) > 1):
            await asyncio.sleep(60)
        status = b"503 Unwell" if path == "/once-503" else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    watch = SimpleNamespace(
        status=ModuleStatus.RUNNING, process=None, endpoints=(Endpoint("main", Address("127.0.0.1", port), None),)
    )
    checks = tuple(Check(path, 200, None) for path in paths)
    module = ModuleRecord(KEY, 1, ReleaseRecord(DIGEST, "1.0.0", Kind.PROCESS), "A")
    try:
        answer = await validate(ValidateRequest(KEY, DIGEST, checks, timeout), module, cast(Watch, watch))
    finally:
        server.close()
    assert answer["ok"] is False
    return cast(list[dict[str, object]], answer["results"])


def test_a_check_after_one_that_hangs_has_time_of_its_own() -> None:
    hangs, slow = asyncio.run(_against_a_module("/hangs", "/slow", timeout=4))
    assert (slow["ok"], slow["message"]) == (True, "")
    assert str(hangs["message"]).startswith("connected, but got no answer within ")


def test_an_answer_counts_more_than_that_our_time_was_over() -> None:
    (unwell,) = asyncio.run(_against_a_module("/once-503", timeout=2))
    assert (unwell["status"], unwell["message"]) == (503, "answered 503, not 200")
