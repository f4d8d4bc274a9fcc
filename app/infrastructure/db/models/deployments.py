"""Deployments, their stages, node operations and events; lanes; idempotency keys. DESIGN 3 in tables.

`stages` and `node_operations` are open work alike: `claimable` from `due_at` on; a claim adds one to `attempt`, names
the executor and sets `deadline_at`, its execution budget. The engine writes them in SQL (`queries.sql`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.deployment import TERMINAL
from app.infrastructure.db.models.base import DEFAULT_TENANT, Base, Owned, durable_now

_RUNNING = "status not in (" + ", ".join(f"'{status.value}'" for status in sorted(TERMINAL)) + ")"


class Deployment(Owned, Base):
    """`place` is its place in the lane's line, in order of submission; `event_seq` the number of its last event;
    `requested_with` the name of the API token that asked for it."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index("ix_deployments_newest", "tenant_id", "id"),
        Index("ix_deployments_status_newest", "tenant_id", "status", "id"),
        Index("ix_deployments_environment_newest", "tenant_id", "environment_id", "id"),
        Index("ix_deployments_module_newest", "tenant_id", "module_id", "id"),
        Index("ix_deployments_requester_newest", "tenant_id", "requested_by", "id"),
        Index("ix_deployments_line", "module_id", "environment_id", "place", postgresql_where=text(_RUNNING)),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    module_name: Mapped[str] = mapped_column(Text)
    release_id: Mapped[UUID | None] = mapped_column(ForeignKey("releases.id"))
    version: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    environment_name: Mapped[str] = mapped_column(Text)
    strategy: Mapped[str] = mapped_column(Text)
    policy: Mapped[dict[str, Any]]
    force: Mapped[bool] = mapped_column(server_default="false")
    requested_by: Mapped[str] = mapped_column(Text)
    requested_with: Mapped[str | None] = mapped_column(Text)
    requester_email: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    trace_id: Mapped[str] = mapped_column(Text)
    not_before: Mapped[datetime | None]
    place: Mapped[int] = mapped_column(BigInteger)
    course: Mapped[str] = mapped_column(Text, server_default="forward")
    ending: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    paused: Mapped[bool] = mapped_column(server_default="false")
    paused_until: Mapped[datetime | None]
    granted: Mapped[bool] = mapped_column(server_default="false")
    fencing_token: Mapped[int | None] = mapped_column(BigInteger)
    needs_approval: Mapped[bool] = mapped_column(server_default="false")
    retry_of: Mapped[UUID | None]
    rollback_of: Mapped[UUID | None]
    superseded_by: Mapped[UUID | None]
    targets: Mapped[dict[str, Any] | None]
    event_seq: Mapped[int] = mapped_column(server_default="0")
    submitted_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class _Work:
    """The columns of open work; see the module's docstring."""

    attempt: Mapped[int] = mapped_column(server_default="0")
    claimable: Mapped[bool] = mapped_column(server_default="false")
    due_at: Mapped[datetime | None]
    losses: Mapped[int] = mapped_column(server_default="0")
    executor_id: Mapped[UUID | None]
    claimed_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    output_tail: Mapped[str | None] = mapped_column(Text)


class Stage(_Work, Owned, Base):
    __tablename__ = "stages"
    __table_args__ = (
        UniqueConstraint("deployment_id", "position"),
        Index("ix_stages_claimed", "executor_id", postgresql_where=text("executor_id is not null")),
        Index("ix_stages_due", "due_at", postgresql_where=text("claimable")),
        Index("ix_stages_asking", "due_at", postgresql_where=text("waiting = 'approval'")),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    waiting: Mapped[str | None] = mapped_column(Text)
    waiting_since: Mapped[datetime | None]
    blocked_by: Mapped[UUID | None]
    approval: Mapped[dict[str, Any] | None]
    step: Mapped[int] = mapped_column(server_default="1")
    steps: Mapped[int] = mapped_column(server_default="1")
    message: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None]


class StageLogPiece(Owned, Base):
    """What a stage's command printed, in pieces; the middle of a long log is left out (docs/sandbox.md)."""

    __tablename__ = "stage_log_pieces"
    stage_id: Mapped[UUID] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class NodeOperation(_Work, Owned, Base):
    __tablename__ = "node_operations"
    __table_args__ = (
        UniqueConstraint("deployment_id", "position"),
        Index("ix_node_operations_claimed", "executor_id", postgresql_where=text("executor_id is not null")),
        Index(
            "ix_node_operations_in_flight",
            "node_id",
            postgresql_where=text("status in ('Dispatched', 'Running', 'Resolving', 'Lost')"),
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    position: Mapped[int]
    node_id: Mapped[UUID]
    node_name: Mapped[str] = mapped_column(Text)
    wave: Mapped[int]
    direction: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    before_digest: Mapped[str | None] = mapped_column(Text)
    before_version: Mapped[str | None] = mapped_column(Text)
    target_digest: Mapped[str | None] = mapped_column(Text)
    target_version: Mapped[str | None] = mapped_column(Text)
    follows: Mapped[UUID | None]
    tries: Mapped[int] = mapped_column(server_default="1")
    changed: Mapped[bool] = mapped_column(server_default="false")
    active_digest: Mapped[str | None] = mapped_column(Text)
    resolving_since: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


class DeploymentEvent(Base):
    """Numbered per deployment under its lock, without gaps: `seq` is the id of the server-sent event."""

    __tablename__ = "deployment_events"
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), default=DEFAULT_TENANT)
    kind: Mapped[str] = mapped_column(Text)
    body: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    at: Mapped[datetime] = mapped_column(server_default=durable_now())


class Lane(Base):
    """The right to change one (tenant, module, environment). Locked after the deployment's row, never before it.

    `last_place` is the place of the newest submission, `granted_place` the highest that ever held the lane.
    """

    __tablename__ = "lanes"
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"), primary_key=True)
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), default=DEFAULT_TENANT)
    holder: Mapped[UUID | None]
    fencing_token: Mapped[int | None] = mapped_column(BigInteger)
    granted_at: Mapped[datetime | None]
    last_place: Mapped[int] = mapped_column(BigInteger, server_default="0")
    granted_place: Mapped[int] = mapped_column(BigInteger, server_default="0")


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True, default=DEFAULT_TENANT)
    username: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    body_hash: Mapped[str] = mapped_column(Text)
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=durable_now())
