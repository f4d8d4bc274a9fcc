"""A wake-up that is owed after a commit, and what sends it. The rows are written with the outcome (`engine.sql`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from agent.telemetry.traceparent import SpanContext, span_id_of

PUBLISHED_AT = "published_at"
"""The header of each message with the time of its publishing, seconds of the epoch."""
NODE_OPERATION, RESOLVE = "node_operation", "resolve"


@dataclass(frozen=True, slots=True)
class Wake:
    """The Celery task, its queue, and ids only. `trace_id` is the deployment's (32 hex digits)."""

    work_id: UUID
    deployment_id: UUID
    task: str
    queue: str
    root_id: UUID
    parent_id: UUID | None
    trace_id: str

    @property
    def place(self) -> SpanContext:
        """Where in its trace the work belongs: in its stage. A node operation's parent is its stage."""
        on_a_node = self.task.rpartition(".")[2] in (NODE_OPERATION, RESOLVE)
        return SpanContext(self.trace_id, span_id_of((self.parent_id if on_a_node else None) or self.work_id))


class Publisher(Protocol):
    """Sends wake-ups to workers. Never blocks its caller and never raises: the outbox repeats what got lost."""

    def publish(self, wakes: tuple[Wake, ...]) -> None: ...


class SilentPublisher:
    """Publishes nothing: for processes that leave it to the reconcilers."""

    def publish(self, wakes: tuple[Wake, ...]) -> None:
        pass
