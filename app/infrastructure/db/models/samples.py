"""What nodes and their modules reported over time (docs/metrics-history.md). Written and read in SQL only.

Without foreign keys: 500 nodes write 33 samples a second, and each key would lock one row of environments or tenants.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Double, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.db.models.base import Base


class _Counted:
    """Requests, those that failed, those that were timed and the seconds they took: all since the sample before."""

    requests: Mapped[float] = mapped_column(Double)
    errors: Mapped[float] = mapped_column(Double)
    timed: Mapped[float] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double)


class NodeSample(_Counted, Base):
    """One node at one moment, a multiple of the sampling interval. `cpu` and `memory` are shares, 0 to 1.

    `totals` are the counters of its modules as they stood: module -> [digest, requests, errors, timed, seconds].
    """

    __tablename__ = "node_samples"
    __table_args__ = (
        Index("ix_node_samples_environment", "environment_id", "at"),
        Index("ix_node_samples_at", "at"),
    )
    node_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    environment_id: Mapped[UUID]
    cpu: Mapped[float | None] = mapped_column(Double)
    memory: Mapped[float | None] = mapped_column(Double)
    totals: Mapped[dict[str, Any]]


class ClusterSample(_Counted, Base):
    """All nodes of an environment in one minute: sums of shares and how many they are of, sums of what was counted."""

    __tablename__ = "cluster_samples"
    __table_args__ = (Index("ix_cluster_samples_at", "at"),)
    environment_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    cpu: Mapped[float] = mapped_column(Double)
    cpu_samples: Mapped[int]
    memory: Mapped[float] = mapped_column(Double)
    memory_samples: Mapped[int]
