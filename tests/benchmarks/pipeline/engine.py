"""The worker of the pipeline benchmark: the real engine, with six stages whose work is nothing at all."""

from __future__ import annotations

from uuid import UUID

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import ApprovalGiven, StageReported
from app.orchestrator import claims, lanes, outcomes
from app.orchestrator.dispatching import STAGE_TASKS
from workers import process
from workers.celery_app import app

app.conf.imports = ()
# The yardstick sends none either; with Flower watching, each task costs three more messages.
app.conf.worker_send_task_events = False


def _trivial(deployment_id: str, stage_id: str) -> str | None:
    here = process.current()
    claimed = claims.claim_stage(here.orchestrator, here.executor_id, UUID(deployment_id), UUID(stage_id))
    if claimed is None:
        return None
    if claimed.kind is StageKind.DEPLOY:
        return lanes.enter(here.orchestrator, claimed)
    event = StageReported(claimed.stage_id, claimed.attempt, succeeded=True, message="nothing to do")
    state = outcomes.apply(here.orchestrator, claimed.deployment_id, event)
    if state.status is DeploymentStatus.PENDING_APPROVAL:  # the sixth stage is people's: somebody approves at once
        outcomes.apply(here.orchestrator, claimed.deployment_id, ApprovalGiven("bench", own=False))
    return "done"


for _kind in StageKind:
    app.task(name=STAGE_TASKS[_kind][0])(_trivial)
