"""The outcome transaction: lock the deployment, read it, decide, write state, events and outbox, commit (DESIGN 3.4).

No network call and no fsync of ours lies between lock and commit. Wake-ups are published after it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.domain.deployment import Deployment, DeploymentKind
from app.domain.errors import NotFound
from app.domain.events import (
    Command,
    CountStale,
    Dispatch,
    Emit,
    Event,
    GrantLane,
    LaneBusy,
    Overtaken,
    RecordDesired,
    ReleaseLane,
)
from app.domain.pipeline import Decision, decide
from app.infrastructure.db import deployment_store
from app.infrastructure.db.deployment_rows import Extras, Loaded
from app.infrastructure.db.deployment_store import SQL
from app.infrastructure.db.engine import Raw
from app.infrastructure.metrics import count_stale
from app.infrastructure.outbox import Wake
from app.orchestrator import telling
from app.orchestrator.context import Orchestrator
from app.orchestrator.dispatching import outbox_row, wake_for

log = logging.getLogger(__name__)

EventMaker = Callable[[Raw, Loaded], Event | None]


@dataclass(frozen=True, slots=True)
class Statement:
    """A named query of `engine.sql` to be executed with an outcome, in its transaction."""

    query: str
    values: Mapping[str, Any]


def apply(
    orchestrator: Orchestrator,
    deployment_id: UUID,
    event: Event | EventMaker,
    *,
    wait: bool = True,
    beside: tuple[Statement, ...] = (),
) -> Deployment:
    """Let `event` happen to a deployment; returns the state that follows, committed.

    `event` may be a function that makes it from the locked deployment (and may lock its lane); None: nothing happens.
    Raises NotFound, Conflict (a request that the state forbids), and deployment_store.Busy when `wait` is false.
    """
    with orchestrator.database.raw() as connection:
        loaded = deployment_store.load(connection, deployment_id, wait=wait)
        if loaded is None:
            raise NotFound(f"There is no deployment {deployment_id}.")
        happened = event(connection, loaded) if callable(event) else event
        if happened is None:
            return loaded.state
        decision = decide(loaded.state, happened, loaded.now, orchestrator.new_id)
        wakes = write(connection, orchestrator, loaded, decision, happened, beside)
    orchestrator.publisher.publish(wakes)
    return decision.state


def write(
    connection: Raw,
    orchestrator: Orchestrator,
    loaded: Loaded,
    decision: Decision,
    event: Event | None,
    beside: tuple[Statement, ...] = (),
) -> tuple[Wake, ...]:
    """Carry out a decision and commit. Returns the wake-ups to publish now."""
    events = [command for command in decision.commands if isinstance(command, Emit)]
    if any(isinstance(command, GrantLane) for command in decision.commands):
        _grant_lane(connection, loaded)
    due = [
        wake
        for command in decision.commands
        if isinstance(command, Dispatch)
        for wake in _wake(decision, command, loaded.trace_id)
    ]
    rows = [outbox_row(wake, due_at) for wake, due_at in due]
    freed = None
    with connection.pipeline():
        for statement in beside:
            connection.execute(SQL[statement.query], statement.values)
        for command in decision.commands:
            freed = _execute(connection, loaded, decision.state, command) or freed
        deployment_store.save(
            connection,
            loaded,
            decision.state,
            events + _stale_events(decision.commands),
            rows,
            _extras(event, decision.state),
            backoff=orchestrator.settings.outbox_backoff,
        )
        connection.commit()
        next_in_line = freed.fetchall() if freed else []
    telling.told(loaded, decision.state)
    now = tuple(wake for wake, due_at in due if due_at is None)
    return now + tuple(Wake(*row) for row in next_in_line)


def _wake(decision: Decision, command: Dispatch, trace_id: str) -> list[tuple[Wake, str | None]]:
    """The wake-up of a dispatch, and when it is due (None: now); none where a later command made it pointless."""
    work = decision.state.stage_by_id(command.work_id) or decision.state.operation(command.work_id)
    if work is None or not work.claimable:
        return []
    due_at = work.due_at.isoformat() if work.due_at else None
    return [(wake_for(decision.state, command.work_id, trace_id), due_at)]


def _execute(connection: Raw, loaded: Loaded, state: Deployment, command: Command):  # type: ignore[no-untyped-def]
    key = {
        "deployment_id": state.id,
        "module_id": loaded.module_id,
        "environment_id": loaded.environment_id,
        "tenant_id": loaded.tenant_id,
    }
    match command:
        case RecordDesired(desired):
            wanted = [
                {
                    "nodeId": str(node_id),
                    "digest": release.digest if release else None,
                    "version": release.version if release else None,
                }
                for node_id, release in desired.items()
            ]
            connection.execute(SQL["record_desired"], key | {"desired": json.dumps(wanted)})
        case ReleaseLane():
            connection.execute(SQL["release_lane"], key)
            return connection.execute(SQL["wake_line"], key)
        case CountStale(work_id, attempt, reason):
            names = {"deployment": str(state.id), "work": str(work_id), "attempt": attempt, "reason": reason}
            log.warning("stale report refused", extra={**names, "trace_id": loaded.trace_id})
            count_stale("orchestrator", reason)
    return None


def _stale_events(commands: tuple[Command, ...]) -> list[Emit]:
    return [
        Emit("report.refused", {"workId": str(command.work_id), "attempt": command.attempt, "reason": command.reason})
        for command in commands
        if isinstance(command, CountStale)
    ]


def _extras(event: Event | None, state: Deployment) -> Extras:
    if isinstance(event, LaneBusy):
        return Extras(blocked_by=event.blocked_by)
    if isinstance(event, Overtaken) and state.terminal:
        return Extras(superseded_by=event.by)
    return Extras()


def _grant_lane(connection: Raw, loaded: Loaded) -> None:
    """Take the lane, whose row the event's maker has locked, and a token above every one that a node has seen."""
    token, seen = _grant(connection, loaded)
    if token <= seen:
        log.error("an agent has seen a fencing token above ours: a restored backup or a lost failover", extra={
            "deployment": str(loaded.state.id), "fencing_token": token, "seen": seen})  # fmt: skip
        connection.execute(SQL["jump_tokens"], {"seen": seen})
        _grant(connection, loaded)


def _grant(connection: Raw, loaded: Loaded) -> tuple[int, int]:
    """The token, and the highest that any node has seen."""
    granted: Any = connection.execute(
        SQL["grant_lane"],
        {
            "deployment_id": loaded.state.id,
            # Rollbacks and repairs overtake without superseding anybody.
            "place": loaded.place if loaded.state.kind is DeploymentKind.DEPLOY else 0,
            "module_id": loaded.module_id,
            "environment_id": loaded.environment_id,
        },
    ).fetchone()
    if granted is None:
        raise RuntimeError("the lane was not free although it was locked")
    return granted[0], granted[1]
