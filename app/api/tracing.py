"""The place of every request in a trace: taken over from a valid W3C `traceparent`, a new trace otherwise."""

from __future__ import annotations

from flask import g, request

from agent.telemetry import traceparent
from agent.telemetry.traceparent import SpanContext, new_trace_id

HEADER = "X-Trace-Id"


def place() -> SpanContext:
    """Of the request under way, as its caller told it or made for it."""
    if "trace_place" not in g:
        g.trace_place = traceparent.parse(request.headers.get(traceparent.HEADER)) or SpanContext(new_trace_id(), None)
    found: SpanContext = g.trace_place
    return found


def told_by_caller() -> bool:
    """Whether the caller wants to see this request in a trace of its own."""
    return place().span_id is not None and place().sampled


def trace_id() -> str:
    """The trace id of the request under way: 32 hex digits."""
    return place().trace_id
