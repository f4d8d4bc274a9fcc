"""The trace id that a task's message carries."""

from __future__ import annotations

from typing import Any

from app.infrastructure.trace_context import TRACE_HEADER, trace_id_of


def trace_id(request: Any) -> str | None:
    """Of the task under way; None for a tick, which belongs to no deployment."""
    return trace_id_of((request.headers or {}).get(TRACE_HEADER) or request.get(TRACE_HEADER))
