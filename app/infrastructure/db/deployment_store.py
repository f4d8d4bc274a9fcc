"""The engine's two hot transactions in plain SQL: load a deployment under its lock, save what `decide()` changed.

Costs two round trips: the lock and the reads go in one pipeline (each statement still takes its own snapshot, after
the lock was granted), the writes and the commit in another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.errors import LockNotAvailable

from app.domain.deployment import (
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
from app.domain.events import Emit
from app.domain.policy import Policy, StrategyKind, parse_policy
from app.infrastructure.db.engine import Raw
from app.infrastructure.db.queries import load as load_queries

SQL = load_queries(Path(__file__).with_name("engine.sql"))


class Busy(Exception):
    """Somebody else holds the deployment's row, and the caller did not want to wait."""


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


@lru_cache(maxsize=512)
def _policy(text: str) -> Policy:
    return parse_policy(json.loads(text))


def load(connection: Raw, deployment_id: UUID, *, wait: bool = True) -> Loaded | None:
    """Lock the deployment's row, then read its state; None where there is none.

    Raises Busy when `wait` is false and the row is locked.
    """
    key = {"deployment_id": deployment_id}
    lock = SQL["lock_deployment"] + ("" if wait else " nowait")
    try:
        with connection.pipeline():
            locked = connection.execute(lock, key)
            stages = connection.execute(SQL["read_stages"], key)
            operations = connection.execute(SQL["read_operations"], key)
            row = locked.fetchone()
            if row is None:
                return None
            return _loaded(row, stages.fetchall(), operations.fetchall())
    except LockNotAvailable:
        connection.rollback()
        if wait:
            raise  # lock_timeout: the database is slow, which is nobody's mistake
        raise Busy from None


def _loaded(row: Any, stages: list[Any], operations: list[Any]) -> Loaded:
    (
        deployment_id, tenant_id, kind, status, digest, version, environment, policy, strategy, force,
        course, ending, reason, paused, paused_until, granted, event_seq, module_id, environment_id,
        module_name, place, not_before, targets, trace_id,
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
    )


def _stage(row: Any) -> Stage:
    stage_id, kind, status, attempt, claimable, due_at, waiting, message, output_tail, losses, _now = row
    return Stage(
        stage_id, StageKind(kind), StageStatus(status), attempt, claimable, due_at,
        WaitingKind(waiting) if waiting else None, message, output_tail, losses,
    )  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Extras:
    """What an event carries that the domain's state does not keep."""

    blocked_by: UUID | None = None
    superseded_by: UUID | None = None


def save(
    connection: Raw,
    loaded: Loaded,
    after: Deployment,
    events: Iterable[Emit],
    wakes: list[dict[str, Any]],
    extras: Extras,
    *,
    backoff: float,
) -> None:
    """Write what differs from what was loaded, its events and its outbox rows. The caller commits.

    Call it inside a pipeline: it reads nothing back.
    """
    before, now = loaded.state, loaded.now
    told = [{"kind": event.kind, "body": dict(event.body)} for event in events]
    _save_operations(connection, loaded, after)
    if not told and after is before:
        return
    known = {stage.id: stage for stage in before.stages}
    stages = [_stage_values(stage, extras) for stage in after.stages if stage is not known[stage.id]]
    connection.execute(
        SQL["save"],
        {
            "id": after.id,
            "tenant_id": loaded.tenant_id,
            "stages": json.dumps(stages),
            "events": json.dumps(told),
            "event_seq": loaded.event_seq,
            "wakes": json.dumps(wakes),
            "backoff": backoff,
            "status": after.status.value,
            "course": after.course.value,
            "ending": after.ending.value if after.ending else None,
            "reason": after.reason,
            "paused": after.paused,
            "paused_until": after.paused_until,
            "granted": after.granted,
            "ended": after.terminal,
            "superseded_by": extras.superseded_by,
            "now": now,
        },
    )


def _save_operations(connection: Raw, loaded: Loaded, after: Deployment) -> None:
    seen = {operation.id: operation for operation in loaded.state.operations}
    fresh, changed = [], []
    for position, operation in enumerate(after.operations):
        old = seen.get(operation.id)
        if old is None:
            fresh.append(_operation_change(operation) | _operation_plan(operation, position))
        elif operation is not old:
            changed.append(_operation_change(operation))
    key = {"tenant_id": loaded.tenant_id, "deployment_id": after.id, "now": loaded.now}
    if fresh:
        connection.execute(SQL["insert_operations"], key | {"operations": json.dumps(fresh)})
    if changed:
        connection.execute(SQL["save_operations"], key | {"operations": json.dumps(changed)})


def _stage_values(stage: Stage, extras: Extras) -> dict[str, Any]:
    return {
        "id": str(stage.id),
        "status": stage.status.value,
        "claimable": stage.claimable,
        "due_at": _text(stage.due_at),
        "message": stage.message,
        "output_tail": stage.output_tail,
        "losses": stage.losses,
        "waiting": stage.waiting.value if stage.waiting else None,
        "blocked_by": _text(extras.blocked_by) if stage.waiting is WaitingKind.LANE else None,
        "ended": stage.status.ended,
    }


def _operation_change(operation: NodeOperation) -> dict[str, Any]:
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


def _operation_plan(operation: NodeOperation, position: int) -> dict[str, Any]:
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


def insert(
    connection: Raw,
    deployment: Deployment,
    values: Mapping[str, Any],
    events: Iterable[Emit],
    wakes: list[dict[str, Any]],
) -> None:
    """A new deployment after its first decision, with its stages, events and outbox rows. The caller commits.

    `values` are the columns of the query `insert` that the domain's state does not have.
    """
    stages = [
        {
            "id": str(stage.id),
            "position": position,
            "kind": stage.kind.value,
            "status": stage.status.value,
            "claimable": stage.claimable,
            "message": stage.message,
            "ended": stage.status.ended,
        }
        for position, stage in enumerate(deployment.stages)
    ]
    told = [{"kind": event.kind, "body": dict(event.body)} for event in events]
    connection.execute(
        SQL["insert"],
        {**values, "stages": json.dumps(stages), "events": json.dumps(told), "wakes": json.dumps(wakes)},
    )
