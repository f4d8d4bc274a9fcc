"""Tasks of the stages: parse ids, call one use case, leave a short result for operators."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from app.orchestrator import claims, stages
from workers import process


def _execute(deployment_id: str, stage_id: str) -> str | None:
    here = process.current()
    return stages.execute(here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(stage_id))


# The sandbox ends what runs too long; these are for a worker that hangs.
_BUILD_LIMITS = {"soft_time_limit": claims.STAGE_BUDGET + 30, "time_limit": claims.STAGE_BUDGET + 60}


@shared_task(name="pipeline.build", **_BUILD_LIMITS)
def build(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.test", **_BUILD_LIMITS)
def test(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.scan")
def scan(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.deploy")
def deploy(deployment_id: str, stage_id: str) -> str | None:
    """Enter the lane; the node operations do the rest."""
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.validate")
def validate(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)
