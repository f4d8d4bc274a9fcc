"""Every request seen from outside: one log line with its trace id, a histogram of durations, the answer's trace id."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request
from prometheus_client import Histogram

from app.api.tracing import HEADER, trace_id

_DURATION = Histogram(
    "hotswap_http_request_duration_seconds",
    "Time from the request's head to the answer's head, by operation.",
    ("method", "operation", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# A client that stops sending or reading in the middle must not keep a thread.
_SOCKET_TIMEOUT = 30.0
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.api")


def register(app: Flask, *, quiet: bool = False) -> None:
    """`quiet`: answers that went well are logged at debug level only."""
    app.before_request(_begin)
    app.after_request(lambda response: _end(response, quiet=quiet))


def _begin() -> None:
    g.begun = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(traceId=trace_id())
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_SOCKET_TIMEOUT)


def _end(response: Response, *, quiet: bool) -> Response:
    seconds = time.monotonic() - g.get("begun", time.monotonic())
    operation = request.endpoint or "unknown"
    _DURATION.labels(
        request.method if request.method in _METHODS else "other", operation, str(response.status_code)
    ).observe(seconds)
    response.headers[HEADER] = trace_id()
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    uneventful = response.status_code < 400 and (quiet or request.path.startswith(("/health", "/metrics")))
    (_log.debug if uneventful else _log.info)(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        milliseconds=round(seconds * 1000, 1),
        user=g.get("username"),
        **_api_token(),
    )
    return response


def _api_token() -> dict[str, str]:
    """The name of the API token that was used, where one was; the token itself is written nowhere."""
    used = getattr(g.get("requester"), "token", None)
    return {"apiToken": used.name} if used is not None else {}
