"""Executing a claimed stage: claim, work outside any transaction, report under the attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from agent.telemetry import spans
from agent.telemetry.context import bound
from agent.telemetry.spans import Span
from app.domain.deployment import StageKind
from app.domain.events import ClaimEnded
from app.infrastructure.nodes import Nodes
from app.orchestrator import building, claims, lanes, outcomes, scanning, testing
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.settling import settled
from app.orchestrator.stage_watch import Abandoned, Stopped
from app.orchestrator.validating import validate
from app.orchestrator.verdict import Verdict, report

_LONG_WORK: dict[StageKind, Callable[[Orchestrator, ClaimedStage], str]] = {
    StageKind.BUILD: building.build,
    StageKind.SCAN: scanning.scan,
    StageKind.TEST: testing.run_tests,
}
"""What is broken off when it is not wanted any more, or when its process is to end."""
_LONGEST_REASON = 200  # characters, in a span


def execute(
    orchestrator: Orchestrator, nodes: Nodes, executor_id: UUID, deployment_id: UUID, stage_id: UUID
) -> str | None:
    """Claim and execute one stage. Returns a short result for operators, None when there was nothing to claim."""
    began = spans.now()
    with settled(orchestrator, executor_id, deployment_id, stage_id):
        claimed = claims.claim_stage(orchestrator, executor_id, deployment_id, stage_id)
        if claimed is None:
            return None
        with _attempt(claimed, began) as span:
            said = _perform(orchestrator, nodes, claimed)
            span.set(reason=said[:_LONGEST_REASON])
            return said


@contextmanager
def _attempt(claimed: ClaimedStage, began: int) -> Iterator[Span]:
    """What is logged within says whose it is; the attempt is a span of its stage."""
    stage, attempt = claimed.kind.value, claimed.attempt
    with bound(stage=stage, attempt=attempt), spans.span("stage attempt", start=began) as span:
        span.set(deployment=str(claimed.deployment_id), work=str(claimed.stage_id), stage=stage, attempt=attempt)
        yield span


def _perform(orchestrator: Orchestrator, nodes: Nodes, claimed: ClaimedStage) -> str:
    match claimed.kind:
        case StageKind.BUILD | StageKind.SCAN | StageKind.TEST:
            try:
                return _LONG_WORK[claimed.kind](orchestrator, claimed)
            except Abandoned:
                return "given up: the stage was cancelled or taken over"
            except Stopped:
                ended = ClaimEnded(claimed.stage_id, claimed.attempt, poison=False, why="its worker was stopped")
                outcomes.apply(orchestrator, claimed.deployment_id, ended)
                return "handed back: the worker stops"
        case StageKind.DEPLOY:
            return lanes.enter(orchestrator, claimed)
        case StageKind.VALIDATION:
            return report(orchestrator, claimed, validate(orchestrator, nodes, claimed.deployment_id))
        case StageKind.APPROVAL:
            return report(orchestrator, claimed, Verdict(False, "an approval is nobody's work"))
