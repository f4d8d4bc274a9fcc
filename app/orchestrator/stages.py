"""Executing a claimed stage: claim, work outside any transaction, report under the attempt."""

from __future__ import annotations

from uuid import UUID

from app.domain.deployment import StageKind
from app.domain.events import StageReported
from app.infrastructure.nodes import Nodes
from app.orchestrator import claims, lanes, outcomes
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.scanning import Verdict, scan
from app.orchestrator.settling import settled
from app.orchestrator.validating import validate

TAIL_CHARACTERS = 4096


def execute(
    orchestrator: Orchestrator, nodes: Nodes, executor_id: UUID, deployment_id: UUID, stage_id: UUID
) -> str | None:
    """Claim and execute one stage. Returns a short result for operators, None when there was nothing to claim."""
    with settled(orchestrator, executor_id, deployment_id, stage_id):
        claimed = claims.claim_stage(orchestrator, executor_id, deployment_id, stage_id)
        if claimed is None:
            return None
        if claimed.kind is StageKind.DEPLOY:
            return lanes.enter(orchestrator, claimed)
        return report(orchestrator, claimed, _perform(orchestrator, nodes, claimed))


def report(orchestrator: Orchestrator, claimed: ClaimedStage, verdict: Verdict) -> str:
    """Report how a claimed stage ended; an older attempt's report changes nothing."""
    tail = verdict.output_tail.replace("\x00", "")[-TAIL_CHARACTERS:] if verdict.output_tail else None
    event = StageReported(claimed.stage_id, claimed.attempt, verdict.succeeded, verdict.message, tail)
    outcomes.apply(orchestrator, claimed.deployment_id, event)
    return verdict.message


def _perform(orchestrator: Orchestrator, nodes: Nodes, claimed: ClaimedStage) -> Verdict:
    if claimed.kind is StageKind.SCAN:
        return scan(orchestrator, claimed.deployment_id)
    if claimed.kind is StageKind.VALIDATION:
        return validate(orchestrator, nodes, claimed.deployment_id)
    return Verdict(False, f"this version of HotSwap cannot execute {claimed.kind.value}")
