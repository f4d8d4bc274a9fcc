"""What a task's message carries beside its ids: its place in a trace, and when it was published."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import before_task_publish

from agent.telemetry import traceparent
from agent.telemetry.traceparent import SpanContext
from app.infrastructure.outbox import PUBLISHED_AT


def install() -> None:
    """Let whatever this process publishes say when that was."""
    before_task_publish.connect(_stamp, weak=False, dispatch_uid="hotswap-published-at")


def _stamp(headers: dict[str, Any] | None = None, **_rest: Any) -> None:
    if headers is not None:
        headers[PUBLISHED_AT] = time.time()


def place(request: Any) -> SpanContext | None:
    """Of the task under way; None for a tick, which belongs to no deployment."""
    return traceparent.parse((request.headers or {}).get(traceparent.HEADER) or request.get(traceparent.HEADER))
