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

from psycopg import Cursor
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
            clock = connection.execute(SQL["now"])
            row = locked.fetchone()
            if row is None:
                return None
            return _loaded(row, stages.fetchall(), operations.fetchall(), clock.fetchone())
    except LockNotAvailable:
        connection.rollback()
        if wait:
            raise  # lock_timeout: the database is slow, which is nobody's mistake
        raise Busy from None


def _loaded(row: Any, stages: list[Any], operations: list[Any], clock: Any) -> Loaded:
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
        clock[0],
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
    stage_id, kind, status, attempt, claimable, due_at, waiting, message, output_tail, losses = row
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
    execute = connection.execute
    known = {stage.id: stage for stage in before.stages}
    for stage in after.stages:
        if stage is not known[stage.id]:
            execute(SQL["save_stage"], _stage_values(stage, now, extras))
    seen = {operation.id: operation for operation in before.operations}
    for position, operation in enumerate(after.operations):
        old = seen.get(operation.id)
        if old is None:
            values = _operation_values(operation, now)
            execute(
                SQL["insert_operation"],
                values | {"tenant_id": loaded.tenant_id, "deployment_id": after.id, "position": position},
            )
        elif operation is not old:
            execute(SQL["save_operation"], _operation_values(operation, now))
    if told:
        execute(
            SQL["insert_events"],
            {
                "deployment_id": after.id,
                "tenant_id": loaded.tenant_id,
                "after": loaded.event_seq,
                "events": json.dumps(told),
                "now": now,
            },
        )
    if wakes:
        execute(
            SQL["owe_wakes"],
            {
                "tenant_id": loaded.tenant_id,
                "deployment_id": after.id,
                "wakes": json.dumps(wakes),
                "now": now,
                "backoff": backoff,
            },
        )
    if after.terminal:
        execute(SQL["forget_wakes"], {"deployment_id": after.id})
    if told or after is not before:
        execute(
            SQL["save_deployment"],
            {
                "id": after.id,
                "status": after.status.value,
                "course": after.course.value,
                "ending": after.ending.value if after.ending else None,
                "reason": after.reason,
                "paused": after.paused,
                "paused_until": after.paused_until,
                "granted": after.granted,
                "events": len(told),
                "ended": after.terminal,
                "superseded_by": extras.superseded_by,
                "now": now,
            },
        )


def _stage_values(stage: Stage, now: datetime, extras: Extras) -> Mapping[str, Any]:
    return {
        "id": stage.id,
        "status": stage.status.value,
        "claimable": stage.claimable,
        "due_at": stage.due_at,
        "message": stage.message,
        "output_tail": stage.output_tail,
        "losses": stage.losses,
        "waiting": stage.waiting.value if stage.waiting else None,
        "blocked_by": extras.blocked_by if stage.waiting is WaitingKind.LANE else None,
        "ended": stage.status.ended,
        "now": now,
    }


def _operation_values(operation: NodeOperation, now: datetime) -> dict[str, Any]:
    return {
        "id": operation.id,
        "node_id": operation.node_id,
        "node_name": operation.node_name,
        "wave": operation.wave,
        "direction": operation.direction.value,
        "status": operation.status.value,
        "before_digest": operation.before.digest if operation.before else None,
        "before_version": operation.before.version if operation.before else None,
        "target_digest": operation.target.digest if operation.target else None,
        "target_version": operation.target.version if operation.target else None,
        "claimable": operation.claimable,
        "due_at": operation.due_at,
        "follows": operation.follows,
        "tries": operation.tries,
        "changed": operation.changed,
        "active_digest": operation.active,
        "error": operation.error,
        "output_tail": operation.output_tail,
        "losses": operation.losses,
        "ended": not operation.status.open,
        "now": now,
    }


def insert_stages(cursor: Cursor[Any], tenant_id: UUID, deployment: Deployment) -> None:
    """The six stages of a new deployment, after its first decision."""
    cursor.executemany(
        "insert into stages (id, tenant_id, deployment_id, position, kind, status, claimable, message, ended_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, case when %s then hotswap_now() end)",
        [
            (
                stage.id,
                tenant_id,
                deployment.id,
                position,
                stage.kind.value,
                stage.status.value,
                stage.claimable,
                stage.message,
                stage.status.ended,
            )
            for position, stage in enumerate(deployment.stages)
        ],
    )
