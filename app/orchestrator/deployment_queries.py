"""Deployments as people read them: lists by keyset, one with its stages and live node counts, its node operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, load_only

from app.domain.deployment import TERMINAL, DeploymentStatus, StageStatus
from app.domain.errors import NotFound
from app.domain.policy import parse_policy
from app.infrastructure.db.models import Deployment, Environment, Module, NodeOperation, Stage
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, page_of

# What a list shows: policies and targets are large, and not wanted there.
_SUMMARY = (
    Deployment.id,
    Deployment.kind,
    Deployment.module_name,
    Deployment.version,
    Deployment.digest,
    Deployment.environment_name,
    Deployment.status,
    Deployment.requested_by,
    Deployment.submitted_at,
    Deployment.ended_at,
)
_TERMINAL = frozenset(status.value for status in TERMINAL)
# What each node of a deployment came to, by the newest operation of each direction; one row for each wave.
# Deployed: it runs the new release now (what was taken back does not count). Failed: the forward operation failed or
# its node was lost. Skipped: it was never sent, because nothing was to be done there or nothing could be.
_COUNTS = text(
    """
    with forward as (
        select distinct on (node_id) node_id, wave, status, started_at, ended_at
        from node_operations where deployment_id = :deployment and direction = 'forward'
        order by node_id, position desc
    ), back as (
        select distinct on (node_id) node_id, status
        from node_operations where deployment_id = :deployment and direction = 'back'
        order by node_id, position desc
    )
    select forward.wave,
           count(*) as nodes,
           count(*) filter (
               where forward.status = 'Succeeded' and coalesce(back.status, '') <> 'Succeeded'
           ) as deployed,
           count(*) filter (where forward.status in ('Failed', 'Lost')) as failed,
           count(*) filter (where forward.status = 'Skipped') as skipped,
           count(*) filter (where back.status = 'Succeeded') as taken_back,
           count(*) filter (where forward.status in ('Dispatched', 'Running', 'Resolving')) as in_flight,
           count(*) filter (where forward.status = 'Pending') as pending,
           count(*) filter (where forward.status = 'Cancelled') as cancelled,
           min(forward.started_at) as started_at,
           max(forward.ended_at) as ended_at
    from forward left join back using (node_id)
    group by forward.wave order by forward.wave
    """
)

_SILENT = text(
    """
    select n.hostname, n.last_heartbeat from node_operations o join nodes n on n.id = o.node_id
    where o.deployment_id = :deployment and o.status in ('Dispatched', 'Running', 'Resolving')
      and n.last_heartbeat < hotswap_now() - :silence * interval '1 second'
    order by n.hostname limit 10
    """
)


@dataclass(frozen=True, slots=True)
class Filters:
    """None is no filter. Names are as written in the database, `environment` case-insensitive."""

    status: str | None = None
    environment: str | None = None
    module: str | None = None
    requester: str | None = None


@dataclass(frozen=True, slots=True)
class WaveView:
    index: int
    status: StageStatus
    nodes: int
    deployed: int
    failed: int
    skipped: int
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """For what a deployment waits; `until` where a time ends the wait."""

    kind: str
    text: str
    since: datetime | None
    until: datetime | None
    blocked_by: UUID | None


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One deployment, whole. `now` is the durable time of the look, for durations of what still runs."""

    row: Deployment
    stages: Sequence[Stage]
    waves: Sequence[WaveView]
    waiting_for: Sequence[Waiting]
    now: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """`now` is None where every row has ended."""

    rows: Page[Deployment]
    now: datetime | None


def find(session: Session, requester: Requester, deployment_id: UUID) -> Deployment:
    """Raises NotFound, also for another tenant's."""
    row = session.scalar(
        select(Deployment).where(Deployment.tenant_id == requester.tenant_id, Deployment.id == deployment_id)
    )
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return row


def list_deployments(orchestrator: Orchestrator, requester: Requester, filters: Filters, page: PageRequest) -> Listed:
    """Newest first. Each filter has an index that ends in the id, so the cost does not grow with the table."""
    statement = select(Deployment).options(load_only(*_SUMMARY)).where(Deployment.tenant_id == requester.tenant_id)
    if filters.status is not None:
        statement = statement.where(Deployment.status == filters.status)
    if filters.requester is not None:
        statement = statement.where(Deployment.requested_by == filters.requester)
    with orchestrator.database.session() as session:
        ids = _ids(session, requester, filters)
        if ids is None:
            return Listed(Page([]), None)
        for column, identity in ids:
            statement = statement.where(column == identity)
        rows = page_of(session, statement, Deployment.id, page)
        # The time matters only to what still runs.
        running = any(row.ended_at is None for row in rows.items)
        return Listed(rows, _now(session) if running else None)


def _ids(session: Session, requester: Requester, filters: Filters) -> list[tuple[Any, UUID]] | None:
    """Names as ids, which the indexes have; None where a name is of nothing, so that nothing can match."""
    found: list[tuple[Any, UUID]] = []
    if filters.environment is not None:
        identity = session.scalar(
            select(Environment.id).where(
                Environment.tenant_id == requester.tenant_id,
                func.lower(Environment.name) == filters.environment.lower(),
            )
        )
        if identity is None:
            return None
        found.append((Deployment.environment_id, identity))
    if filters.module is not None:
        identity = session.scalar(
            select(Module.id).where(Module.tenant_id == requester.tenant_id, Module.name == filters.module)
        )
        if identity is None:
            return None
        found.append((Deployment.module_id, identity))
    return found


def _now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.hotswap_now())).scalar_one()
    return now


def view(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> DeploymentView:
    """One deployment with its stages in order, live counts and what it waits for. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        stages = session.scalars(select(Stage).where(Stage.deployment_id == row.id).order_by(Stage.position)).all()
        waves = [_wave(counts) for counts in session.execute(_COUNTS, {"deployment": row.id})]
        waiting = _waiting_for(row, stages) + _silent_nodes(session, row)
        return DeploymentView(row, stages, waves, waiting, _now(session))


def _wave(row: Any) -> WaveView:
    counts: Mapping[str, Any] = row._asdict()
    over = not counts["in_flight"] and not counts["pending"]
    return WaveView(
        index=counts["wave"],
        status=_wave_status(counts, over=over),
        nodes=counts["nodes"],
        deployed=counts["deployed"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        started_at=counts["started_at"],
        ended_at=counts["ended_at"] if over else None,
    )


def _wave_status(counts: Mapping[str, Any], *, over: bool) -> StageStatus:
    if not over:
        untouched = counts["pending"] + counts["skipped"] == counts["nodes"]
        return StageStatus.PENDING if untouched else StageStatus.RUNNING
    if counts["taken_back"]:
        return StageStatus.ROLLED_BACK
    if counts["failed"]:
        return StageStatus.FAILED
    if counts["skipped"] == counts["nodes"]:
        return StageStatus.SKIPPED
    if counts["cancelled"]:
        return StageStatus.CANCELLED
    return StageStatus.SUCCEEDED


def _waiting_for(row: Deployment, stages: Sequence[Stage]) -> list[Waiting]:
    if row.status in _TERMINAL:
        return []
    found = [
        Waiting(
            kind=stage.waiting or "schedule",
            text=stage.message or f"{stage.kind} waits",
            since=stage.waiting_since,
            # A lane is free when its holder ends, which no clock knows: the next look at it is no promise.
            until=None if stage.waiting in ("lane", "nodes") else stage.due_at,
            blocked_by=stage.blocked_by,
        )
        for stage in stages
        if stage.status == StageStatus.WAITING.value
    ]
    if row.status == DeploymentStatus.PAUSED.value:
        until = row.paused_until
        since = until - parse_policy(row.policy).paused_timeout if until else None
        text_ = f"{row.reason or 'paused'}: waits for resume, retry or cancel"
        found.append(Waiting("paused", text_, since, until, None))
    return found


def _silent_nodes(session: Session, row: Deployment) -> list[Waiting]:
    """The nodes that it waits for under an operation and that are silent; until when each does not count as lost."""
    if row.status in _TERMINAL:
        return []
    policy = parse_policy(row.policy)
    values = {"deployment": row.id, "silence": policy.unavailable_after.total_seconds()}
    return [
        Waiting("node", f"{name} is silent; later than {until:%H:%M:%S} UTC it counts as lost", heard, until, None)
        for name, heard in session.execute(_SILENT, values)
        for until in [heard + policy.node_lost_after]
    ]


def operations(
    orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, page: PageRequest
) -> Page[NodeOperation]:
    """The node operations of a deployment. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        statement = select(NodeOperation).where(NodeOperation.deployment_id == row.id)
        return page_of(session, statement, NodeOperation.id, page)


def stage_log(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, name: str) -> str:
    """What a stage's command said last, else its message. `name` is the stage's, as shown or as its kind.

    Raises NotFound.
    """
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        stages = session.scalars(select(Stage).where(Stage.deployment_id == row.id)).all()
    for stage in stages:
        if name.lower() in (stage.kind.lower(), stage_name(row, stage.kind).lower()):
            return stage.output_tail or (f"{stage.message}\n" if stage.message else "")
    raise NotFound(f"The deployment has no stage {name}.")


def stage_name(row: Deployment, kind: str) -> str:
    """`Deploy to QA` for the stage that is stored as `Deploy`; the others are called as they are stored."""
    return f"Deploy to {row.environment_name}" if kind == "Deploy" else kind
