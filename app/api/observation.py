"""Every request seen from outside: one log line, a histogram of durations, a span where it matters, the trace id."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request

from agent.telemetry import context, spans
from agent.telemetry.names import Field
from agent.telemetry.spans import Span, SpanKind
from app.api.tracing import HEADER, place, told_by_caller, trace_id
from app.infrastructure.metrics import histogram

_DURATION = histogram(
    "hotswap_http_request_duration_seconds",
    "Time from the request's head to the answer's head, by operation of the API.",
    Field.METHOD,
    Field.ENDPOINT,
    Field.STATUS,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_CHANGES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
# A client that stops sending or reading in the middle must not keep a thread.
_SOCKET_TIMEOUT = 30.0
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.api")


def register(app: Flask, *, quiet: bool = False) -> None:
    """`quiet`: answers that went well are logged at debug level only, and no request is a span."""
    app.before_request(lambda: _begin(quiet=quiet))
    app.after_request(lambda response: _end(response, quiet=quiet))
    app.teardown_request(_forget)


def _begin(*, quiet: bool) -> None:
    g.begun = time.monotonic()
    structlog.contextvars.clear_contextvars()
    context.begin()
    here = place()
    if spans.recording() and not quiet and (request.method in _CHANGES or told_by_caller()):
        span = g.span = spans.begin(f"{_method()} {_endpoint()}", here, kind=SpanKind.SERVER)
        here = span.context
    spans.place(here)
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_SOCKET_TIMEOUT)


def _end(response: Response, *, quiet: bool) -> Response:
    seconds = time.monotonic() - g.get("begun", time.monotonic())
    _DURATION.labels(_method(), _endpoint(), str(response.status_code)).observe(seconds)
    response.headers[HEADER] = trace_id()
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    uneventful = response.status_code < 400 and (quiet or request.path.startswith(("/health", "/metrics")))
    (_log.debug if uneventful else _log.info)(
        "request",
        method=request.method,
        path=request.path,
        endpoint=_endpoint(),
        status=response.status_code,
        seconds=round(seconds, 4),
        user=g.get("username"),
        **_api_token(),
    )
    _end_span(response.status_code)
    return response


def _api_token() -> dict[str, str]:
    """The name of the API token that was used, where one was; the token itself is written nowhere."""
    used = getattr(g.get("requester"), "token", None)
    return {"token_name": used.name} if used is not None else {}


def _end_span(status: int) -> None:
    span: Span | None = g.get("span")
    if span is None:
        return
    span.set(method=request.method, endpoint=_endpoint(), path=request.path, status=status, user=g.get("username"))
    if status >= 500:
        span.fail(f"answered {status}")
    spans.finish(span)


def _forget(_error: BaseException | None = None) -> None:
    """The thread serves others next."""
    spans.place(None)
    context.begin()


def _method() -> str:
    return request.method if request.method in _METHODS else "other"


def _endpoint() -> str:
    return request.endpoint or "unknown"
