"""What nodes and their modules reported of themselves over time: by node for a while, then by cluster and minute.

No foreign keys: 500 nodes write 33 samples a second, and each key would lock the same row of environments or tenants.
What belongs to an environment that is gone goes by retention.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    counted = ("requests", "errors", "timed", "seconds")
    op.create_table(
        "node_samples",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=True),
        sa.Column("memory", sa.Double(), nullable=True),
        *(sa.Column(name, sa.Double(), nullable=False) for name in counted),
        sa.Column("totals", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "at", name=op.f("pk_node_samples")),
    )
    op.create_index("ix_node_samples_environment", "node_samples", ["environment_id", "at"])
    op.create_index("ix_node_samples_at", "node_samples", ["at"])
    op.create_table(
        "cluster_samples",
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("cpu_samples", sa.Integer(), nullable=False),
        sa.Column("memory", sa.Double(), nullable=False),
        sa.Column("memory_samples", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in counted),
        sa.PrimaryKeyConstraint("environment_id", "at", name=op.f("pk_cluster_samples")),
    )
    op.create_index("ix_cluster_samples_at", "cluster_samples", ["at"])


def downgrade() -> None:
    op.drop_table("cluster_samples")
    op.drop_table("node_samples")
