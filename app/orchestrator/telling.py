"""What is told after a commit: a log line for each thing that begins, waits or ends, metrics of what has ended, and
the spans of deployments and stages.

Lines, too, say what the database says, and nothing that happened to be bound where the commit was made: what ends a
stage may be the work on a node. They are of level info however it came out: a release that fails is no trouble of ours.

These spans say what the database says. Their ids follow from the ids of deployment and stage, so that whoever works
on a stage knows the span that its own belong to, and nobody keeps one open: who commits the end hands it on. A
process that dies between the commit and here leaves a gap in the picture, and none in the work.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from agent.telemetry import context, spans
from agent.telemetry.spans import Span
from agent.telemetry.traceparent import span_id_of
from app.domain.deployment import Deployment, DeploymentStatus, NodeOperation, OperationStatus, Stage, StageStatus
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.work_metrics import DEPLOYMENTS_ENDED, STAGE_SECONDS

if TYPE_CHECKING:
    from app.orchestrator.claims import ClaimedStage
    from app.orchestrator.submitting import Draft

log = logging.getLogger(__name__)

_BAD_ENDS = (DeploymentStatus.FAILED, DeploymentStatus.ROLLED_BACK, DeploymentStatus.REJECTED, DeploymentStatus.EXPIRED)
_LONGEST_REASON = 500  # characters, in a line


def submitted(state: Deployment, draft: Draft, began: int) -> None:
    """A new deployment was committed."""
    _say(
        "deployment submitted", trace_id=draft.trace_id, deployment=str(state.id), kind=draft.kind.value,
        module=draft.module_name, version=draft.release.version, environment=draft.environment_name,
        requested_by=draft.requested_by, token_name=draft.requested_with, retry_of=draft.retry_of,
        rollback_of=draft.rollback_of,
    )  # fmt: skip
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


def claimed(stage: ClaimedStage) -> None:
    """A stage was claimed, not to ask once more for what it waits for."""
    here = spans.current()
    _say(
        "stage started", trace_id=here.trace_id if here else None, deployment=str(stage.deployment_id),
        work=str(stage.stage_id), stage=stage.kind.value, attempt=stage.attempt,
    )  # fmt: skip


def told(loaded: Loaded, after: Deployment) -> None:
    """An outcome was committed: `after` is what became of what was loaded."""
    before = loaded.state
    if after is before:
        return
    for operation, was in zip(after.operations, before.operations, strict=False):  # new ones come behind the old
        if operation.status is not was.status and not operation.status.open:
            _operation_ended(loaded, operation)
    for operation in after.operations[len(before.operations) :]:
        if operation.passed_over():
            _operation_ended(loaded, operation)
    for stage, old, started in zip(after.stages, before.stages, loaded.started, strict=True):
        if stage is old:
            continue
        if stage.status.ended and not old.status.ended:
            _stage_ended(loaded, stage, started)
        elif stage.waiting is not None and stage.waiting is not old.waiting:
            _say_stage("stage waits", loaded, stage)
    if after.terminal and not before.terminal:
        DEPLOYMENTS_ENDED.labels(after.environment, after.status.value).inc()
        _say(
            "deployment ended", trace_id=loaded.trace_id, deployment=str(after.id), kind=after.kind.value,
            module=loaded.module_name, version=after.release.version, environment=after.environment,
            status=after.status.value, reason=_short(after.reason), seconds=_seconds(loaded, loaded.submitted_at),
        )  # fmt: skip
        if spans.recording():
            _deployment_ended(loaded, after)


def _say(event: str, **fields: object) -> None:
    """One line, of these fields (`agent.telemetry.names`) alone; None says nothing."""
    if log.isEnabledFor(logging.INFO):
        context.detached().run(_say_alone, event, fields)


def _say_alone(event: str, fields: dict[str, object]) -> None:
    context.begin(**fields)
    # Made here and not by log.info(), which walks the stack for who called it: no line says that.
    log.handle(logging.LogRecord(log.name, logging.INFO, "", 0, event, None, None))


def _say_stage(event: str, loaded: Loaded, stage: Stage, seconds: float | None = None) -> None:
    _say(
        event, trace_id=loaded.trace_id, deployment=str(loaded.state.id), module=loaded.module_name,
        version=loaded.state.release.version, environment=loaded.state.environment, stage=stage.kind.value,
        work=str(stage.id), attempt=stage.attempt, status=stage.status.value, reason=_short(stage.message),
        seconds=seconds,
    )  # fmt: skip


def _operation_ended(loaded: Loaded, operation: NodeOperation) -> None:
    failed = operation.status is not OperationStatus.SUCCEEDED
    _say(
        "node operation ended", trace_id=loaded.trace_id, deployment=str(loaded.state.id), module=loaded.module_name,
        version=operation.target.version if operation.target else None, environment=loaded.state.environment,
        node=operation.node_name, node_id=str(operation.node_id), work=str(operation.id), attempt=operation.attempt,
        direction=operation.direction.value, outcome=operation.status.value.lower(),
        reason=_short(operation.error) if failed else None,
    )  # fmt: skip


def _short(reason: str | None) -> str | None:
    return reason[:_LONGEST_REASON] if reason else None


def _seconds(loaded: Loaded, since: datetime) -> float:
    return round((loaded.now - since).total_seconds(), 3)


def _stage_ended(loaded: Loaded, stage: Stage, started: datetime | None) -> None:
    seconds = None if started is None else _seconds(loaded, started)
    _say_stage("stage ended", loaded, stage, seconds)
    if seconds is not None:
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
