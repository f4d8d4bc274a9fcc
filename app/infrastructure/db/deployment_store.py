"""The engine's two hot transactions in plain SQL: load a deployment under its lock, save what `decide()` changed.

Costs two round trips: the lock and the reads go in one pipeline (each statement still takes its own snapshot, after
the lock was granted), the writes and the commit in another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.errors import LockNotAvailable

from app.domain.deployment import Deployment
from app.domain.events import Emit
from app.infrastructure.db import deployment_rows as rows
from app.infrastructure.db.deployment_rows import Extras, Loaded
from app.infrastructure.db.engine import Raw
from app.infrastructure.db.queries import load as load_queries

SQL = load_queries(Path(__file__).with_name("engine.sql"))


class Busy(Exception):
    """Somebody else holds the deployment's row, and the caller did not want to wait."""


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
            return rows.read(row, stages.fetchall(), operations.fetchall())
    except LockNotAvailable:
        connection.rollback()
        if wait:
            raise  # lock_timeout: the database is slow, which is nobody's mistake
        raise Busy from None


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
    stages = [rows.stage_change(stage, extras) for stage in after.stages if stage is not known[stage.id]]
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
            "digest": after.release.digest,
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
            fresh.append(rows.operation_change(operation) | rows.operation_plan(operation, position))
        elif operation is not old:
            changed.append(rows.operation_change(operation))
    key = {"tenant_id": loaded.tenant_id, "deployment_id": after.id, "now": loaded.now}
    if fresh:
        connection.execute(SQL["insert_operations"], key | {"operations": json.dumps(fresh)})
    if changed:
        connection.execute(SQL["save_operations"], key | {"operations": json.dumps(changed)})


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
    stages = [rows.new_stage(stage, position) for position, stage in enumerate(deployment.stages)]
    told = [{"kind": event.kind, "body": dict(event.body)} for event in events]
    connection.execute(
        SQL["insert"],
        {**values, "stages": json.dumps(stages), "events": json.dumps(told), "wakes": json.dumps(wakes)},
    )
