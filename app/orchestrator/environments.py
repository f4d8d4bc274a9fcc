"""Environments and their policies: read, create, change with an expected version, remove; who changed what and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from sqlalchemy import exists as sql_exists
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.errors import Conflict, Invalid, NotFound, PreconditionMissing, StaleVersion
from app.domain.module_policy import effective
from app.infrastructure.db.models import Deployment, Environment, EnvironmentChange, Module, ModulePolicy, Node
from app.infrastructure.db.reading import read
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.environment_checks import checked_policy, complaints_about, unknown_predecessors

MOST_ENVIRONMENTS = 200
_MOST_TOLD = 10
_IDENTIFIED: LiteralString = (
    "select id, name from environments where tenant_id = %(tenant)s and lower(name) = lower(%(name)s)"
)
_EXISTS: LiteralString = "select from environments where tenant_id = %(tenant)s and lower(name) = lower(%(name)s)"


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """`policy` is `Policy.to_json()`, `version` the ETag; `created` tells a PUT that it was new."""

    name: str
    order: int
    policy: Mapping[str, Any]
    version: int
    updated_at: datetime
    updated_by: str
    created: bool = False


def list_environments(orchestrator: Orchestrator, requester: Requester) -> Sequence[EnvironmentView]:
    """In their order; there are at most `MOST_ENVIRONMENTS`."""
    with orchestrator.database.session() as session:
        rows = session.scalars(
            select(Environment)
            .where(Environment.tenant_id == requester.tenant_id)
            .order_by(Environment.position, Environment.name)
            .limit(MOST_ENVIRONMENTS)
        )
        return [_view(row) for row in rows]


def environment(orchestrator: Orchestrator, requester: Requester, name: str) -> EnvironmentView:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        return _view(find(session, requester.tenant_id, name))


def exists(orchestrator: Orchestrator, name: str, tenant_id: UUID) -> bool:
    return bool(read(orchestrator.database, _EXISTS, {"tenant": tenant_id, "name": name}))


@dataclass(frozen=True, slots=True)
class Identified:
    id: UUID
    name: str


def identified(orchestrator: Orchestrator, requester: Requester, name: str) -> Identified:
    """Id and true name of an environment that is named in any case. Raises NotFound."""
    rows = read(orchestrator.database, _IDENTIFIED, {"tenant": requester.tenant_id, "name": name})
    if not rows:
        raise NotFound(f"There is no environment {name}.")
    return Identified(*rows[0])


def ids_of(session: Session, tenant_id: UUID, names: Sequence[str]) -> Sequence[UUID]:
    """Those of the environments that there are, by names in any case."""
    wanted = [name.lower() for name in names]
    return session.scalars(
        select(Environment.id).where(Environment.tenant_id == tenant_id, func.lower(Environment.name).in_(wanted))
    ).all()


def find(
    session: Session, tenant_id: UUID, name: str, *, lock: bool = False, exclusive: bool = False
) -> Environment:
    """The row, by name in any case; locked against other changes, and if `exclusive` against new references to it
    (submissions, nodes), too. Raises NotFound."""
    statement = select(Environment).where(
        Environment.tenant_id == tenant_id, func.lower(Environment.name) == name.lower()
    )
    if lock or exclusive:
        statement = statement.with_for_update(key_share=not exclusive)
    row = session.scalar(statement)
    if row is None:
        raise NotFound(f"There is no environment {name}.")
    return row


def put(
    orchestrator: Orchestrator,
    requester: Requester,
    name: str,
    policy: Mapping[str, Any],
    *,
    order: object,
    reason: object,
    expected_version: int | None,
    complaints: Mapping[str, list[str]] | None = None,
) -> EnvironmentView:
    """Create an environment, or change it when `expected_version` is its version.

    Raises Invalid with every bad field (with the `complaints` that the caller has already), then where a module's
    overrides contradict the new policy; PreconditionMissing, StaleVersion, Conflict (two created it at once).
    """
    checked, errors = checked_policy(policy, name)
    errors = {**(complaints or {}), **errors, **complaints_about(order, reason)}
    position = order if isinstance(order, int) else None
    why = reason if isinstance(reason, str) else None
    try:
        with orchestrator.database.session() as session:
            for field, messages in unknown_predecessors(session, requester, policy.get("predecessors")).items():
                errors.setdefault(field, messages)
            if errors:
                raise Invalid(errors)
            try:
                row = find(session, requester.tenant_id, name, lock=True)
            except NotFound:
                return _create(orchestrator, session, requester, name, checked, position, why)
            return _change(orchestrator, session, requester, row, checked, position, why, expected_version)
    except IntegrityError:
        raise Conflict(f"The environment {name} was made by somebody else just now: read it and try again.") from None


def _create(
    orchestrator: Orchestrator,
    session: Session,
    requester: Requester,
    name: str,
    policy: dict[str, Any],
    position: int | None,
    reason: str | None,
) -> EnvironmentView:
    mine = Environment.tenant_id == requester.tenant_id
    count, last = session.execute(select(func.count(), func.max(Environment.position)).where(mine)).one()
    if count >= MOST_ENVIRONMENTS:
        raise Conflict(f"There are {MOST_ENVIRONMENTS} environments already; remove one first.")
    row = Environment(
        id=orchestrator.new_id(),
        tenant_id=requester.tenant_id,
        name=name,
        position=(last or 0) + 1 if position is None else position,
        policy=policy,
        updated_by=requester.username,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    _record(orchestrator, session, requester, row, None, _body(row), reason)
    return _view(row, created=True)


def _change(
    orchestrator: Orchestrator,
    session: Session,
    requester: Requester,
    row: Environment,
    policy: dict[str, Any],
    position: int | None,
    reason: str | None,
    expected_version: int | None,
) -> EnvironmentView:
    if expected_version is None:
        raise PreconditionMissing("Send If-Match with the ETag that GET gave, so that nobody's change is lost.")
    if expected_version != row.version:
        raise StaleVersion(row.version)
    _refuse_contradictions(session, row, policy)
    before = _body(row)
    row.policy = policy
    row.position = row.position if position is None else position
    row.version += 1
    row.updated_by = requester.username
    row.updated_at = session.execute(select(func.hotswap_now())).scalar_one()
    session.flush()
    _record(orchestrator, session, requester, row, before, _body(row), reason)
    return _view(row)


def _refuse_contradictions(session: Session, row: Environment, policy: Mapping[str, Any]) -> None:
    """What modules override must go with the new policy: nobody's rollout is to fail later for a change made here.

    The row is locked, and so are its modules' overrides with it (module_policies.py). Raises Invalid.
    """
    errors: dict[str, list[str]] = {}
    overriding = (
        select(Module.name, ModulePolicy.overrides)
        .join(ModulePolicy, ModulePolicy.module_id == Module.id)
        .where(ModulePolicy.environment_id == row.id)
        .order_by(Module.name)
    )
    told = 0
    for name, overrides in session.execute(overriding):
        try:
            effective(policy, overrides)
        except Invalid as invalid:
            for field, messages in invalid.errors.items():
                errors.setdefault(field, []).append(
                    f"contradicts what {name} overrides ({messages[0]}): change that first, or lock what it overrides"
                )
            told += 1
            if told == _MOST_TOLD:
                break
    if errors:
        raise Invalid(errors)


def delete(orchestrator: Orchestrator, requester: Requester, name: str) -> None:
    """Remove an environment that nothing refers to. Raises NotFound, Conflict."""
    with orchestrator.database.session() as session:
        row = find(session, requester.tenant_id, name, exclusive=True)
        if session.scalar(select(sql_exists().where(Node.environment_id == row.id))):
            raise Conflict(f"{row.name} has nodes; an environment without nodes and deployments can be removed.")
        if session.scalar(select(sql_exists().where(Deployment.environment_id == row.id))):
            raise Conflict(f"{row.name} has deployments; an environment without nodes and deployments can be removed.")
        _record(orchestrator, session, requester, row, _body(row), None, None)
        session.delete(row)


def _record(
    orchestrator: Orchestrator,
    session: Session,
    requester: Requester,
    row: Environment,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    reason: str | None,
) -> None:
    session.add(
        EnvironmentChange(
            id=orchestrator.new_id(),
            tenant_id=row.tenant_id,
            environment_id=row.id,
            version=row.version,
            before=before,
            after=after,
            reason=reason,
            changed_by=requester.username,
        )
    )


def _body(row: Environment) -> dict[str, Any]:
    return {"name": row.name, "order": row.position, **row.policy}


def _view(row: Environment, *, created: bool = False) -> EnvironmentView:
    return EnvironmentView(
        row.name, row.position, row.policy, row.version, row.updated_at, row.updated_by, created=created
    )
