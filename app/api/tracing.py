"""The trace id of every request and answer: taken over from a valid W3C `traceparent`, made otherwise.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
import secrets

from flask import g, request

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
HEADER = "X-Trace-Id"


def trace_id_of(traceparent: str | None) -> str | None:
    """The 32 hex digits of a valid header, None for any other."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if set(match[2]) == {"0"} or set(match[3]) == {"0"}:
        return None
    return match[2]


def trace_id() -> str:
    """The trace id of the request under way."""
    if "trace_id" not in g:
        g.trace_id = trace_id_of(request.headers.get("traceparent")) or secrets.token_hex(16)
    found: str = g.trace_id
    return found
