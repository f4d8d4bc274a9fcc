"""Policies of single modules: what they override of an environment's, edited with an expected version.

The environment's row is locked before its overrides are looked at or changed, here and where the environment's own
policy is changed (`environments.put`): so what comes of the two is valid at any time, and a submission needs no lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import Invalid, NotFound, PreconditionMissing, StaleVersion
from app.domain.module_policy import Effective, effective, parse_overrides
from app.infrastructure.db.models import Environment, Module, ModulePolicy, ModulePolicyChange
from app.orchestrator import environments
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.environment_checks import LONGEST_REASON

NO_VERSION = 0
"""The version of no overrides."""


@dataclass(frozen=True, slots=True)
class ModulePolicyView:
    """`overrides` as they are kept; `version` is the ETag (`NO_VERSION` where there are none)."""

    module_name: str
    environment: str
    overrides: Mapping[str, Any]
    effective: Effective
    version: int
    reason: str | None = None
    updated_at: datetime | None = None
    updated_by: str | None = None
    created: bool = False


def show(orchestrator: Orchestrator, requester: Requester, module_name: str, environment: str) -> ModulePolicyView:
    """Raises NotFound (module, environment)."""
    with orchestrator.database.session() as session:
        place = _place(session, requester, module_name, environment)
        return _view(place, session.get(ModulePolicy, place.key))


def put(
    orchestrator: Orchestrator,
    requester: Requester,
    module_name: str,
    environment: str,
    body: Mapping[str, Any],
    *,
    reason: object,
    expected_version: int | None,
) -> ModulePolicyView:
    """Let `body` be all that the module overrides.

    Raises NotFound, Invalid with every bad field, PreconditionMissing, StaleVersion.
    """
    with orchestrator.database.session() as session:
        place = _place(session, requester, module_name, environment, lock=True)
        overrides, why = _check(place.environment, body, reason)
        row = session.get(ModulePolicy, place.key)
        _expect(row, expected_version)
        before = row.overrides if row is not None else None
        version = _last_version(session, place) + 1
        now = session.execute(select(func.hotswap_now())).scalar_one()
        if row is None:
            row = ModulePolicy(
                tenant_id=requester.tenant_id, environment_id=place.environment.id, module_id=place.module.id
            )
            session.add(row)
        row.overrides, row.version, row.reason = overrides, version, why
        row.updated_by, row.updated_at = requester.username, now
        session.flush()
        _record(orchestrator, session, requester, row, before, overrides, why)
        return _view(place, row, created=before is None)


def delete(
    orchestrator: Orchestrator,
    requester: Requester,
    module_name: str,
    environment: str,
    *,
    reason: str | None,
    expected_version: int | None,
) -> None:
    """Remove what a module overrides. `expected_version` None: whatever it is. Raises NotFound, StaleVersion."""
    with orchestrator.database.session() as session:
        place = _place(session, requester, module_name, environment, lock=True)
        row = session.get(ModulePolicy, place.key)
        if row is None:
            raise NotFound(f"{place.module.name} overrides nothing in {place.environment.name}.")
        if expected_version is not None:
            _expect(row, expected_version)
        _record(orchestrator, session, requester, row, row.overrides, None, reason)
        session.delete(row)


@dataclass(frozen=True, slots=True)
class _Place:
    module: Module
    environment: Environment

    @property
    def key(self) -> tuple[UUID, UUID]:
        """The primary key of the overrides, in the order of the model's columns."""
        return self.environment.id, self.module.id


def _place(session: Session, requester: Requester, module_name: str, environment: str, *, lock: bool = False) -> _Place:
    module = session.scalar(select(Module).where(Module.tenant_id == requester.tenant_id, Module.name == module_name))
    if module is None:
        raise NotFound(f"There is no module {module_name}.")
    return _Place(module, environments.find(session, requester.tenant_id, environment, lock=lock))


def _check(environment: Environment, body: Mapping[str, Any], reason: object) -> tuple[dict[str, Any], str | None]:
    errors: dict[str, list[str]] = {}
    overrides: dict[str, Any] = {}
    try:
        overrides = parse_overrides(environment.policy, body)
    except Invalid as invalid:
        errors.update(invalid.errors)
    if reason is not None and (not isinstance(reason, str) or len(reason) > LONGEST_REASON):
        errors["reason"] = [f"must be a text of at most {LONGEST_REASON} characters"]
    if errors:
        raise Invalid(errors)
    return overrides, reason if isinstance(reason, str) else None


def _expect(row: ModulePolicy | None, version: int | None) -> None:
    current = NO_VERSION if row is None else row.version
    if version is None and row is not None:
        raise PreconditionMissing("Send If-Match with the ETag that GET gave, so that nobody's change is lost.")
    if version is not None and version != current:
        raise StaleVersion(current)


def _last_version(session: Session, place: _Place) -> int:
    """Of all there ever were, so that an old ETag never fits new overrides."""
    last = session.scalar(
        select(func.max(ModulePolicyChange.version)).where(
            ModulePolicyChange.module_id == place.module.id,
            ModulePolicyChange.environment_id == place.environment.id,
        )
    )
    return NO_VERSION if last is None else int(last)


def _record(
    orchestrator: Orchestrator,
    session: Session,
    requester: Requester,
    row: ModulePolicy,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str | None,
) -> None:
    session.add(
        ModulePolicyChange(
            id=orchestrator.new_id(),
            tenant_id=row.tenant_id,
            module_id=row.module_id,
            environment_id=row.environment_id,
            version=row.version,
            before=before,
            after=after,
            reason=reason,
            changed_by=requester.username,
        )
    )


def _view(place: _Place, row: ModulePolicy | None, *, created: bool = False) -> ModulePolicyView:
    overrides = {} if row is None else row.overrides
    return ModulePolicyView(
        module_name=place.module.name,
        environment=place.environment.name,
        overrides=overrides,
        effective=effective(place.environment.policy, overrides),
        version=NO_VERSION if row is None else row.version,
        reason=row.reason if row is not None else None,
        updated_at=row.updated_at if row is not None else None,
        updated_by=row.updated_by if row is not None else None,
        created=created,
    )
