"""Deployments in wire form."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from app.api.dependencies import dependencies
from app.api.routing import PREFIX
from app.api.wire import duration_or_none, instant, instant_or_none
from app.domain.deployment import StageKind
from app.domain.durations import wire_duration
from app.infrastructure.db.models import Deployment, DeploymentEvent, NodeOperation, Stage
from app.orchestrator.deployment_queries import DeploymentView, Waiting, WaveView, stage_name


def summary(row: Deployment, now: datetime | None) -> dict[str, Any]:
    """`duration` of one that has not ended is what it took until `now`."""
    until = row.ended_at or now or row.submitted_at
    return {
        "executionId": str(row.id),
        "kind": row.kind,
        "moduleName": row.module_name,
        # Of one that goes back to having no release.
        "version": row.version if row.digest else None,
        "targetEnvironment": row.environment_name,
        "status": row.status,
        "requestedBy": row.requested_by,
        "startTime": instant(row.submitted_at),
        "endTime": instant_or_none(row.ended_at),
        "duration": wire_duration(until - row.submitted_at),
    }


def links(execution_id: UUID, trace_id: str) -> dict[str, str | None]:
    """Where more is to be seen. `trace` only where somebody said how traces are looked at."""
    location = f"{PREFIX}/deployments/{execution_id}"
    template = dependencies().orchestrator.settings.trace_url
    return {
        "self": location,
        "events": f"{location}/events",
        "trace": template.replace("{trace_id}", trace_id) if template else None,
    }


def whole(view: DeploymentView) -> dict[str, Any]:
    row = view.row
    return {
        **summary(row, view.now),
        "traceId": row.trace_id,
        "requestedWith": row.requested_with,
        "links": links(row.id, row.trace_id),
        "requesterEmail": row.requester_email,
        "description": row.description,
        "metadata": row.details,
        "strategy": row.strategy,
        "digest": row.digest or None,
        "reason": row.reason,
        "retryOf": _id(row.retry_of),
        "rollbackOf": _id(row.rollback_of),
        "supersededBy": _id(row.superseded_by),
        "waitingFor": [_waiting(waiting) for waiting in view.waiting_for],
        "stages": [_stage(view, stage) for stage in view.stages],
    }


def _stage(view: DeploymentView, stage: Stage) -> dict[str, Any]:
    deploys = stage.kind == StageKind.DEPLOY.value
    waves = view.waves if deploys else []
    ended = stage.ended_at or view.now
    return {
        "name": stage_name(view.row, stage.kind),
        "status": stage.status,
        "strategy": view.row.strategy if deploys else None,
        "startTime": instant_or_none(stage.started_at),
        "endTime": instant_or_none(stage.ended_at),
        "duration": duration_or_none(ended - stage.started_at if stage.started_at else None),
        "attempt": stage.attempt,
        "nodesDeployed": sum(wave.deployed for wave in waves),
        "nodesFailed": sum(wave.failed for wave in waves),
        "nodesSkipped": sum(wave.skipped for wave in waves),
        "message": stage.message,
        "outputTail": stage.output_tail,
        "details": stage.details,
        "waves": [_wave(wave) for wave in waves],
    }


def _wave(wave: WaveView) -> dict[str, Any]:
    return {
        "wave": wave.index,
        "status": wave.status.value,
        "nodes": wave.nodes,
        "nodesDeployed": wave.deployed,
        "nodesFailed": wave.failed,
        "nodesSkipped": wave.skipped,
        "startTime": instant_or_none(wave.started_at),
        "endTime": instant_or_none(wave.ended_at),
    }


def _waiting(waiting: Waiting) -> dict[str, Any]:
    return {
        "kind": waiting.kind,
        "text": waiting.text,
        "since": instant_or_none(waiting.since),
        "until": instant_or_none(waiting.until),
        "blockedBy": _id(waiting.blocked_by),
    }


def operation(row: NodeOperation) -> dict[str, Any]:
    took = row.ended_at - row.started_at if row.ended_at and row.started_at else None
    return {
        "operationId": str(row.id),
        "nodeId": str(row.node_id),
        "hostname": row.node_name,
        "wave": row.wave,
        "direction": row.direction,
        "status": row.status,
        "attempt": row.attempt,
        "fromVersion": row.before_version,
        "toVersion": row.target_version,
        "startTime": instant_or_none(row.started_at),
        "endTime": instant_or_none(row.ended_at),
        "duration": duration_or_none(took),
        "error": row.error,
        "outputTail": row.output_tail,
    }


def event(row: DeploymentEvent) -> dict[str, Any]:
    return {
        "id": row.seq,
        "type": row.kind,
        "time": instant(row.at),
        "executionId": str(row.deployment_id),
        "data": row.body,
    }


def _id(value: object) -> str | None:
    return None if value is None else str(value)
