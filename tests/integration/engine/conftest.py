"""The engine against a real PostgreSQL. Nodes are rows here: what they answer is told by the test, event by event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import Event, OperationReported, Outcome, StageReported
from app.domain.policy import parse_policy
from app.infrastructure.db.engine import Database
from app.infrastructure.db.models import DEFAULT_TENANT
from app.infrastructure.outbox import Wake
from app.orchestrator import claims, deployments, lanes, outcomes
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployments import Accepted, Submission
from config.settings import Settings, load

DIGEST = "sha256:" + "{:064x}"


@dataclass
class Collected:
    """A publisher that keeps what it was given."""

    wakes: list[Wake] = field(default_factory=list)

    def publish(self, wakes: tuple[Wake, ...]) -> None:
        self.wakes.extend(wakes)

    def take(self) -> list[Wake]:
        taken, self.wakes = self.wakes, []
        return taken


@dataclass
class Lab:
    """One orchestrator over one database, with a module, an environment and nodes."""

    orchestrator: Orchestrator
    published: Collected
    requester: Requester = field(default_factory=lambda: Requester("dora", frozenset({"Deployer"})))
    executor: UUID = field(default_factory=uuid4)

    # --- making things

    def sql(self, query: str, *values: Any) -> list[Any]:
        with self.orchestrator.database.raw() as connection:
            result = connection.execute(query, values)
            return result.fetchall() if result.description else []

    def environment(self, name: str = "QA", **policy: Any) -> UUID:
        body = parse_policy(policy).to_json()
        rows = self.sql(
            "insert into environments (id, tenant_id, name, position, policy, updated_by)"
            " values (%s, %s, %s, 1, %s::jsonb, 'test') returning id",
            uuid7(),
            DEFAULT_TENANT,
            name,
            json.dumps(body),
        )
        return UUID(str(rows[0][0]))

    def release(self, version: str, module: str = "greeter", **manifest: Any) -> str:
        self.sql(
            "insert into modules (id, tenant_id, name) values (%s, %s, %s) on conflict do nothing",
            uuid7(), DEFAULT_TENANT, module,
        )  # fmt: skip
        digest = DIGEST.format(abs(hash((module, version))))
        self.sql(
            "insert into releases (id, tenant_id, module_id, module_name, version, digest, size_bytes, manifest,"
            " key_id, signature, created_by)"
            " select %s, tenant_id, id, name, %s, %s, 10, %s::jsonb, 'key', 'sig', 'test'"
            " from modules where name = %s",
            uuid7(), version, digest, json.dumps(manifest), module,
        )  # fmt: skip
        return digest

    def nodes(self, environment: UUID, count: int, prefix: str = "qa", *, silent: float = 0) -> list[UUID]:
        made: list[UUID] = []
        for number in range(count):
            node_id = uuid7()
            self.sql(
                "insert into nodes (id, tenant_id, environment_id, hostname, address, agent_version, boot_id, sequence,"
                " last_heartbeat) values (%s, %s, %s, %s, '127.0.0.1:1', '0', 'boot', 1,"
                " hotswap_now() - %s * interval '1 second')",
                node_id, DEFAULT_TENANT, environment, f"{prefix}-{number}", silent,
            )  # fmt: skip
            made.append(node_id)
        return made

    def listen(self, since: float) -> None:
        """Somebody has been listening to agents for so many seconds, and goes on."""
        self.sql("delete from executors where role = 'agent-listener'")
        self.sql(
            "insert into executors (id, tenant_id, lock_key, hostname, pid, role, started_at, renewed_at) values"
            " (%s, %s, 1, 'here', 1, 'agent-listener', hotswap_now() - %s * interval '1 second',"
            " hotswap_now() + interval '1 hour')",
            uuid7(), DEFAULT_TENANT, since,
        )  # fmt: skip

    def hear(self, *nodes: UUID) -> None:
        self.sql(
            "update nodes set last_heartbeat = hotswap_now(), sequence = sequence + 1 where id = any(%s)", list(nodes)
        )

    # --- doing things

    def submit(self, version: str, environment: str = "QA", module: str = "greeter", **options: Any) -> UUID:
        return self.accept(version, environment, module, **options).execution_id

    def accept(
        self, version: str, environment: str = "QA", module: str = "greeter", *, key: str | None = None, **options: Any
    ) -> Accepted:
        return deployments.submit(
            self.orchestrator,
            self.requester,
            Submission(module, version, environment, **options),
            trace_id="t",
            idempotency_key=key,
            body_hash=version,
        )

    def happen(self, deployment: UUID, event: Event) -> None:
        outcomes.apply(self.orchestrator, deployment, event)

    def stage(self, deployment: UUID, kind: StageKind) -> UUID:
        row = self.sql("select id from stages where deployment_id = %s and kind = %s", deployment, kind.value)
        return UUID(str(row[0][0]))

    def pass_stage(self, deployment: UUID, kind: StageKind) -> None:
        """Claim a stage and report that it succeeded; the Deploy stage enters its lane."""
        claimed = claims.claim_stage(self.orchestrator, self.executor, deployment, self.stage(deployment, kind))
        assert claimed is not None, f"{kind} of {deployment} is not claimable"
        if kind is StageKind.DEPLOY:
            lanes.enter(self.orchestrator, claimed)
        else:
            self.happen(deployment, StageReported(claimed.stage_id, claimed.attempt, succeeded=True))

    def enter(self, deployment: UUID) -> None:
        if self.stage_status(deployment, StageKind.SCAN) == "Pending":
            self.pass_stage(deployment, StageKind.SCAN)
        self.make_due(deployment)
        self.pass_stage(deployment, StageKind.DEPLOY)

    def make_due(self, deployment: UUID) -> None:
        self.sql("update stages set due_at = null where deployment_id = %s and claimable", deployment)
        self.sql("update node_operations set due_at = null where deployment_id = %s and claimable", deployment)

    def claimable_operations(self, deployment: UUID) -> list[UUID]:
        rows = self.sql(
            "select id from node_operations where deployment_id = %s and claimable order by position", deployment
        )
        return [row[0] for row in rows]

    def operate(
        self, deployment: UUID, operation: UUID, outcome: Outcome = Outcome.SUCCEEDED, error: str | None = None
    ) -> None:
        """Claim one node operation and report what the node is said to have answered."""
        claimed = claims.claim_operation(self.orchestrator, self.executor, deployment, operation)
        assert claimed is not None
        active = claimed.target_digest if outcome is Outcome.SUCCEEDED else claimed.expected_active
        if outcome is not Outcome.UNKNOWN:
            self.sql(
                "insert into node_releases (node_id, module_name, tenant_id, digest, version, status, sequence)"
                " values (%s, %s, %s, %s, %s, 'running', 1) on conflict (node_id, module_name) do update"
                " set digest = excluded.digest, version = excluded.version",
                claimed.node_id, claimed.module_name, DEFAULT_TENANT, active, claimed.target_version,
            )  # fmt: skip
        self.happen(deployment, OperationReported(operation, claimed.attempt, outcome, active, error))

    def run_operations(self, deployment: UUID, limit: int = 100) -> int:
        """Let every node operation succeed until none is open; returns how many there were."""
        done = 0
        while done < limit and (open_now := self.claimable_operations(deployment)):
            self.make_due(deployment)
            self.operate(deployment, open_now[0])
            done += 1
        return done

    def finish(self, deployment: UUID) -> None:
        self.run_operations(deployment)
        if not self.status(deployment).terminal:
            self.pass_stage(deployment, StageKind.VALIDATION)

    def roll_out(self, version: str, **options: Any) -> UUID:
        deployment = self.submit(version, **options)
        self.enter(deployment)
        self.finish(deployment)
        assert self.status(deployment) is DeploymentStatus.SUCCEEDED
        return deployment

    # --- looking

    def status(self, deployment: UUID) -> DeploymentStatus:
        return DeploymentStatus(self.sql("select status from deployments where id = %s", deployment)[0][0])

    def stage_status(self, deployment: UUID, kind: StageKind) -> str:
        rows = self.sql("select status from stages where deployment_id = %s and kind = %s", deployment, kind.value)
        return str(rows[0][0])

    def operations(self, deployment: UUID) -> list[Any]:
        return self.sql(
            "select node_name, direction, status, wave, target_version, error from node_operations"
            " where deployment_id = %s order by position",
            deployment,
        )

    def desired(self) -> dict[str, str | None]:
        return dict(
            self.sql("select n.hostname, d.version from desired_releases d join nodes n on n.id = d.node_id order by 1")
        )

    def events(self, deployment: UUID) -> list[str]:
        rows = self.sql("select seq, kind from deployment_events where deployment_id = %s order by seq", deployment)
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), "events are numbered without gaps"
        return [row[1] for row in rows]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_of(database_url, tmp_path)


def settings_of(database_url: str, tmp_path: Path) -> Settings:
    """Of an orchestrator over that database; its files are in the folder."""
    return load(
        {
            "HOTSWAP_DATABASE_URL": database_url,
            "HOTSWAP_BROKER_URL": "redis://127.0.0.1:1/0",
            "HOTSWAP_JWT_SECRET": "a test's secret of 42 characters, 0123456789",
            "HOTSWAP_TLS_CA": str(tmp_path / "ca"),
            "HOTSWAP_TLS_CERTIFICATE": str(tmp_path / "certificate"),
            "HOTSWAP_TLS_KEY": str(tmp_path / "key"),
            "HOTSWAP_ARTIFACTS_DIR": str(tmp_path / "artifacts"),
            "HOTSWAP_ATTESTATION_KEY": str(tmp_path / "builder.key"),
            "HOTSWAP_DATABASE_POOL_SIZE": "8",
        }
    )


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    database = Database(settings)
    published = Collected()
    made = Lab(Orchestrator(database, settings, published), published)
    made.listen(since=3600)
    yield made
    database.close()
