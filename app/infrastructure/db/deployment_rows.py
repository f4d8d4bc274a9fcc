"""A deployment's rows as the domain's state, and the domain's state as what the engine's SQL takes.

The order of columns is that of `engine.sql`; changes go to it as JSON records, one statement for all of a kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from app.domain.deployment import (
    Approval,
    Course,
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    Stage,
    StageKind,
    StageStatus,
    Version,
    WaitingKind,
)
from app.domain.policy import Policy, StrategyKind, parse_policy


@dataclass(frozen=True, slots=True)
class Loaded:
    """A deployment under its lock, with what the engine needs to know beside the domain's state."""

    state: Deployment
    now: datetime
    tenant_id: UUID
    event_seq: int
    module_id: UUID
    module_name: str
    environment_id: UUID
    place: int
    not_before: datetime | None
    targets: dict[str, Any] | None
    trace_id: str
    submitted_at: datetime
    started: tuple[datetime | None, ...]
    """When each stage of `state` began, in their order; None where none of it was tried yet."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What an event carries that the domain's state does not keep."""

    blocked_by: UUID | None = None
    superseded_by: UUID | None = None


@lru_cache(maxsize=512)
def _policy(text: str) -> Policy:
    return parse_policy(json.loads(text))


def read(row: Any, stages: list[Any], operations: list[Any]) -> Loaded:
    """Of the queries lock_deployment, read_stages and read_operations."""
    (
        deployment_id, tenant_id, kind, status, digest, version, environment, policy, strategy, force,
        course, ending, reason, paused, paused_until, granted, event_seq, module_id, environment_id,
        module_name, place, not_before, targets, trace_id, submitted_at,
    ) = row  # fmt: skip
    state = Deployment(
        id=deployment_id,
        kind=DeploymentKind(kind),
        status=DeploymentStatus(status),
        release=Version(digest, version),
        environment=environment,
        policy=_policy(policy),
        strategy=StrategyKind(strategy),
        stages=tuple(_stage(each) for each in stages),
        operations=tuple(_operation(each) for each in operations),
        course=Course(course),
        ending=DeploymentStatus(ending) if ending else None,
        reason=reason,
        paused=paused,
        paused_until=paused_until,
        granted=granted,
        force=force,
    )
    return Loaded(
        state,
        stages[0][-1],
        tenant_id,
        event_seq,
        module_id,
        module_name,
        environment_id,
        place,
        not_before,
        targets,
        trace_id,
        submitted_at,
        tuple(each[-2] for each in stages),
    )


def _stage(row: Any) -> Stage:
    (
        stage_id, kind, status, attempt, claimable, due_at, waiting, message, output_tail, losses, approval, step,
        steps, _started, _now,
    ) = row  # fmt: skip
    return Stage(
        stage_id, StageKind(kind), StageStatus(status), attempt, claimable, due_at,
        WaitingKind(waiting) if waiting else None, message, output_tail, losses, _approval(approval), step, steps,
    )  # fmt: skip


def _approval(stored: Any) -> Approval | None:
    if stored is None:
        return None
    return Approval(
        required=stored["required"],
        roles=tuple(stored["roles"]),
        four_eyes=stored["fourEyes"],
        until=datetime.fromisoformat(stored["until"]),
        given=tuple(stored["given"]),
    )


def _approval_change(approval: Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    return {
        "required": approval.required,
        "roles": list(approval.roles),
        "fourEyes": approval.four_eyes,
        "until": approval.until.isoformat(),
        "given": list(approval.given),
    }


def _operation(row: Any) -> NodeOperation:
    (
        operation_id, node_id, node_name, wave, direction, status, before_digest, before_version, target_digest,
        target_version, attempt, claimable, due_at, follows, tries, changed, active, error, output_tail, losses,
    ) = row  # fmt: skip
    return NodeOperation(
        id=operation_id,
        node_id=node_id,
        node_name=node_name,
        wave=wave,
        direction=Direction(direction),
        status=OperationStatus(status),
        before=Version(before_digest, before_version) if before_digest else None,
        target=Version(target_digest, target_version) if target_digest else None,
        attempt=attempt,
        claimable=claimable,
        due_at=due_at,
        follows=follows,
        tries=tries,
        changed=changed,
        active=active,
        error=error,
        output_tail=output_tail,
        losses=losses,
    )


def stage_change(stage: Stage, extras: Extras) -> dict[str, Any]:
    """What an outcome can change of one."""
    return {
        "id": str(stage.id),
        "status": stage.status.value,
        "claimable": stage.claimable,
        "due_at": _text(stage.due_at),
        "message": stage.message,
        "output_tail": stage.output_tail,
        "losses": stage.losses,
        "waiting": stage.waiting.value if stage.waiting else None,
        "approval": _approval_change(stage.approval),
        "step": stage.step,
        "details": dict(stage.details) if stage.details is not None else None,
        "blocked_by": _text(extras.blocked_by) if stage.waiting is WaitingKind.LANE else None,
        "ended": stage.status.ended,
    }


def operation_change(operation: NodeOperation) -> dict[str, Any]:
    """What an outcome can change of one."""
    return {
        "id": str(operation.id),
        "status": operation.status.value,
        "claimable": operation.claimable,
        "due_at": _text(operation.due_at),
        "changed": operation.changed,
        "active_digest": operation.active,
        "error": operation.error,
        "output_tail": operation.output_tail,
        "losses": operation.losses,
        "ended": not operation.status.open,
    }


def operation_plan(operation: NodeOperation, position: int) -> dict[str, Any]:
    """What never changes of one."""
    return {
        "position": position,
        "node_id": str(operation.node_id),
        "node_name": operation.node_name,
        "wave": operation.wave,
        "direction": operation.direction.value,
        "before_digest": operation.before.digest if operation.before else None,
        "before_version": operation.before.version if operation.before else None,
        "target_digest": operation.target.digest if operation.target else None,
        "target_version": operation.target.version if operation.target else None,
        "follows": _text(operation.follows),
        "tries": operation.tries,
    }


def _text(value: UUID | datetime | None) -> str | None:
    return None if value is None else str(value)


def new_stage(stage: Stage, position: int) -> dict[str, Any]:
    return {
        "id": str(stage.id),
        "position": position,
        "kind": stage.kind.value,
        "status": stage.status.value,
        "claimable": stage.claimable,
        "message": stage.message,
        "steps": stage.steps,
        "details": dict(stage.details) if stage.details is not None else None,
        "ended": stage.status.ended,
    }
