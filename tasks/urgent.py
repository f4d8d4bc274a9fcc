"""Tasks of going back, cancelling and resolving: workers of their own, which forward work cannot starve."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from app.orchestrator import node_operations
from workers import process


def _execute(deployment_id: str, operation_id: str) -> str | None:
    here = process.current()
    return node_operations.execute(
        here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(operation_id)
    )


@shared_task(name="urgent.node_operation", ignore_result=True)
def node_operation(deployment_id: str, operation_id: str) -> str | None:
    return _execute(deployment_id, operation_id)


@shared_task(name="urgent.resolve", ignore_result=True)
def resolve(deployment_id: str, operation_id: str) -> str | None:
    return _execute(deployment_id, operation_id)
