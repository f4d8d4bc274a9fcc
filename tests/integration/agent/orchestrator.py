"""Plays the orchestrator towards real agents: heartbeats and artifacts over mutual TLS, and a client of their API."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

from agent.certificates import CertificateAuthority, issue_orchestrator_certificate
from agent.config import TlsFiles
from agent.tls import client_context, node_name, server_context
from tests.integration.agent.releases import Release

TENANT = "0190a0b0-0000-7000-8000-000000000000"


@dataclass(slots=True)
class Reply:
    """An agent's answer."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(self.body["error"]["code"])


@dataclass(slots=True)
class Served:
    """An artifact and how it is served: `cut_at` ends the first downloads after so many bytes."""

    content: bytes
    cut_at: list[int] = field(default_factory=list)
    status: int = 200
    ranges: list[str | None] = field(default_factory=list)


class Orchestrator:
    """Use as an async context manager."""

    def __init__(self, folder: Path, ca: CertificateAuthority) -> None:
        self.tls = TlsFiles(folder / "ca.pem", folder / "orchestrator.pem", folder / "orchestrator.key")
        self.tls.ca.write_bytes(ca.certificate)
        issue_orchestrator_certificate(ca).write(self.tls.certificate, self.tls.key)
        self.beats: dict[str, dict[str, Any]] = {}
        self.answered: Counter[str] = Counter()
        self.answer: dict[str, Any] = {"interval": 0.2, "nodeLostAfter": 120, "void": [], "tokenFloors": []}
        self.silent = False
        self.artifacts: dict[str, Served] = {}
        self.traceparent = ""
        self._operation = 0
        self._client_tls: ssl.SSLContext = client_context(self.tls)
        self.url = ""

    async def __aenter__(self) -> Orchestrator:
        app = web.Application()
        app.router.add_post("/agent/v1/heartbeat", self._heartbeat)
        app.router.add_get("/agent/v1/artifacts/{digest}", self._artifact)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=server_context(self.tls))
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()

    # -- what agents ask ---------------------------------------------------------------------------------------

    async def _heartbeat(self, request: web.Request) -> web.Response:
        if self.silent:
            return web.Response(status=503)
        assert request.transport is not None
        subject = {
            name: value for part in request.transport.get_extra_info("peercert")["subject"] for name, value in part
        }
        node, body = subject["commonName"], await request.json()
        before = self.beats.get(node)
        assert before is None or body["sequence"] > before["sequence"]
        self.beats[node] = body
        response = web.json_response(self.answer)
        with contextlib.suppress(ConnectionError):  # the agent may have been killed meanwhile
            await response.prepare(request)
            await response.write_eof()
            self.answered[node] += 1
        return response

    async def _artifact(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        served = self.artifacts.get(digest)
        if served is None:
            return web.Response(status=404, text="no such artifact")
        served.ranges.append(request.headers.get("Range"))
        if served.status != 200:
            return web.Response(status=served.status)
        start = (
            int(request.headers["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in request.headers else 0
        )
        content = served.content[start:]
        response = web.StreamResponse(
            status=206 if start else 200, headers={"ETag": f'"{digest}"', "Content-Length": str(len(content))}
        )
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(served.content) - 1}/{len(served.content)}"
        await response.prepare(request)
        if served.cut_at:
            await response.write(content[: served.cut_at.pop(0)])
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(content)
        return response

    def serve(self, *releases: Release) -> None:
        """Offer releases to agents."""
        for each in releases:
            self.artifacts[each.digest] = Served(each.archive)

    # -- what agents are told ----------------------------------------------------------------------------------

    async def call(self, node: str, method: str, path: str, body: object = None, timeout: float = 60) -> Reply:
        """One request to a node's API."""
        async with self._session.request(
            method, f"https://{self.beats[node]['address']}{path}", json=body, ssl=self._client_tls,
            server_hostname=node_name(node), timeout=aiohttp.ClientTimeout(total=timeout),
            headers={"traceparent": self.traceparent} if self.traceparent else {},
        ) as response:  # fmt: skip
            if response.content_type == "application/json":
                return Reply(response.status, await response.json())
            return Reply(response.status, {"text": await response.text()})

    async def stream(self, node: str, path: str) -> aiohttp.ClientResponse:
        """A response whose body is read by the caller."""
        return await self._session.get(
            f"https://{self.beats[node]['address']}{path}", ssl=self._client_tls, server_hostname=node_name(node)
        )

    def next_id(self) -> str:
        """A fresh operation id."""
        self._operation += 1
        return f"op-{self._operation}"

    async def put(self, node: str, target: Release | None, token: int, /, **members: Any) -> tuple[str, Reply]:
        """Send one command; the id and the first answer. Members are those of the body, and `operation_id`."""
        operation_id = members.pop("operation_id", None) or self.next_id()
        body = {
            "tenant": TENANT,
            "module": members.pop("module", None) or (target.name if target else "web-service"),
            "fencingToken": token,
            "action": "activate",
            "target": target.target() if target else None,
            "timeout": 60,
            "context": {"environment": "QA", "deploymentId": "d-1", "previousVersion": None},
            **members,
        }
        return operation_id, await self.call(node, "PUT", f"/v1/operations/{operation_id}", body)

    async def result(self, node: str, operation_id: str, within: float = 60) -> dict[str, Any]:
        """Wait for an operation's end, over restarts of the agent."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                reply = await self.call(node, "GET", f"/v1/operations/{operation_id}?wait=10")
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
                continue
            if reply.status == 200:
                return reply.body
            assert reply.status == 202, reply
        raise AssertionError(f"{operation_id} did not end: {reply}")

    async def do(self, node: str, target: Release | None, token: int, /, **members: Any) -> dict[str, Any]:
        """Send a command and wait for its end."""
        operation_id, reply = await self.put(node, target, token, **members)
        assert reply.status in (200, 202), reply
        return await self.result(node, operation_id)

    async def until(self, condition: Callable[[], object], within: float = 30) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + within
        while not condition():
            assert time.monotonic() < end, "the condition never held"
            await asyncio.sleep(0.02)

    def module(self, node: str, name: str) -> dict[str, Any]:
        """A module as the node's last heartbeat told it; every member `None` while none told of it.

        A command's answer and the heartbeat that tells its effect are not ordered: the last one may be older.
        """
        beat = self.beats.get(node, {"modules": []})
        untold: dict[str, Any] = defaultdict(lambda: None)
        return next((each for each in beat["modules"] if each["module"] == name), untold)
