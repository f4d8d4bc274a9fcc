"""The worker of the pipeline benchmark: the real engine, with six stages whose work is nothing at all."""

from __future__ import annotations

from uuid import UUID

from app.domain.deployment import StageKind
from app.orchestrator import claims, lanes, stages
from app.orchestrator.dispatching import STAGE_TASKS
from app.orchestrator.scanning import Verdict
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
    return stages.report(here.orchestrator, claimed, Verdict(True, "nothing to do"))


for _kind in StageKind:
    app.task(name=STAGE_TASKS[_kind][0])(_trivial)
