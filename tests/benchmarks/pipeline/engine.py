"""The worker of the pipeline benchmark: the real engine, with stages whose work is nothing at all."""

from __future__ import annotations

from uuid import UUID

from app.domain.deployment import StageKind
from app.domain.events import StageReported
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
    outcomes.apply(here.orchestrator, claimed.deployment_id, event)
    return "done"


for _task, _queue in STAGE_TASKS.values():
    app.task(name=_task)(_trivial)
