"""What carries work to workers: the outbox, and the processes that execute claims."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.db.models.base import Base, Owned, durable_now


class OutboxRow(Owned, Base):
    """A wake-up that is owed: one per open work. It goes only when the work was claimed."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_publish_at", "publish_at"),)
    work_id: Mapped[UUID] = mapped_column(primary_key=True)
    deployment_id: Mapped[UUID] = mapped_column(index=True)
    task: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    root_id: Mapped[UUID]
    parent_id: Mapped[UUID | None]
    trace_id: Mapped[str] = mapped_column(Text)
    publish_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    published: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class Executor(Owned, Base):
    """A process that executes claims. While it lives it holds the session-level advisory lock `lock_key`; `renewals`
    grows every second. Who looks at it looks in pg_locks and never tries the lock."""

    __tablename__ = "executors"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    lock_key: Mapped[int] = mapped_column(BigInteger)
    renewals: Mapped[int] = mapped_column(BigInteger, server_default="0")
    hostname: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    role: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(server_default=durable_now())
    renewed_at: Mapped[datetime] = mapped_column(server_default=durable_now())
