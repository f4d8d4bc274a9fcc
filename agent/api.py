"""The agent's HTTP API (docs/agent-protocol.md): thin, over engine, journal and supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from agent import logs
from agent.config import AgentLimits
from agent.engine import Answer, Engine
from agent.journal import Journal
from agent.metrics import Counters
from agent.module_log import current_log, newest, written_logs
from agent.module_metrics import scrape
from agent.node_state import NodeState
from agent.paths import NodeFolders
from agent.protocol import ModuleKey, parse_command, parse_module_key, parse_operation_id, parse_resolve
from agent.refusals import Refusal, RefusalCode, malformed, unknown
from agent.supervisor import Supervisor
from agent.telemetry import spans, traceparent
from agent.tls import ORCHESTRATOR_ORGANIZATION, organization_of
from agent.validation import parse_validate, validate

log = logging.getLogger(__name__)

LONGEST_WAIT = 30.0  # seconds
DEFAULT_LOG_BYTES, MOST_LOG_BYTES = 65536, 1024**2
MOST_FOLLOWERS = 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API speaks for."""

    engine: Engine
    journal: Journal
    folders: NodeFolders
    supervisor: Supervisor
    state: NodeState
    counters: Counters
    limits: AgentLimits
    ready: Callable[[], bool]


class Api:
    """Routes and their handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._busy = 0
        self._followers = 0

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._parts.limits.body_bytes, middlewares=[self._guard])
        module = "/v1/modules/{tenant}/{module}"
        app.add_routes(
            [
                web.put("/v1/operations/{id}", self._put),
                web.get("/v1/operations/{id}", self._get),
                web.post("/v1/operations/{id}/resolve", self._resolve),
                web.get("/v1/state", self._state),
                web.post(f"{module}/validate", self._validate),
                web.get(f"{module}/log", self._log),
                web.get(f"{module}/metrics", self._module_metrics),
                web.get("/metrics", self._metrics),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only the orchestrator is served; refusals become answers; no more at a time than agreed."""
        transport = request.transport
        peer = transport.get_extra_info("peercert") if transport is not None else None
        if organization_of(peer) != ORCHESTRATOR_ORGANIZATION:
            return _refused(Refusal(RefusalCode.FORBIDDEN, "only the orchestrator is served here"))
        if self._busy >= self._parts.limits.concurrent_requests:
            return _refused(Refusal(RefusalCode.OVERLOADED, "too many requests at a time"))
        self._busy += 1
        try:
            with spans.continued(traceparent.parse(request.headers.get(traceparent.HEADER))):
                return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except sqlite3.OperationalError as error:
            log.error("the journal cannot be written: %s", error)
            return _refused(Refusal(RefusalCode.NOT_READY, f"the journal cannot be written: {error}"))
        finally:
            self._busy -= 1

    # -- operations -------------------------------------------------------------------------------------------

    async def _put(self, request: web.Request) -> web.Response:
        command = parse_command(request.match_info["id"], await _body(request))
        seconds = min(_number(request, "wait", 0.0), LONGEST_WAIT)
        ended, body = self._parts.engine.submit(command, spans.current())
        if ended or not seconds:
            return _answer((ended, body))
        return _answer(await self._parts.engine.wait(command.operation_id, seconds))

    async def _get(self, request: web.Request) -> web.Response:
        operation_id = parse_operation_id(request.match_info["id"])
        seconds = min(_number(request, "wait", 0.0), LONGEST_WAIT)
        return _answer(await self._parts.engine.wait(operation_id, seconds))

    async def _resolve(self, request: web.Request) -> web.Response:
        wanted = parse_resolve(request.match_info["id"], await _body(request), LONGEST_WAIT)
        return _answer(await self._parts.engine.resolve(wanted))

    # -- state ------------------------------------------------------------------------------------------------

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._parts.state.body(self._parts.journal.next_sequence()))

    async def _metrics(self, request: web.Request) -> web.Response:
        gauges = {
            "hotswap_agent_operations_running": float(len(self._parts.engine.running)),
            "hotswap_agent_ready": float(self._parts.ready()),
        }
        return web.Response(text=self._parts.counters.text(gauges), content_type="text/plain")

    # -- modules ----------------------------------------------------------------------------------------------

    def _known(self, request: web.Request) -> ModuleKey:
        key = parse_module_key(request.match_info["tenant"], request.match_info["module"])
        if not any(module.key == key for module in self._parts.journal.modules()):
            raise unknown("this node does not know the module")
        return key

    async def _validate(self, request: web.Request) -> web.Response:
        key = self._known(request)
        wanted = parse_validate(key, await _body(request))
        module, watch = self._parts.journal.module(key), self._parts.supervisor.watch(key)
        with spans.span("validate", module=key.module):
            return web.json_response(await validate(wanted, module, watch))

    async def _module_metrics(self, request: web.Request) -> web.Response:
        watch = self._parts.supervisor.watch(self._known(request))
        reply = await scrape(watch) if watch is not None else None
        if reply is None:
            raise unknown("the module answers no metrics")
        return web.Response(body=reply.body, content_type="text/plain")

    async def _log(self, request: web.Request) -> web.StreamResponse:
        key = self._known(request)
        count = int(min(_number(request, "bytes", DEFAULT_LOG_BYTES), MOST_LOG_BYTES))
        if request.query.get("follow") not in ("1", "true"):
            written = written_logs(self._parts.journal, self._parts.folders, key)
            body = await asyncio.to_thread(newest, written, count)
            return web.Response(body=body, content_type="text/plain", charset="utf-8")
        return await self._follow(request, key, count)

    async def _follow(self, request: web.Request, key: ModuleKey, count: int) -> web.StreamResponse:
        if self._followers >= MOST_FOLLOWERS:
            raise Refusal(RefusalCode.OVERLOADED, "too many logs are followed at a time")
        self._followers += 1
        self._busy -= 1  # a follower stays for hours and must not use up the places of commands
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
            await response.prepare(request)
            stream = logs.follow(lambda: current_log(self._parts.journal, self._parts.folders, key), count)
            with contextlib.suppress(ConnectionError):
                async with contextlib.aclosing(stream):
                    async for added in stream:
                        await response.write(added)
            return response
        finally:
            self._followers -= 1
            self._busy += 1


def _answer(answer: Answer) -> web.Response:
    ended, body = answer
    return web.json_response(body, status=200 if ended else 202)


def _refused(refusal: Refusal) -> web.Response:
    headers = {"Retry-After": "1"} if refusal.status == 503 else {}
    return web.json_response(refusal.as_json(), status=refusal.status, headers=headers)


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is no JSON: {error}") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _number(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise malformed(f"{name} is no number of at least 0")
    return value
