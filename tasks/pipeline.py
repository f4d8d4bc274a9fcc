"""Tasks of the stages: parse ids, call one use case, leave a short result for operators."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from app.orchestrator import stages
from workers import process


def _execute(deployment_id: str, stage_id: str) -> str | None:
    here = process.current()
    return stages.execute(here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(stage_id))


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
