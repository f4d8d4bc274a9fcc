"""Every refusal and failure as `application/problem+json` (RFC 9457): the one place where errors become HTTP."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import sqlalchemy.exc
import structlog
from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge

from app.api.tracing import HEADER, trace_id
from app.domain import errors

CONTENT_TYPE = "application/problem+json"
_STATUS: dict[type[errors.HotSwapError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.NotPermitted: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Gone: HTTPStatus.GONE,
    errors.StaleVersion: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Refused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Locked: HTTPStatus.LOCKED,
    errors.PreconditionMissing: HTTPStatus.PRECONDITION_REQUIRED,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_DATABASE_AWAY = "The database does not answer; nothing was changed that this answer does not tell. Try again."
_DATABASE_RETRY = 2
_DISK_RETRY = 30
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.api")


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    field_errors: Mapping[str, Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """One problem. `error` repeats `detail` for old clients."""
    body = problem_body(status, detail, instance=request.path, trace=trace_id(), field_errors=field_errors)
    body.update(extra or {})
    response = Response(json.dumps(body), status.value, content_type=CONTENT_TYPE)
    response.headers[HEADER] = trace_id()
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def problem_body(
    status: HTTPStatus, detail: str, *, instance: str, trace: str, field_errors: Mapping[str, Sequence[str]] | None
) -> dict[str, Any]:
    """The body of one, also for a server that has no request yet."""
    body: dict[str, Any] = {
        "type": f"urn:hotswap:problem:{status.name.lower().replace('_', '-')}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": instance,
        "error": " ".join(detail.split()),
        "traceId": trace,
    }
    if field_errors is not None:
        body["errors"] = {field: list(messages) for field, messages in field_errors.items()}
    return body


def register(app: Flask) -> None:
    """Let every error of this application be answered as a problem."""
    app.register_error_handler(errors.HotSwapError, _refusal)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ParseException, lambda error: _refusal(malformed(error)))
    for away in (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.InternalError,
        sqlalchemy.exc.InternalError,
    ):
        app.register_error_handler(away, _database_away)
    app.register_error_handler(sqlalchemy.exc.DBAPIError, _database_error)
    app.register_error_handler(OSError, _system_error)
    app.register_error_handler(Exception, _defect)


def _refusal(error: errors.HotSwapError) -> Response:
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    extra: dict[str, Any] = {}
    if isinstance(error, errors.Locked | errors.TooMany | errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.StaleVersion):
        headers["ETag"] = f'"{error.current}"'
        extra["currentVersion"] = error.current
    field_errors = error.errors if isinstance(error, errors.Invalid) else None
    return problem(status, str(error), field_errors=field_errors, headers=headers, extra=extra)


def _http(error: HTTPException) -> Response:
    """What the framework refuses: unknown paths and methods, bodies over the limit, bad ranges, cut requests."""
    if error.response is not None:
        return Response(status=error.response.status_code, headers=list(error.response.headers.items()))
    status = HTTPStatus(error.code or 500)
    keep = {name: value for name, value in error.get_headers() if name in ("Allow", "Content-Range", "Retry-After")}
    detail = _detail(error)
    field_errors = {"body": [detail]} if status is HTTPStatus.BAD_REQUEST else None
    return problem(status, detail, field_errors=field_errors, headers=keep)


def malformed(error: ParseException) -> errors.Invalid:
    """A body that is not as its Transfer-Encoding says: the server finds it while the application reads."""
    return errors.Invalid({"body": [f"cannot be read: {_first_line(error)}"]})


def _detail(error: HTTPException) -> str:
    """The framework's sentence, or ours where that one is for who types addresses, or says less than is known."""
    if isinstance(error, NotFound) and error.description == NotFound.description:
        return "There is nothing under this path; an id in it must be a UUID."
    if isinstance(error, RequestEntityTooLarge):
        most, parts = request.max_content_length, request.max_form_parts
        if request.mimetype == "multipart/form-data" and (request.content_length or 0) <= (most or 0):
            texts = request.max_form_memory_size
            return f"The body may have {most} bytes, in {parts} parts; a part that is no file {texts} bytes."
        return f"The body is larger than {most} bytes."
    return error.description or error.name


def _database_away(error: Exception) -> Response:
    _log.warning("database.away", error=_first_line(error))
    retry = {"Retry-After": str(_DATABASE_RETRY)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, _DATABASE_AWAY, headers=retry)


def _database_error(error: sqlalchemy.exc.DBAPIError) -> Response:
    """A connection that broke in the middle is 'away'; so is a transaction that the server cut for its time limits."""
    cut = isinstance(error.orig, psycopg.errors.QueryCanceled | psycopg.errors.SerializationFailure)
    if error.connection_invalidated or cut:
        return _database_away(error)
    return _defect(error)


def _system_error(error: OSError) -> Response:
    """A disk that is full is nobody's mistake; a client that went silent in the middle of its body is its own."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        detail = f"The server's disk cannot be written: {error.strerror}."
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(_DISK_RETRY)})
    if isinstance(error, TimeoutError | ConnectionError):
        return problem(HTTPStatus.REQUEST_TIMEOUT, "The request's body did not arrive.")
    return _defect(error)


def _defect(error: Exception) -> Response:
    """Ours. The client learns the trace id, the log the rest."""
    _log.error("request.failed", error=_first_line(error), exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An error of the server; its log has more under this trace id.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


logging.getLogger("werkzeug").setLevel(logging.WARNING)
