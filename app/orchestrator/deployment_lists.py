"""Lists of deployments, by what people ask for most: a page is found by an index that ends in the id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session, load_only

from app.infrastructure.db.models import Deployment, Module
from app.orchestrator import deployment_queries, environments
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, newest_of, only, page_of

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


@dataclass(frozen=True, slots=True)
class Filters:
    """Any of the values of each; empty is no filter. Environments are named in any case."""

    statuses: Sequence[str] = ()
    environments: Sequence[str] = ()
    modules: Sequence[str] = ()
    requesters: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Criterion:
    """A column and the values that it may have."""

    column: InstrumentedAttribute[Any]
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """`now` is None where every row has ended."""

    rows: Page[Deployment]
    now: datetime | None


def list_deployments(orchestrator: Orchestrator, requester: Requester, filters: Filters, page: PageRequest) -> Listed:
    """Newest first."""
    statement = select(Deployment).options(load_only(*_SUMMARY)).where(Deployment.tenant_id == requester.tenant_id)
    with orchestrator.database.session() as session:
        criteria = _criteria(session, requester, filters)
        if any(not criterion.values for criterion in criteria):
            return Listed(Page([]), None)
        if criteria:
            first, *others = criteria
            for other in others:
                statement = statement.where(other.column.in_(other.values))
            legs = [only(statement, first.column, value) for value in first.values]
            statement = legs[0] if len(legs) == 1 else statement.where(newest_of(session, legs, Deployment.id, page))
        rows = page_of(session, statement, Deployment.id, page)
        # The time matters only to what still runs.
        running = any(row.ended_at is None for row in rows.items)
        return Listed(rows, deployment_queries.now(session) if running else None)


def _criteria(session: Session, requester: Requester, filters: Filters) -> list[_Criterion]:
    """What is filtered by, the narrower first: names as ids, which the indexes have.

    No values: the names are of nothing, so that nothing can match.
    """
    found: list[_Criterion] = []
    if filters.modules:
        modules = select(Module.id).where(Module.tenant_id == requester.tenant_id, Module.name.in_(filters.modules))
        found.append(_Criterion(Deployment.module_id, session.scalars(modules).all()))
    if filters.requesters:
        found.append(_Criterion(Deployment.requested_by, filters.requesters))
    if filters.environments:
        ids = environments.ids_of(session, requester.tenant_id, filters.environments)
        found.append(_Criterion(Deployment.environment_id, ids))
    if filters.statuses:
        found.append(_Criterion(Deployment.status, filters.statuses))
    return found
