"""Tasks of the stages: parse ids, call one use case, leave a short result for operators."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from app.orchestrator import claims, stages
from workers import process


def _execute(deployment_id: str, stage_id: str) -> str | None:
    here = process.current()
    return stages.execute(here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(stage_id))


# Builds, tests and scans have ends of their own; these are for a worker that hangs, and hold only where it forks.
_LONG_LIMITS = {"soft_time_limit": claims.STAGE_BUDGET + 30, "time_limit": claims.STAGE_BUDGET + 60}


@shared_task(name="pipeline.build", **_LONG_LIMITS)
def build(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.test", **_LONG_LIMITS)
def test(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.scan", **_LONG_LIMITS)
def scan(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.deploy")
def deploy(deployment_id: str, stage_id: str) -> str | None:
    """Enter the lane; the node operations do the rest."""
    return _execute(deployment_id, stage_id)


@shared_task(name="pipeline.validate")
def validate(deployment_id: str, stage_id: str) -> str | None:
    return _execute(deployment_id, stage_id)
