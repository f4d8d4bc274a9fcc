"""Tasks that wait on nodes, going forward."""

from __future__ import annotations

from celery import shared_task

from tasks.execution import execute_operation


@shared_task(name="deploy.node_operation", ignore_result=True)
def node_operation(deployment_id: str, operation_id: str) -> str | None:
    return execute_operation(deployment_id, operation_id)
