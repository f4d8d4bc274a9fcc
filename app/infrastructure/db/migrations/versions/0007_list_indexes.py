"""Indexes for what lists are filtered by, so that a page costs the same however many rows there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_modules_newest", "modules", ["tenant_id", "id"])
    op.create_index("ix_modules_name", "modules", ["tenant_id", sa.text('name COLLATE "C"')])
    op.create_index("ix_releases_version", "releases", ["module_id", sa.text('version COLLATE "C"')])
    op.create_index("ix_releases_branch", "releases", ["module_id", sa.text("(details ->> 'branch')"), "id"])
    op.create_index("ix_releases_commit", "releases", ["module_id", sa.text("(details ->> 'commit') COLLATE \"C\"")])
    op.create_index("ix_nodes_newest", "nodes", ["tenant_id", "id"])
    op.create_index(
        "ix_nodes_labels", "nodes", ["labels"], postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}
    )


def downgrade() -> None:
    for table, name in (
        ("nodes", "labels"),
        ("nodes", "newest"),
        ("releases", "commit"),
        ("releases", "branch"),
        ("releases", "version"),
        ("modules", "name"),
        ("modules", "newest"),
    ):
        op.drop_index(f"ix_{table}_{name}", table_name=table)
