"""Which Celery task and queue carries a piece of open work, and where it stands in the chain that Flower shows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.domain.deployment import (
    Deployment,
    DeploymentKind,
    Direction,
    NodeOperation,
    OperationStatus,
    Stage,
    StageKind,
    StageStatus,
)
from app.domain.pipeline import AFTER
from app.infrastructure.outbox import Wake

STAGE_TASKS: dict[StageKind, tuple[str, str]] = {
    StageKind.BUILD: ("pipeline.build", "build"),
    StageKind.SCAN: ("pipeline.scan", "scan"),
    StageKind.TEST: ("pipeline.test", "build"),
    StageKind.DEPLOY: ("pipeline.deploy", "pipeline"),
    StageKind.VALIDATION: ("pipeline.validate", "deploy"),
}
QUEUES = ("pipeline", "build", "scan", "deploy", "urgent", "control")


def wake_for(state: Deployment, work_id: UUID, trace_id: str) -> Wake:
    """The wake-up of a stage or node operation of `state`. KeyError when it is neither."""
    stage = state.stage_by_id(work_id)
    if stage is not None:
        task, queue = STAGE_TASKS[stage.kind]
        if state.kind is DeploymentKind.ROLLBACK:
            queue = "urgent"
        return Wake(stage.id, state.id, task, queue, _root(state), _parent(state, stage), trace_id)
    operation = state.operation(work_id)
    if operation is None:
        raise KeyError(work_id)
    task, queue = _operation_task(state, operation)
    parent = state.stage(StageKind.DEPLOY).id
    return Wake(operation.id, state.id, task, queue, _root(state), parent, trace_id)


def _operation_task(state: Deployment, operation: NodeOperation) -> tuple[str, str]:
    """Going back, cancelling and resolving have a queue and workers of their own, which forward work cannot starve."""
    if operation.status is OperationStatus.RESOLVING:
        return "urgent.resolve", "urgent"
    if operation.direction is Direction.BACK or state.kind is DeploymentKind.ROLLBACK:
        return "urgent.node_operation", "urgent"
    return "deploy.node_operation", "deploy"


def _executed(stage: Stage) -> bool:
    return stage.status is not StageStatus.SKIPPED


def _root(state: Deployment) -> UUID:
    return next((stage.id for stage in state.stages if _executed(stage)), state.stages[0].id)


def _parent(state: Deployment, stage: Stage) -> UUID | None:
    """The stage before it in the chain that was executed; skipped ones are passed over."""
    for kind in reversed(AFTER[stage.kind]):
        before = state.stage(kind)
        if _executed(before):
            return before.id
        further = _parent(state, before)
        if further is not None:
            return further
    return None


def outbox_row(wake: Wake, due_at: str | None) -> dict[str, Any]:
    return {
        "workId": str(wake.work_id),
        "task": wake.task,
        "queue": wake.queue,
        "rootId": str(wake.root_id),
        "parentId": str(wake.parent_id) if wake.parent_id else None,
        "traceId": wake.trace_id,
        "dueAt": due_at,
    }
