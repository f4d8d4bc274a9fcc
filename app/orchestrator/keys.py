"""Trusted publisher keys: whose signatures are believed, in one environment or in all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError

from agent.signatures import KeyInvalid, key_id, load_public, public_pem
from app.domain.errors import Conflict, Invalid, NotFound
from app.infrastructure.db.models import Environment, PublisherKey
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.paging import Page, PageRequest, page_of


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """`environment` None means: all of them. `public_key` is PEM."""

    key_id: str
    name: str
    public_key: str
    environment: str | None
    created_by: str
    created_at: datetime


def trust(
    orchestrator: Orchestrator, requester: Requester, *, public_key: str, name: str | None, environment: str | None
) -> TrustedKey:
    """Trust a public key. Raises Invalid (no usable key, unknown environment), Conflict (trusted there already)."""
    errors: dict[str, list[str]] = {}
    try:
        key = load_public(public_key.encode("ascii"))
    except (KeyInvalid, UnicodeEncodeError) as error:
        key, errors["publicKey"] = None, [str(error)]
    try:
        with orchestrator.database.session() as session:
            found = None
            if environment is not None:
                found = session.scalar(
                    select(Environment).where(
                        Environment.tenant_id == requester.tenant_id,
                        func.lower(Environment.name) == environment.lower(),
                    )
                )
                if found is None:
                    errors["environment"] = ["is not an environment"]
            if errors or key is None:
                raise Invalid(errors)
            row = PublisherKey(
                id=orchestrator.new_id(),
                tenant_id=requester.tenant_id,
                key_id=key_id(key),
                name=name or key_id(key),
                public_key=public_pem(key).decode("ascii"),
                environment_id=found.id if found else None,
                created_by=requester.username,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return _shown(row, found.name if found else None)
    except IntegrityError:
        where = environment or "every environment"
        raise Conflict(f"The key is trusted in {where} already.") from None


def trusted(orchestrator: Orchestrator, requester: Requester, page: PageRequest) -> Page[TrustedKey]:
    statement = (
        select(PublisherKey, Environment.name)
        .outerjoin(Environment, Environment.id == PublisherKey.environment_id)
        .where(PublisherKey.tenant_id == requester.tenant_id)
    )
    with orchestrator.database.session() as session:
        found = page_of(session, cast(Select[Any], statement), PublisherKey.id, page)
    return Page([_shown(row, environment) for row, environment in found.items], found.next_cursor)


def distrust(orchestrator: Orchestrator, requester: Requester, identity: str) -> None:
    """Trust a key nowhere any more. What is deployed stays. Raises NotFound."""
    with orchestrator.database.session() as session:
        gone = session.scalars(
            delete(PublisherKey)
            .where(PublisherKey.tenant_id == requester.tenant_id, PublisherKey.key_id == identity)
            .returning(PublisherKey.id)
        ).all()
    if not gone:
        raise NotFound(f"No key {identity} is trusted.")


def _shown(row: PublisherKey, environment: str | None) -> TrustedKey:
    return TrustedKey(row.key_id, row.name, row.public_key, environment, row.created_by, row.created_at)
