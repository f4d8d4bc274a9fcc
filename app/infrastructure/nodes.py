"""The client of agents: mutual TLS, total time-outs, a circuit breaker per node (docs/agent-protocol.md).

A breaker counts only calls that got no answer; a refusal is an answer. An open one never blocks `resolve`, nor an
operation that goes back: callers say so with `insist`.
"""

from __future__ import annotations

import codecs
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import urllib3
from urllib3.exceptions import HTTPError

from agent.telemetry import spans
from agent.telemetry.spans import SpanKind
from agent.telemetry.traceparent import HEADER
from app.infrastructure.node_breaker import NodeBreaker
from app.infrastructure.node_silence import reason
from config.settings import Settings

FOLLOWED_AGAIN_WITHIN = 15.0
LARGEST_ANSWER = 4 * 1024 * 1024
_OPERATION, _LOG = "the operation's state", "the module's log"
_MOST_CONNECTIONS = 256
"""Nodes to which a connection is kept; each more closes the one used longest ago."""


class NodeUnreachable(Exception):
    """No answer, or none that can be used: nobody knows what the node made of the call."""


class NodeRefused(Exception):
    """The agent answered, and refused. `code` is of docs/agent-protocol.md; `body` its whole error object."""

    def __init__(self, status: int, code: str, message: str, body: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node's agent listens (`host:port`), and the id that its certificate must prove."""

    node_id: UUID
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over HTTP, whole."""

    status: int
    content: bytes

    def json(self) -> Any:
        """Raises NodeUnreachable for what is no JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as malformed:
            raise NodeUnreachable("answered something that is no JSON") from malformed


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """An agent's snapshot or result. `final` when the operation has ended; `active` is the digest active now."""

    final: bool
    state: str
    step: str
    active: str | None
    active_version: str | None
    endpoint: str | None
    state_sequence: int
    error_code: str | None
    error: str | None
    output_tail: str | None
    changed: bool = False
    steps: Mapping[str, float] = field(default_factory=dict)


class Nodes:
    """One per process, made after the fork; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(settings.tls_ca))
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._timeout = settings.agent_timeout
        self._connect = settings.agent_connect_timeout
        self._http = urllib3.PoolManager(_MOST_CONNECTIONS, maxsize=4, ssl_context=context, retries=False)
        self._breakers: dict[UUID, NodeBreaker] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.clear()

    # --- calls

    def put_operation(
        self, node: NodeAddress, operation_id: UUID, body: dict[str, Any], *, wait: float, insist: bool = False
    ) -> OperationAnswer:
        """Start or join an operation; wait up to `wait` seconds for its end. Raises NodeUnreachable, NodeRefused."""
        path = f"/v1/operations/{operation_id}?wait={wait:g}"
        limit = wait + self._timeout
        return _answer(self._call("PUT", node, path, _OPERATION, json=body, timeout=limit, insist=insist))

    def operation(self, node: NodeAddress, operation_id: UUID, *, wait: float, insist: bool = False) -> OperationAnswer:
        """Wait up to `wait` seconds for its end. Raises NodeUnreachable, NodeRefused (404 `unknown`)."""
        path = f"/v1/operations/{operation_id}?wait={wait:g}"
        return _answer(self._call("GET", node, path, _OPERATION, timeout=wait + self._timeout, insist=insist))

    def resolve(
        self, node: NodeAddress, operation_id: UUID, *, tenant: UUID, module: str, token: int, wait: float
    ) -> OperationAnswer:
        """Give an operation up. Raises NodeUnreachable, NodeRefused. An open breaker does not block it."""
        body = {"tenant": str(tenant), "module": module, "fencingToken": token, "wait": wait}
        path = f"/v1/operations/{operation_id}/resolve"
        limit = wait + self._timeout
        return _answer(self._call("POST", node, path, _OPERATION, json=body, timeout=limit, insist=True))

    def state(self, node: NodeAddress) -> dict[str, Any]:
        """What the node runs, as of now: the body of a heartbeat. Raises NodeUnreachable, NodeRefused."""
        return _object(self._call("GET", node, "/v1/state", "its state"))

    def validate(
        self, node: NodeAddress, *, tenant: UUID, module: str, digest: str, checks: list[dict[str, Any]], timeout: float
    ) -> dict[str, Any]:
        """Ask the module's own endpoint from the node. Raises NodeUnreachable, NodeRefused."""
        body = {"digest": digest, "checks": checks, "timeout": timeout}
        path = f"/v1/modules/{tenant}/{module}/validate"
        return _object(self._call("POST", node, path, "the validation", json=body, timeout=timeout + self._timeout))

    def module_log(self, node: NodeAddress, *, tenant: UUID, module: str, size: int) -> str:
        """The newest `size` bytes of what the module wrote. Raises NodeUnreachable, NodeRefused."""
        response = self._call("GET", node, f"/v1/modules/{tenant}/{module}/log?bytes={size}", _LOG)
        return response.content.decode("utf-8", "replace")

    @contextmanager
    def follow_module_log(self, node: NodeAddress, *, tenant: UUID, module: str, size: int) -> Iterator[Iterator[str]]:
        """The same, and then what is added, until the caller leaves. Raises NodeUnreachable, NodeRefused."""
        path = f"/v1/modules/{tenant}/{module}/log?bytes={size}&follow=1"
        # The agent says that it is still there (a null byte) every few seconds in which a module writes nothing.
        timeout = urllib3.Timeout(connect=self._connect, read=FOLLOWED_AGAIN_WITHIN)
        begun = time.monotonic()
        try:
            response = self._pool(node).urlopen(
                "GET", path, timeout=timeout, preload_content=False, decode_content=False
            )
            try:
                if response.status >= 400:
                    _refuse(Answer(response.status, _whole(response, time.monotonic() + self._timeout)))
                yield _pieces(response)
            finally:
                response.close()
        except HTTPError as error:
            raise NodeUnreachable(reason(error, node.address, _LOG, time.monotonic() - begun)) from error

    # --- how

    def _call(
        self,
        method: str,
        node: NodeAddress,
        path: str,
        asked_for: str,
        *,
        json: dict[str, Any] | None = None,
        timeout: float | None = None,
        insist: bool = False,
    ) -> Answer:
        def send() -> Answer:
            limit = timeout or self._timeout
            begun = time.monotonic()
            deadline = begun + self._connect + limit
            try:
                response = self._pool(node).urlopen(
                    method,
                    path,
                    body=None if json is None else _encoded(json),
                    headers={"Content-Type": "application/json", **_trace_header()},
                    timeout=urllib3.Timeout(connect=self._connect, read=limit),
                    preload_content=False,
                )
                return Answer(response.status, _whole(response, deadline))
            except (HTTPError, OSError) as error:
                raise NodeUnreachable(reason(error, node.address, asked_for, time.monotonic() - begun)) from error

        breaker = self._breaker(node.node_id)
        if not insist and breaker.refuses():
            raise NodeUnreachable("its circuit breaker is open: it did not answer lately")
        try:
            with spans.span("call agent", kind=SpanKind.CLIENT, method=method) as span:
                response = send()
                span.set(status=response.status)
        except NodeUnreachable as error:
            breaker.failed(error)
            raise
        breaker.answered()
        _refuse(response)
        return response

    def _pool(self, node: NodeAddress) -> urllib3.HTTPConnectionPool:
        """The connections to a node's agent, whose certificate must name the node, wherever it listens."""
        host, _, port = node.address.rpartition(":")
        name = f"{node.node_id}.nodes.hotswap.internal"
        return self._http.connection_from_host(
            host.strip("[]"), int(port), "https", pool_kwargs={"server_hostname": name}
        )

    def _breaker(self, node_id: UUID) -> NodeBreaker:
        with self._lock:
            return self._breakers.setdefault(node_id, NodeBreaker(node_id))


def _whole(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """All of an answer. A time-out of the socket bounds only each wait for more: what comes byte by byte, or without an
    end, is given up here. Raises NodeUnreachable; the connection is kept only after a whole answer."""
    pieces, size = [], 0
    while piece := response.read1():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER or time.monotonic() > deadline:
            response.close()
            raise NodeUnreachable(
                "its answer is too large" if size > LARGEST_ANSWER else "its answer did not end in time"
            )
    if response.length_remaining:  # read1() takes the end of the connection for the end of the answer
        response.close()
        raise NodeUnreachable("its answer was cut off")
    response.release_conn()
    return b"".join(pieces)


def _trace_header() -> dict[str, str]:
    """Hands on the place in the trace, where there is one."""
    here = spans.current()
    return {HEADER: here.header()} if here is not None else {}


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := response.read1():
        yield decoder.decode(piece.replace(b"\0", b""))


def _refuse(response: Answer) -> None:
    if response.status < 400:
        return
    try:
        error = response.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (NodeUnreachable, KeyError, TypeError) as malformed:
        raise NodeUnreachable(f"answered {response.status} without a reason") from malformed
    raise NodeRefused(response.status, code, message, error)


def _object(response: Answer) -> dict[str, Any]:
    body = response.json()
    if not isinstance(body, dict):
        raise NodeUnreachable("answered something that is no JSON object")
    return body


def _answer(response: Answer) -> OperationAnswer:
    try:
        body = _object(response)
        error = body.get("error") or {}
        return OperationAnswer(
            final=response.status == 200,
            state=str(body["state"]),
            step=str(body.get("step") or ""),
            active=body.get("activeDigest"),
            active_version=body.get("activeVersion"),
            endpoint=body.get("endpoint"),
            state_sequence=int(body.get("stateSequence") or 0),
            error_code=error.get("code"),
            error=error.get("message"),
            output_tail=body.get("outputTail") or None,
            changed=body.get("changed") is True,
            steps={str(step): float(seconds) for step, seconds in (body.get("steps") or {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as malformed:
        raise NodeUnreachable("answered something that is no operation") from malformed
