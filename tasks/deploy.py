"""Tasks that wait on nodes, going forward."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from app.orchestrator import node_operations
from workers import process


@shared_task(name="deploy.node_operation", ignore_result=True)
def node_operation(deployment_id: str, operation_id: str) -> str | None:
    here = process.current()
    return node_operations.execute(
        here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(operation_id)
    )
