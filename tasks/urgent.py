"""Tasks of going back, cancelling and resolving: workers of their own, which forward work cannot starve."""

from __future__ import annotations

from celery import shared_task

from tasks.execution import execute_operation


@shared_task(name="urgent.node_operation", ignore_result=True)
def node_operation(deployment_id: str, operation_id: str) -> str | None:
    return execute_operation(deployment_id, operation_id)


@shared_task(name="urgent.resolve", ignore_result=True)
def resolve(deployment_id: str, operation_id: str) -> str | None:
    return execute_operation(deployment_id, operation_id)
