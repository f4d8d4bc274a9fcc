"""What is told after a commit: metrics of what has ended, and the spans of deployments and stages.

These spans say what the database says. Their ids follow from the ids of deployment and stage, so that whoever works
on a stage knows the span that its own belong to, and nobody keeps one open: who commits the end hands it on. A
process that dies between the commit and here leaves a gap in the picture, and none in the work.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.telemetry import spans
from agent.telemetry.spans import Span
from agent.telemetry.traceparent import span_id_of
from app.domain.deployment import Deployment, DeploymentStatus, Stage, StageStatus
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.work_metrics import DEPLOYMENTS_ENDED, STAGE_SECONDS

if TYPE_CHECKING:
    from app.orchestrator.submitting import Draft

_BAD_ENDS = (DeploymentStatus.FAILED, DeploymentStatus.ROLLED_BACK, DeploymentStatus.REJECTED, DeploymentStatus.EXPIRED)


def submitted(state: Deployment, draft: Draft, began: int) -> None:
    """A new deployment was committed."""
    if not spans.recording():
        return
    here = spans.current()
    span = Span("submit", draft.trace_id, _submission(state), None, began)
    if here is not None and here.trace_id == draft.trace_id:
        span.parent_id = here.span_id
    span.set(
        deployment=str(state.id), kind=draft.kind.value, module=draft.module_name, version=draft.release.version,
        environment=draft.environment_name, requested_by=draft.requested_by,
        retry_of=str(draft.retry_of) if draft.retry_of else None,
        rollback_of=str(draft.rollback_of) if draft.rollback_of else None,
    )  # fmt: skip
    spans.finish(span)


def told(loaded: Loaded, after: Deployment) -> None:
    """An outcome was committed: `after` is what became of what was loaded."""
    before = loaded.state
    if after is before:
        return
    for stage, old, started in zip(after.stages, before.stages, loaded.started, strict=True):
        if stage is not old and stage.status.ended and not old.status.ended:
            _stage_ended(loaded, stage, started)
    if after.terminal and not before.terminal:
        DEPLOYMENTS_ENDED.labels(after.environment, after.status.value).inc()
        if spans.recording():
            _deployment_ended(loaded, after)


def _stage_ended(loaded: Loaded, stage: Stage, started: datetime | None) -> None:
    if started is not None:
        seconds = (loaded.now - started).total_seconds()
        STAGE_SECONDS.labels(stage.kind.value, stage.status.value).observe(seconds)
    if spans.recording():
        _stage_span(loaded, stage, started or loaded.now)


def _stage_span(loaded: Loaded, stage: Stage, started: datetime) -> None:
    deployment = loaded.state.id
    span = Span("stage", loaded.trace_id, span_id_of(stage.id), span_id_of(deployment), _nanoseconds(started))
    span.end = _nanoseconds(loaded.now)
    span.set(
        deployment=str(deployment), work=str(stage.id), stage=stage.kind.value, attempt=stage.attempt,
        environment=loaded.state.environment, status=stage.status.value, reason=stage.message or None,
    )  # fmt: skip
    if stage.status is StageStatus.FAILED:
        span.fail(stage.message or stage.status.value)
    spans.finish(span)


def _deployment_ended(loaded: Loaded, after: Deployment) -> None:
    for stage, old in zip(after.stages, loaded.state.stages, strict=True):
        if old.status.ended and old.status is StageStatus.SKIPPED:  # from the start on, and told by nobody yet
            _stage_span(loaded, stage, loaded.now)
    parent = _submission(after)
    span = Span("deployment", loaded.trace_id, span_id_of(after.id), parent, _nanoseconds(loaded.submitted_at))
    span.end = _nanoseconds(loaded.now)
    span.set(
        deployment=str(after.id), kind=after.kind.value, module=loaded.module_name, version=after.release.version,
        environment=after.environment, status=after.status.value, reason=after.reason or None,
    )  # fmt: skip
    if after.status in _BAD_ENDS:
        span.fail(after.reason or after.status.value)
    spans.finish(span)


def _submission(state: Deployment) -> str:
    """The id of the span of a deployment's submission, known without being kept."""
    return f"{int(span_id_of(state.id), 16) ^ 1:016x}"


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000
