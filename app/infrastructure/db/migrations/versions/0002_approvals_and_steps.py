"""What the Approval stage waits for, and how far a stage of several steps is, are kept with the stage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stages", sa.Column("approval", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    for name in ("step", "steps"):
        op.add_column("stages", sa.Column(name, sa.Integer(), server_default="1", nullable=False))
    # The list of what waits for people, and of what has waited for too long.
    op.create_index(
        op.f("ix_stages_asking"), "stages", ["due_at"], postgresql_where=sa.text("waiting = 'approval'")
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_stages_asking"), table_name="stages")
    for name in ("steps", "step", "approval"):
        op.drop_column("stages", name)
