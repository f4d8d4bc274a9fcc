"""The trace of a deployment, from the request through messages to agents: W3C `traceparent` headers.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import secrets
from uuid import UUID

import structlog

TRACE_HEADER = "traceparent"


def traceparent(trace_id: str, span: UUID | None = None) -> str:
    """The header's text. The span is taken from a piece of work's id, or made."""
    return f"00-{trace_id or '0' * 31 + '1'}-{span.hex[-16:] if span else secrets.token_hex(8)}-01"


def trace_id_of(header: object) -> str | None:
    """The 32 hex digits of a header that we made, None for anything else."""
    parts = header.split("-") if isinstance(header, str) else []
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


def bound_headers() -> dict[str, str]:
    """The header that hands on the trace bound to the log context, none where nothing is bound."""
    bound = structlog.contextvars.get_contextvars().get("traceId")
    return {TRACE_HEADER: traceparent(str(bound))} if bound else {}
