"""Modules, their releases, and what was made of each, once. The bytes lie in the artifact store, by digest."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.db.models.base import DEFAULT_TENANT, Base, Owned, durable_now


class Module(Owned, Base):
    __tablename__ = "modules"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        Index("ix_modules_newest", "tenant_id", "id"),
        Index("ix_modules_name", "tenant_id", text('name COLLATE "C"')),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class Release(Owned, Base):
    """One immutable version of a module. `digest` is `sha256:<64 hex>` of the archive, `manifest` its JSON form.

    A retired one cannot be deployed any more: its bytes may be gone (`app/orchestrator/collecting.py`). `renewed_at`
    is when it was last published again after that, and came back."""

    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint("module_id", "version"),
        Index("ix_releases_module_newest", "module_id", "id"),
        Index("ix_releases_version", "module_id", text('version COLLATE "C"')),
        Index("ix_releases_branch", "module_id", text("(details ->> 'branch')"), "id"),
        Index("ix_releases_commit", "module_id", text("(details ->> 'commit') COLLATE \"C\"")),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    module_name: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text, index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    manifest: Mapped[dict[str, Any]]
    key_id: Mapped[str] = mapped_column(Text)
    signature: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    provenance: Mapped[dict[str, Any] | None]
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=durable_now(), index=True)
    retired_at: Mapped[datetime | None]
    renewed_at: Mapped[datetime | None]


class BuiltArtifact(Owned, Base):
    """What Build made of a release: the first outcome wins. `deployment_id` is the run that made it.

    `tree_digest` is what Test runs on, the source as the build left it; null where there is nothing to test (any more).
    The view `runnable_releases` shows releases and built artifacts alike, by the digest that a node is told.
    """

    __tablename__ = "built_artifacts"
    release_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(Text, index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    tree_digest: Mapped[str | None] = mapped_column(Text, index=True)
    attestation: Mapped[str] = mapped_column(Text)
    isolation: Mapped[dict[str, Any]]
    deployment_id: Mapped[UUID]
    built_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class PassedTests(Owned, Base):
    """A release whose tests passed, once; in which run, and what they said."""

    __tablename__ = "passed_tests"
    release_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    deployment_id: Mapped[UUID]
    details: Mapped[dict[str, Any]]
    passed_at: Mapped[datetime] = mapped_column(server_default=durable_now())


class ScanReport(Base):
    """What one version of the scanners found in the artifact of a digest; judged anew by every deployment."""

    __tablename__ = "scan_reports"
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True, default=DEFAULT_TENANT)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    scanner: Mapped[str] = mapped_column(Text, primary_key=True)
    report: Mapped[dict[str, Any]]
    scanned_at: Mapped[datetime] = mapped_column(server_default=durable_now())
