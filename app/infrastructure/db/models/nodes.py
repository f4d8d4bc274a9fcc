"""Nodes as they were last heard from, what runs on them, and what was decided to run on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.db.models.base import DEFAULT_TENANT, Base, Owned, durable_now


class Node(Owned, Base):
    """A host with an agent. `id` is the one in its certificate; `sequence` that of the last applied heartbeat."""

    __tablename__ = "nodes"
    __table_args__ = (
        UniqueConstraint("tenant_id", "hostname"),
        Index("ix_nodes_environment", "environment_id", "id"),
        Index("ix_nodes_newest", "tenant_id", "id"),
        # Heartbeats leave labels as they are, so that it costs them nothing.
        Index("ix_nodes_labels", "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    hostname: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    agent_version: Mapped[str] = mapped_column(Text)
    boot_id: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    resources: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    highest_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    drained: Mapped[bool] = mapped_column(server_default="false")
    enrolled_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    last_heartbeat: Mapped[datetime] = mapped_column(server_default=durable_now())


class NodeRelease(Base):
    """What a node reports of one module: from heartbeats and operations' results, whichever `sequence` is newer."""

    __tablename__ = "node_releases"
    node_id: Mapped[UUID] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    module_name: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), default=DEFAULT_TENANT)
    digest: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    endpoint: Mapped[str | None] = mapped_column(Text)
    fencing_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    sequence: Mapped[int] = mapped_column(BigInteger)
    standby: Mapped[list[Any]] = mapped_column(server_default="[]")
    metrics: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class DesiredRelease(Base):
    """Desired state: (node, module) -> digest, token. A null digest means: no release of it."""

    __tablename__ = "desired_releases"
    node_id: Mapped[UUID] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"), primary_key=True, index=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), default=DEFAULT_TENANT)
    digest: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    deployment_id: Mapped[UUID]
    since: Mapped[datetime] = mapped_column(server_default=durable_now())
