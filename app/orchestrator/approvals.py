"""Approvals: what waits for people, and what they say. The rules are in `app/domain/approvals.py`; a decision happens
under the deployment's lock, so that of two at once one comes first and the other is told what it was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import psycopg
from sqlalchemy import ColumnElement, Select, func, literal_column, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from agent.telemetry.context import bound
from app.domain.deployment import DeploymentStatus, StageKind, StageStatus, WaitingKind
from app.domain.errors import NotFound, NotPermitted
from app.domain.events import ApprovalExpired, ApprovalGiven, ApprovalRejected, Event
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.deployment_store import Busy
from app.infrastructure.db.engine import Raw
from app.infrastructure.db.models import Deployment, DeploymentEvent, Stage
from app.orchestrator import deployment_queries, environments, outcomes
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, page_of
from app.orchestrator.roles import Role

log = logging.getLogger(__name__)

EXPIRE_AT_MOST = 200
"""Expired at one tick; the rest at the next."""
_ASKED = "approval.requested"
_ANSWERS = ("approval.given", "approval.rejected")
_DUE = """
select deployment_id from stages
 where waiting = 'approval' and due_at <= hotswap_now() order by due_at limit %(most)s
"""


@dataclass(frozen=True, slots=True)
class Response:
    """The last thing that somebody said."""

    by: str
    at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An approval as people read it. `remaining` is zero once it is decided or too late."""

    approval_id: UUID
    deployment: Deployment
    status: str
    requested_at: datetime
    timeout_at: datetime
    remaining: timedelta
    required: int
    given: Sequence[str]
    roles: Sequence[str]
    response: Response | None


def approve(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, reason: str | None) -> ApprovalView:
    """Raises NotFound, NotPermitted (no role that the policy names, or one's own), Conflict (decided), Gone (late)."""
    return _decide(orchestrator, requester, deployment_id, ApprovalGiven, reason)


def reject(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, reason: str | None) -> ApprovalView:
    """Raises as `approve`."""
    return _decide(orchestrator, requester, deployment_id, ApprovalRejected, reason)


def _decide(
    orchestrator: Orchestrator,
    requester: Requester,
    deployment_id: UUID,
    answer: type[ApprovalGiven] | type[ApprovalRejected],
    reason: str | None,
) -> ApprovalView:
    with orchestrator.database.session() as session:
        own = deployment_queries.find(session, requester, deployment_id).requested_by == requester.username

    def event(_connection: Raw, loaded: Loaded) -> Event:
        approval = loaded.state.stage(StageKind.APPROVAL).approval
        if approval is not None and not any(Role(role).granted_by(requester.roles) for role in approval.roles):
            who = " or ".join(approval.roles) or "nobody"
            raise NotPermitted(f"The policy of {loaded.state.environment} lets {who} decide.")
        return answer(requester.username, own, reason)

    outcomes.apply(orchestrator, deployment_id, event)
    return of_deployment(orchestrator, requester, deployment_id)


def expire(orchestrator: Orchestrator) -> int:
    """End those whose deadline has passed. Returns how many were looked at; safe to run twice, and at once.

    One that cannot be decided, or that somebody is deciding just now, keeps no other waiting.
    """
    with orchestrator.database.raw() as connection:
        rows: list[Any] = connection.execute(_DUE, {"most": EXPIRE_AT_MOST}).fetchall()
    for (deployment_id,) in rows:
        with bound(deployment=str(deployment_id)):
            _expire(orchestrator, deployment_id)
    return len(rows)


def _expire(orchestrator: Orchestrator, deployment_id: UUID) -> None:
    try:
        outcomes.apply(orchestrator, deployment_id, ApprovalExpired(), wait=False)
    except (Busy, NotFound):
        log.debug("passed over")
    except (psycopg.Error, SQLAlchemyError):
        raise
    except Exception:
        log.exception("an approval cannot be expired")


def of_deployment(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> ApprovalView:
    """Raises NotFound: no such deployment, or it never asked for an approval."""
    with orchestrator.database.session() as session:
        deployment = deployment_queries.find(session, requester, deployment_id)
        stage = session.scalar(
            select(Stage).where(Stage.deployment_id == deployment.id, Stage.kind == StageKind.APPROVAL.value)
        )
        if stage is None or stage.approval is None:
            raise NotFound(f"The deployment {deployment_id} has asked for no approval.")
        return _view(session, deployment, stage, _now(session))


# Written out, as the index of what waits for people has it: a parameter in its place would not match.
_ASKING: ColumnElement[bool] = Stage.waiting == literal_column(f"'{WaitingKind.APPROVAL.value}'")


def pending(
    orchestrator: Orchestrator, requester: Requester, environment_names: Sequence[str], page: PageRequest
) -> Page[ApprovalView]:
    """What waits for people, newest first: in these environments (in any case), or in all where none is named."""
    statement = (
        select(Stage, Deployment)
        .join(Deployment, Deployment.id == Stage.deployment_id)
        .where(Deployment.tenant_id == requester.tenant_id, _ASKING)
    )
    with orchestrator.database.session() as session:
        if environment_names:
            ids = environments.ids_of(session, requester.tenant_id, environment_names)
            statement = statement.where(Deployment.environment_id.in_(ids))
        found = page_of(session, cast(Select[Any], statement), Stage.id, page)
        now = _now(session)
        return Page([_view(session, row, stage, now) for stage, row in found.items], found.next_cursor)


def _now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.hotswap_now())).scalar_one()
    return now


def _view(session: Session, deployment: Deployment, stage: Stage, now: datetime) -> ApprovalView:
    approval = stage.approval or {}
    until = datetime.fromisoformat(approval["until"])
    waits = stage.status == StageStatus.WAITING.value
    events = session.scalars(
        select(DeploymentEvent)
        .where(DeploymentEvent.deployment_id == deployment.id, DeploymentEvent.kind.in_((_ASKED, *_ANSWERS)))
        .order_by(DeploymentEvent.seq)
    ).all()
    last = events[-1] if events else None
    answered = last is not None and last.kind in _ANSWERS
    return ApprovalView(
        approval_id=stage.id,
        deployment=deployment,
        status=_status(deployment, stage),
        requested_at=events[0].at if events else deployment.submitted_at,
        timeout_at=until,
        remaining=max(until - now, timedelta()) if waits else timedelta(),
        required=approval["required"],
        given=approval["given"],
        roles=approval["roles"],
        response=Response(last.body["by"], last.at, last.body.get("reason")) if last and answered else None,
    )


def _status(deployment: Deployment, stage: Stage) -> str:
    if stage.status == StageStatus.WAITING.value:
        return "Pending"
    if stage.status == StageStatus.SUCCEEDED.value:
        return "Approved"
    decided = (DeploymentStatus.REJECTED.value, DeploymentStatus.EXPIRED.value)
    return deployment.status if deployment.status in decided else "Cancelled"
