"""What tasks of node operations have in common, whichever queue carries them: ids parsed, one use case called."""

from __future__ import annotations

from uuid import UUID

from app.orchestrator import node_operations
from workers import process


def execute_operation(deployment_id: str, operation_id: str) -> str | None:
    here = process.current()
    return node_operations.execute(
        here.orchestrator, here.nodes, here.executor_id, UUID(deployment_id), UUID(operation_id)
    )
