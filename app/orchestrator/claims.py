"""Claims: a worker takes a piece of open work, works outside any transaction, and reports under its attempt number.

A claim locks the deployment's row first, like every transaction of the engine, so that a cancel and a claim have an
order. It costs one round trip.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.domain.deployment import Direction, OperationStatus, StageKind
from app.domain.events import ClaimEnded
from app.infrastructure.db.deployment_store import SQL
from app.orchestrator import outcomes, telling
from app.orchestrator.context import Orchestrator

log = logging.getLogger(__name__)

STAGE_BUDGET = 4200.0
"""Seconds that one attempt of a stage may take, which no renewal extends: more than the longest build (settings)."""
OPERATION_BUDGET = 6 * 86_400.0
"""The same for a node operation: longer than five hooks of a day each, the most that a manifest may ask for. Its own
time-out is of its manifest; this ends what even that could not."""


@dataclass(frozen=True, slots=True)
class ClaimedStage:
    deployment_id: UUID
    stage_id: UUID
    attempt: int
    kind: StageKind
    step: int = 1


@dataclass(frozen=True, slots=True)
class ClaimedOperation:
    """A claimed node operation with all that its execution needs; `resolving` when it is to be given up.

    Size (bytes), publisher's signature, its key's id and manifest are those of the target, None when that is "no
    release"; `source_digest` and `attestation` are there when it was built.
    """

    deployment_id: UUID
    operation_id: UUID
    attempt: int
    resolving: bool
    direction: Direction
    node_id: UUID
    node_name: str
    address: str | None
    tenant_id: UUID
    module_name: str
    environment: str
    fencing_token: int
    force: bool
    before_version: str | None
    target_digest: str | None
    target_version: str | None
    expected_active: str | None
    size_bytes: int | None
    signature: str | None
    key_id: str | None
    manifest: dict[str, Any] | None
    error: str | None
    source_digest: str | None
    attestation: str | None


def claim_stage(
    orchestrator: Orchestrator, executor_id: UUID, deployment_id: UUID, stage_id: UUID
) -> ClaimedStage | None:
    """Claim a stage, or None when it is not claimable (any more, or yet)."""
    values = _values(orchestrator, executor_id, deployment_id, stage_id, STAGE_BUDGET)
    with orchestrator.database.single() as connection:
        row: Any = connection.execute(SQL["claim_stage"], values).fetchone()
    if row is None:
        return None
    attempt, kind, step, begins = row
    claimed = ClaimedStage(deployment_id, stage_id, attempt, StageKind(kind), step)
    if begins:
        telling.claimed(claimed)
    return claimed


def claim_operation(
    orchestrator: Orchestrator, executor_id: UUID, deployment_id: UUID, operation_id: UUID
) -> ClaimedOperation | None:
    """Claim a node operation, or None when it is not claimable (any more, or yet)."""
    values = _values(orchestrator, executor_id, deployment_id, operation_id, OPERATION_BUDGET)
    with orchestrator.database.raw() as connection, connection.pipeline():
        connection.execute(SQL["lock_for_claim"], values)
        claimed = connection.execute(SQL["claim_operation"], values)
        connection.commit()
        row: Any = claimed.fetchone()
    if row is None:
        return None
    (
        attempt, status, direction, node_id, node_name, before_version, target_digest, target_version, active,
        tenant_id, module_name, environment, token, force, address, size, signature, key_id, manifest, error,
        source_digest, attestation,
    ) = row  # fmt: skip
    return ClaimedOperation(
        deployment_id=deployment_id,
        operation_id=operation_id,
        attempt=attempt,
        resolving=status == OperationStatus.RESOLVING.value,
        direction=Direction(direction),
        node_id=node_id,
        node_name=node_name,
        address=address,
        tenant_id=tenant_id,
        module_name=module_name,
        environment=environment,
        fencing_token=token,
        force=force,
        before_version=before_version,
        target_digest=target_digest,
        target_version=target_version,
        expected_active=active,
        size_bytes=size,
        signature=signature,
        key_id=key_id,
        manifest=manifest,
        error=error,
        source_digest=source_digest,
        attestation=attestation,
    )


def _values(
    orchestrator: Orchestrator, executor_id: UUID, deployment_id: UUID, work_id: UUID, budget: float
) -> dict[str, Any]:
    return {
        "executor_id": executor_id,
        "deployment_id": deployment_id,
        "work_id": work_id,
        "budget": budget,
        "cap": orchestrator.settings.concurrent_node_operations,
    }


def hand_back(orchestrator: Orchestrator, executor_id: UUID) -> int:
    """A process that stops in order gives back all it holds. Returns how many claims that were."""
    with orchestrator.database.raw() as connection:
        held = connection.execute(SQL["hand_back_stages"], {"executor_id": executor_id}).fetchall()
    for work_id, deployment_id, attempt in held:
        event = ClaimEnded(work_id, attempt, poison=False, why="its worker was stopped")  # type: ignore[arg-type]
        outcomes.apply(orchestrator, deployment_id, event)  # type: ignore[arg-type]
    return len(held)
