"""The first tables: what app/infrastructure/db/models describes, durable time and the token sequence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


DEFAULT_TENANT = "01900000-0000-7000-8000-000000000001"


def upgrade() -> None:
    # Durable time is read through this one function, so that a simulation can set it.
    op.execute("create function hotswap_now() returns timestamptz language sql volatile as 'select clock_timestamp()'")
    # Fencing tokens: one sequence for the whole database; it only grows, and skips what a rolled back grant took.
    op.execute("create sequence fencing_tokens as bigint")
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    op.create_table(
        "environment_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_environment_changes_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment_changes")),
    )
    op.create_index(
        op.f("ix_environment_changes_environment_id"), "environment_changes", ["environment_id"], unique=False
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_environments_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
    )
    op.create_index(
        "uq_environments_name", "environments", ["tenant_id", sa.literal_column("lower(name)")], unique=True
    )
    op.create_table(
        "executors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lock_key", sa.BigInteger(), nullable=False),
        sa.Column("renewals", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_executors_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executors")),
    )
    op.create_table(
        "login_failures",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_login_failures_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "username", name=op.f("pk_login_failures")),
    )
    op.create_table(
        "modules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_modules_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_modules")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_modules_tenant_id_name")),
    )
    op.create_table(
        "outbox",
        sa.Column("work_id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("publish_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("published", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_outbox_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_deployment_id"), "outbox", ["deployment_id"], unique=False)
    op.create_index("ix_outbox_publish_at", "outbox", ["publish_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_users_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("tenant_id", "username", name=op.f("uq_users_tenant_id_username")),
    )
    op.create_table(
        "lanes",
        sa.Column("module_id", sa.Uuid(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), nullable=True),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_place", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("granted_place", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_lanes_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(["module_id"], ["modules.id"], name=op.f("fk_lanes_module_id_modules")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_lanes_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("module_id", "environment_id", name=op.f("pk_lanes")),
    )
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_login_sessions_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_login_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_sessions")),
        sa.UniqueConstraint("refresh_id", name=op.f("uq_login_sessions_refresh_id")),
    )
    op.create_index(op.f("ix_login_sessions_user_id"), "login_sessions", ["user_id"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent_version", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("resources", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("highest_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("drained", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column(
            "last_heartbeat", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False
        ),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_nodes_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_nodes_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("tenant_id", "hostname", name=op.f("uq_nodes_tenant_id_hostname")),
    )
    op.create_index("ix_nodes_environment", "nodes", ["environment_id", "id"], unique=False)
    op.create_table(
        "publisher_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_publisher_keys_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_publisher_keys_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publisher_keys")),
        sa.UniqueConstraint(
            "tenant_id",
            "key_id",
            "environment_id",
            name=op.f("uq_publisher_keys_tenant_id_key_id_environment_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_publisher_keys_key_id"), "publisher_keys", ["key_id"], unique=False)
    op.create_table(
        "releases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("module_id", sa.Uuid(), nullable=False),
        sa.Column("module_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("provenance", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["module_id"], ["modules.id"], name=op.f("fk_releases_module_id_modules")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_releases_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_releases")),
        sa.UniqueConstraint("module_id", "version", name=op.f("uq_releases_module_id_version")),
    )
    op.create_index(op.f("ix_releases_digest"), "releases", ["digest"], unique=False)
    op.create_table(
        "deployments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("module_id", sa.Uuid(), nullable=False),
        sa.Column("module_name", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("environment_name", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("force", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requester_email", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("course", sa.Text(), server_default="forward", nullable=False),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=True),
        sa.Column("retry_of", sa.Uuid(), nullable=True),
        sa.Column("rollback_of", sa.Uuid(), nullable=True),
        sa.Column("superseded_by", sa.Uuid(), nullable=True),
        sa.Column("targets", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("event_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_deployments_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(["module_id"], ["modules.id"], name=op.f("fk_deployments_module_id_modules")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_deployments_release_id_releases")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_deployments_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
    op.create_index(
        "ix_deployments_environment_newest", "deployments", ["tenant_id", "environment_id", "id"], unique=False
    )
    op.create_index(
        "ix_deployments_line",
        "deployments",
        ["module_id", "environment_id", "place"],
        unique=False,
        postgresql_where=sa.text(
            "status not in ('Cancelled', 'Expired', 'Failed', 'Rejected', 'RolledBack', 'Succeeded', 'Superseded')"
        ),
    )
    op.create_index("ix_deployments_module_newest", "deployments", ["tenant_id", "module_id", "id"], unique=False)
    op.create_index("ix_deployments_newest", "deployments", ["tenant_id", "id"], unique=False)
    op.create_index("ix_deployments_requester_newest", "deployments", ["tenant_id", "requested_by", "id"], unique=False)
    op.create_index("ix_deployments_status_newest", "deployments", ["tenant_id", "status", "id"], unique=False)
    op.create_table(
        "desired_releases",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("module_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.ForeignKeyConstraint(["module_id"], ["modules.id"], name=op.f("fk_desired_releases_module_id_modules")),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_desired_releases_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_desired_releases_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("node_id", "module_id", name=op.f("pk_desired_releases")),
    )
    op.create_index(op.f("ix_desired_releases_module_id"), "desired_releases", ["module_id"], unique=False)
    op.create_table(
        "node_releases",
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("module_name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("standby", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_node_releases_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_node_releases_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("node_id", "module_name", name=op.f("pk_node_releases")),
    )
    op.create_table(
        "deployment_events",
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_deployment_events_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_deployment_events_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("deployment_id", "seq", name=op.f("pk_deployment_events")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("hotswap_now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_idempotency_keys_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_idempotency_keys_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "username", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "node_operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column("node_name", sa.Text(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("before_digest", sa.Text(), nullable=True),
        sa.Column("before_version", sa.Text(), nullable=True),
        sa.Column("target_digest", sa.Text(), nullable=True),
        sa.Column("target_version", sa.Text(), nullable=True),
        sa.Column("follows", sa.Uuid(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="1", nullable=False),
        sa.Column("changed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("active_digest", sa.Text(), nullable=True),
        sa.Column("resolving_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claimable", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("executor_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("output_tail", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_node_operations_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_node_operations_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_operations")),
        sa.UniqueConstraint("deployment_id", "position", name=op.f("uq_node_operations_deployment_id_position")),
    )
    op.create_index(
        "ix_node_operations_claimed",
        "node_operations",
        ["executor_id"],
        unique=False,
        postgresql_where=sa.text("executor_id is not null"),
    )
    op.create_index(
        "ix_node_operations_in_flight",
        "node_operations",
        ["node_id"],
        unique=False,
        postgresql_where=sa.text("status in ('Dispatched', 'Running', 'Resolving', 'Lost')"),
    )
    op.create_table(
        "stages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("waiting", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_by", sa.Uuid(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claimable", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("executor_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("output_tail", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name=op.f("fk_stages_deployment_id_deployments"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_stages_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("deployment_id", "position", name=op.f("uq_stages_deployment_id_position")),
    )
    op.create_index(
        "ix_stages_claimed",
        "stages",
        ["executor_id"],
        unique=False,
        postgresql_where=sa.text("executor_id is not null"),
    )
    op.create_index("ix_stages_due", "stages", ["due_at"], unique=False, postgresql_where=sa.text("claimable"))

    op.execute(f"insert into tenants (id, name) values ('{DEFAULT_TENANT}', 'default')")


def downgrade() -> None:
    op.drop_index("ix_stages_due", table_name="stages", postgresql_where=sa.text("claimable"))
    op.drop_index("ix_stages_claimed", table_name="stages", postgresql_where=sa.text("executor_id is not null"))
    op.drop_table("stages")
    op.drop_index(
        "ix_node_operations_in_flight",
        table_name="node_operations",
        postgresql_where=sa.text("status in ('Dispatched', 'Running', 'Resolving', 'Lost')"),
    )
    op.drop_index(
        "ix_node_operations_claimed", table_name="node_operations", postgresql_where=sa.text("executor_id is not null")
    )
    op.drop_table("node_operations")
    op.drop_table("idempotency_keys")
    op.drop_table("deployment_events")
    op.drop_table("node_releases")
    op.drop_index(op.f("ix_desired_releases_module_id"), table_name="desired_releases")
    op.drop_table("desired_releases")
    op.drop_index("ix_deployments_status_newest", table_name="deployments")
    op.drop_index("ix_deployments_requester_newest", table_name="deployments")
    op.drop_index("ix_deployments_newest", table_name="deployments")
    op.drop_index("ix_deployments_module_newest", table_name="deployments")
    op.drop_index(
        "ix_deployments_line",
        table_name="deployments",
        postgresql_where=sa.text(
            "status not in ('Cancelled', 'Expired', 'Failed', 'Rejected', 'RolledBack', 'Succeeded', 'Superseded')"
        ),
    )
    op.drop_index("ix_deployments_environment_newest", table_name="deployments")
    op.drop_table("deployments")
    op.drop_index(op.f("ix_releases_digest"), table_name="releases")
    op.drop_table("releases")
    op.drop_index(op.f("ix_publisher_keys_key_id"), table_name="publisher_keys")
    op.drop_table("publisher_keys")
    op.drop_index("ix_nodes_environment", table_name="nodes")
    op.drop_table("nodes")
    op.drop_index(op.f("ix_login_sessions_user_id"), table_name="login_sessions")
    op.drop_table("login_sessions")
    op.drop_table("lanes")
    op.drop_table("users")
    op.drop_index("ix_outbox_publish_at", table_name="outbox")
    op.drop_index(op.f("ix_outbox_deployment_id"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("modules")
    op.drop_table("login_failures")
    op.drop_table("executors")
    op.drop_index("uq_environments_name", table_name="environments")
    op.drop_table("environments")
    op.drop_index(op.f("ix_environment_changes_environment_id"), table_name="environment_changes")
    op.drop_table("environment_changes")
    op.drop_table("tenants")
    op.execute("drop sequence fencing_tokens")
    op.execute("drop function hotswap_now()")
