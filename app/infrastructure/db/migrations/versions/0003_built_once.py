"""What was made of a release, once: its built artifact, its passed tests; what stages printed; what scanners found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())

# What a node can be told to run, by its digest: an archive as it was published, or what was built of one.
_RUNNABLE = """
create view runnable_releases as
select r.id, r.module_id, r.version, r.digest, r.size_bytes, r.signature, r.key_id, r.manifest,
       null::text as source_digest, null::text as attestation
  from releases r
 union all
select r.id, r.module_id, r.version, b.digest, b.size_bytes, r.signature, r.key_id, r.manifest, r.digest, b.attestation
  from built_artifacts b join releases r on r.id = b.release_id
 -- A build may give back its source, byte for byte: that needs no attestation, and stands here once.
 where b.digest <> r.digest
"""


def upgrade() -> None:
    op.create_table(
        "built_artifacts",
        sa.Column("release_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tree_digest", sa.Text(), nullable=True),
        sa.Column("attestation", sa.Text(), nullable=False),
        sa.Column("isolation", _JSON, nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("built_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_built_artifacts_release_id_releases")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_built_artifacts_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_built_artifacts")),
    )
    op.create_index(op.f("ix_built_artifacts_digest"), "built_artifacts", ["digest"])
    op.create_table(
        "passed_tests",
        sa.Column("release_id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("passed_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_passed_tests_release_id_releases")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_passed_tests_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_passed_tests")),
    )
    op.create_table(
        "scan_reports",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scanner", sa.Text(), nullable=False),
        sa.Column("report", _JSON, nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_scan_reports_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "digest", "scanner", name=op.f("pk_scan_reports")),
    )
    op.create_table(
        "stage_log_pieces",
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["stages.id"], ondelete="CASCADE", name=op.f("fk_stage_log_pieces_stage_id_stages")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_stage_log_pieces_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("stage_id", "attempt", "seq", name=op.f("pk_stage_log_pieces")),
    )
    op.add_column("stages", sa.Column("details", _JSON, nullable=True))
    # So that another try of a deployment asks again for what the first one had to wait for.
    op.add_column(
        "deployments", sa.Column("needs_approval", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("releases", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_releases_module_newest"), "releases", ["module_id", "id"])
    op.create_index(op.f("ix_releases_created_at"), "releases", ["created_at"])
    op.create_index(op.f("ix_built_artifacts_tree_digest"), "built_artifacts", ["tree_digest"])
    op.execute(_RUNNABLE)


def downgrade() -> None:
    op.execute("drop view runnable_releases")
    op.drop_index(op.f("ix_releases_created_at"), table_name="releases")
    op.drop_index(op.f("ix_releases_module_newest"), table_name="releases")
    op.drop_column("releases", "retired_at")
    op.drop_column("deployments", "needs_approval")
    op.drop_column("stages", "details")
    for table in ("stage_log_pieces", "scan_reports", "passed_tests", "built_artifacts"):
        op.drop_table(table)
