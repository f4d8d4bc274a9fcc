"""A wake-up that is owed after a commit, and what sends it. The rows are written with the outcome (`engine.sql`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


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


class Publisher(Protocol):
    """Sends wake-ups to workers. Never blocks its caller and never raises: the outbox repeats what got lost."""

    def publish(self, wakes: tuple[Wake, ...]) -> None: ...


class SilentPublisher:
    """Publishes nothing: for processes that leave it to the reconcilers."""

    def publish(self, wakes: tuple[Wake, ...]) -> None:
        pass
