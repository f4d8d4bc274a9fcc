"""Deployments as people ask for them: submit, try dry, cancel, pause, resume, promote, retry, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.orchestrator.context import Orchestrator, Requester


@dataclass(frozen=True, slots=True)
class Submission:
    """What `POST /deployments` asks for, already checked for shape."""

    module_name: str
    version: str
    target_environment: str
    requester_email: str | None = None
    require_approval: bool = False
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    strategy: str | None = None
    not_before: datetime | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    execution_id: UUID
    status: str
    start_time: datetime
    estimated_duration: timedelta
    trace_id: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class RollbackAccepted:
    rollback_id: UUID
    status: str
    nodes_affected: int


def submit(
    orchestrator: Orchestrator,
    requester: Requester,
    submission: Submission,
    *,
    trace_id: str,
    idempotency_key: str | None = None,
    body_hash: str = "",
) -> Accepted:
    """Accept a deployment: durable when this returns.

    Raises NotFound (no such release), Invalid (unknown environment, what this part cannot do), Conflict (same
    idempotency key, other body).
    """
    raise NotImplementedError


def dry_run(orchestrator: Orchestrator, requester: Requester, submission: Submission) -> dict[str, Any]:
    """The plan of what `submit` would do, in wire form; changes nothing. Raises as `submit` does."""
    raise NotImplementedError


def cancel(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, rollback: bool) -> str:
    """Returns the status that follows. Raises NotFound, Conflict (as do the next four)."""
    raise NotImplementedError


def pause(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    raise NotImplementedError


def resume(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    raise NotImplementedError


def promote(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    raise NotImplementedError


def retry(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, trace_id: str) -> Accepted:
    """Of an ended one a new deployment; of a paused one the same, which tries again in place what failed."""
    raise NotImplementedError


def rollback(
    orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, preempt: bool, trace_id: str
) -> RollbackAccepted:
    """A new deployment of what ran before this one, ahead of what waits. Raises NotFound, Conflict (not ended)."""
    raise NotImplementedError
