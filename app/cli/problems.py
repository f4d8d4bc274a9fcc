"""An answer that is an error (RFC 9457, or anything a proxy sends) as the error that ends the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from app.cli.errors import Busy, CliError, Conflict, Gone, NotLoggedIn, NotPermitted, Refused, Unreachable

_CONFLICTS = frozenset({409, 412, 428})
_NO_SUCH_THING = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_TOO_MANY = 429
_FIRST_SERVER_ERROR = 500
_REDIRECTS = range(300, 400)


def refusal(response: httpx.Response, url: str) -> CliError:
    """The error for an answer that is not 2xx; its body must have been read."""
    status = response.status_code
    problem = _problem(response)
    if status in _REDIRECTS:
        return Unreachable(f"{url} redirects to {response.headers.get('Location', 'elsewhere')}: use that URL")
    text = _sentence(problem, response)
    fields = _fields(problem)
    kind = _kind(status)
    if status >= _FIRST_SERVER_ERROR:
        trace = problem.get("traceId") if problem else None
        text = f"{url} cannot do it now: {text}" + (f" (trace {trace})" if trace else "")
    return kind(text, fields=fields, problem=problem, status=status)


def _kind(status: int) -> type[CliError]:
    if status >= _FIRST_SERVER_ERROR:
        return Unreachable
    special: dict[int, type[CliError]] = {
        _UNAUTHORIZED: NotLoggedIn,
        _FORBIDDEN: NotPermitted,
        _NO_SUCH_THING: Gone,
        _TOO_MANY: Busy,
    }
    if status in _CONFLICTS:
        return Conflict
    return special.get(status, Refused)


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _sentence(problem: Mapping[str, Any] | None, response: httpx.Response) -> str:
    for key in ("detail", "error", "title", "message"):
        text = (problem or {}).get(key)
        if isinstance(text, str) and text.strip():
            return text.strip()
    return f"HTTP {response.status_code} {response.reason_phrase}".strip()


def _fields(problem: Mapping[str, Any] | None) -> dict[str, list[str]]:
    errors = (problem or {}).get("errors")
    if not isinstance(errors, Mapping):
        return {}
    return {str(field): _texts(messages) for field, messages in errors.items()}


def _texts(messages: object) -> list[str]:
    if isinstance(messages, str):
        return [messages]
    if isinstance(messages, Sequence):
        return [str(message) for message in messages]
    return [str(messages)]
