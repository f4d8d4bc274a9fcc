"""One deployment as people read it: its stages with live node counts, its node operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.domain.deployment import TERMINAL, DeploymentStatus, StageStatus
from app.domain.errors import NotFound
from app.domain.policy import parse_policy
from app.infrastructure.db.models import Deployment, NodeOperation, Stage
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, page_of

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


def find(session: Session, requester: Requester, deployment_id: UUID) -> Deployment:
    """Raises NotFound, also for another tenant's."""
    row = session.scalar(
        select(Deployment).where(Deployment.tenant_id == requester.tenant_id, Deployment.id == deployment_id)
    )
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return row


def now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.hotswap_now())).scalar_one()
    return now


def view(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> DeploymentView:
    """One deployment with its stages in order, live counts and what it waits for. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        stages = session.scalars(select(Stage).where(Stage.deployment_id == row.id).order_by(Stage.position)).all()
        waves = [_wave(counts) for counts in session.execute(_COUNTS, {"deployment": row.id})]
        waiting = _waiting_for(row, stages) + _silent_nodes(session, row)
        return DeploymentView(row, stages, waves, waiting, now(session))


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
            text=_waits_for(stage),
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


def _waits_for(stage: Stage) -> str:
    if stage.waiting == "build":
        return f"{stage.kind} waits for what Build makes"
    return stage.message or f"{stage.kind} waits"


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


def stage_name(row: Deployment, kind: str) -> str:
    """`Deploy to QA` for the stage that is stored as `Deploy`; the others are called as they are stored."""
    return f"Deploy to {row.environment_name}" if kind == "Deploy" else kind
