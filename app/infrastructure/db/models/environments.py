"""Environments with their policies, who changed what, and trusted publisher keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.db.models.base import Base, Owned, durable_now


class Environment(Owned, Base):
    """`policy` is `Policy.to_json()`; `version` grows with each change and is the ETag."""

    __tablename__ = "environments"
    __table_args__ = (Index("uq_environments_name", "tenant_id", text("lower(name)"), unique=True),)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    position: Mapped[int]
    policy: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    updated_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    updated_by: Mapped[str] = mapped_column(Text)


class EnvironmentChange(Owned, Base):
    """Who changed what and why. `before` is null for the one that created it, `after` for the one that removed it."""

    __tablename__ = "environment_changes"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    environment_id: Mapped[UUID] = mapped_column(index=True)
    version: Mapped[int]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class ModulePolicy(Owned, Base):
    """What a module overrides of an environment's policy. `version` is the ETag; it goes on after a removal."""

    __tablename__ = "module_policies"
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True)
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"), primary_key=True)
    overrides: Mapped[dict[str, Any]]
    version: Mapped[int]
    reason: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    updated_by: Mapped[str] = mapped_column(Text)


class ModulePolicyChange(Owned, Base):
    """Who changed what and why. `before` is null where there were no overrides, `after` where they were removed."""

    __tablename__ = "module_policy_changes"
    __table_args__ = (Index(None, "module_id", "environment_id", "version"),)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    module_id: Mapped[UUID]
    environment_id: Mapped[UUID]
    version: Mapped[int]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class PublisherKey(Owned, Base):
    """A public key whose signatures are trusted: in one environment, or in all where `environment_id` is null."""

    __tablename__ = "publisher_keys"
    __table_args__ = (UniqueConstraint("tenant_id", "key_id", "environment_id", postgresql_nulls_not_distinct=True),)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(Text, index=True)
    name: Mapped[str] = mapped_column(Text)
    public_key: Mapped[str] = mapped_column(Text)
    environment_id: Mapped[UUID | None] = mapped_column(ForeignKey("environments.id", ondelete="CASCADE"))
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=durable_now())
