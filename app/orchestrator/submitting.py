"""Making a new deployment: everything about it is inserted in one transaction, with its first decision.

Needs PostgreSQL and nothing else; the wake-ups are published after the commit, on the publisher's own thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.telemetry import spans
from app.domain.deployment import Deployment, DeploymentKind, DeploymentStatus, Stage, StageStatus, Version
from app.domain.events import Dispatch, Emit
from app.domain.pipeline import Decision, PlannedStage, plan, start
from app.domain.policy import Policy, StrategyKind
from app.infrastructure.db import deployment_store
from app.infrastructure.db.deployment_store import SQL
from app.infrastructure.db.engine import Raw
from app.infrastructure.outbox import Wake
from app.orchestrator import telling
from app.orchestrator.context import Orchestrator
from app.orchestrator.dispatching import outbox_row, wake_for


@dataclass(frozen=True, slots=True)
class Draft:
    """A deployment before it exists. `targets`: node id -> release or None, for going back and for repairs.

    `builds`, `tests` and `approvals` say which of the stages before Deploy apply; `built_in` and `tested_in` which
    deployments did the first two before.
    `requested_with` is the name of the API token that asked, if it was one.
    """

    kind: DeploymentKind
    tenant_id: UUID
    module_id: UUID
    module_name: str
    release_id: UUID | None
    release: Version
    environment_id: UUID
    environment_name: str
    strategy: StrategyKind
    policy: Policy
    requested_by: str
    trace_id: str
    requester_email: str | None = None
    requested_with: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    not_before: datetime | None = None
    force: bool = False
    retry_of: UUID | None = None
    rollback_of: UUID | None = None
    targets: Mapping[str, Version | None] | None = None
    builds: bool = False
    tests: bool = False
    approvals: bool = False
    built_in: UUID | None = None
    tested_in: UUID | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    state: Deployment
    now: datetime
    wakes: tuple[Wake, ...]
    draft: Draft
    began: int
    """Nanoseconds of the epoch."""


def announce(orchestrator: Orchestrator, inserted: Inserted) -> None:
    """After the commit: wake who works on it, and tell that it was submitted."""
    orchestrator.publisher.publish(inserted.wakes)
    telling.submitted(inserted.state, inserted.draft, inserted.began)


def insert(connection: Raw, orchestrator: Orchestrator, draft: Draft) -> Inserted:
    """Insert the deployment with its place in the lane's line. The caller commits, then calls `announce`."""
    began = spans.now()
    with connection.pipeline():
        clock = connection.execute(SQL["now"])
        line = connection.execute(
            SQL["take_place"],
            {"module_id": draft.module_id, "environment_id": draft.environment_id, "tenant_id": draft.tenant_id},
        )
        now, place = _only(clock), _only(line)
    decision = start(initial(orchestrator, draft), now, orchestrator.new_id)
    events = [command for command in decision.commands if isinstance(command, Emit)]
    wakes = tuple(
        wake_for(decision.state, command.work_id, draft.trace_id)
        for command in decision.commands
        if isinstance(command, Dispatch)
    )
    values = _values(draft, decision, place, now) | {"backoff": orchestrator.settings.outbox_backoff}
    deployment_store.insert(connection, decision.state, values, events, [outbox_row(wake, None) for wake in wakes])
    return Inserted(decision.state, now, wakes, draft, began)


def _only(cursor: Any) -> Any:
    return cursor.fetchone()[0]


def planned(draft: Draft) -> tuple[PlannedStage, ...]:
    return plan(
        draft.kind,
        builds=draft.builds,
        tests=draft.tests,
        approvals=draft.approvals,
        built_in=draft.built_in,
        tested_in=draft.tested_in,
    )


def initial(orchestrator: Orchestrator, draft: Draft) -> Deployment:
    """The state of a draft before its first decision."""
    stages = tuple(
        Stage(
            id=orchestrator.new_id(),
            kind=each.kind,
            status=StageStatus.SKIPPED if each.skipped else StageStatus.PENDING,
            message=each.skipped,
            steps=each.steps,
            details={"reusedFrom": str(each.reuses)} if each.reuses else None,
        )
        for each in planned(draft)
    )
    return Deployment(
        id=orchestrator.new_id(),
        kind=draft.kind,
        status=DeploymentStatus.QUEUED,
        release=draft.release,
        environment=draft.environment_name,
        policy=draft.policy,
        strategy=draft.strategy,
        stages=stages,
        force=draft.force,
    )


def _values(draft: Draft, decision: Decision, place: int, now: datetime) -> dict[str, Any]:
    targets = None
    if draft.targets is not None:
        targets = json.dumps(
            {
                node_id: {"digest": release.digest, "version": release.version} if release else None
                for node_id, release in draft.targets.items()
            }
        )
    return {
        "id": decision.state.id,
        "tenant_id": draft.tenant_id,
        "kind": draft.kind.value,
        "status": decision.state.status.value,
        "module_id": draft.module_id,
        "module_name": draft.module_name,
        "release_id": draft.release_id,
        "version": draft.release.version,
        "digest": draft.release.digest,
        "environment_id": draft.environment_id,
        "environment_name": draft.environment_name,
        "strategy": draft.strategy.value,
        "policy": json.dumps(draft.policy.to_json()),
        "force": draft.force,
        "requested_by": draft.requested_by,
        "requested_with": draft.requested_with,
        "requester_email": draft.requester_email,
        "description": draft.description,
        "details": json.dumps(dict(draft.metadata)),
        "trace_id": draft.trace_id,
        "not_before": draft.not_before,
        "needs_approval": draft.approvals,
        "place": place,
        "retry_of": draft.retry_of,
        "rollback_of": draft.rollback_of,
        "targets": targets,
        "now": now,
    }
