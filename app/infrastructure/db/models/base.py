"""What every table shares: naming of constraints, a UUIDv7 key, the tenant it belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DEFAULT_TENANT = UUID("01900000-0000-7000-8000-000000000001")
"""The one tenant of an installation that knows none; every row carries it until tenants can be made."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB, list[Any]: JSONB}  # noqa: RUF012


class Owned:
    """A row of a tenant."""

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), default=DEFAULT_TENANT)


def durable_now() -> Any:
    """Durable time, read in SQL through the one function of ours."""
    return func.hotswap_now()
