"""What a node's final answer means to a rollout: a failure of the release, or only an interruption."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import pytest

from app.domain.deployment import DeploymentStatus
from app.infrastructure.nodes import NodeAddress, Nodes, OperationAnswer
from app.orchestrator import node_operations
from tests.integration.engine.conftest import Lab


class _Nodes:
    """A node's client whose node gives one answer to everything."""

    def __init__(self, state: str, active: str | None, code: str | None = None) -> None:
        self._answer = OperationAnswer(
            final=True,
            state=state,
            step="starting",
            active=active,
            active_version=None,
            endpoint=None,
            state_sequence=10,
            error_code=code,
            error="the agent ended" if code else None,
            output_tail="its last words",
        )

    def put_operation(self, _node: NodeAddress, _id: UUID, _body: dict[str, Any], **_how: Any) -> OperationAnswer:
        return self._answer


def _execute(lab: Lab, deployment: UUID, operation: UUID, nodes: _Nodes) -> str | None:
    return node_operations.execute(lab.orchestrator, cast(Nodes, nodes), lab.executor, deployment, operation)


@pytest.mark.parametrize(("state", "code"), [("superseded", None), ("failed", "interrupted"), ("void", None)])
def test_what_was_interrupted_is_done_again_under_another_id(lab: Lab, state: str, code: str | None) -> None:
    """An agent that was killed or restarted in the middle has undone its work: no fault of the release."""
    lab.nodes(lab.environment(), 1)
    digest = lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    first = lab.claimable_operations(deployment)[0]
    assert _execute(lab, deployment, first, _Nodes(state, None, code)) == "void"
    assert lab.status(deployment) is DeploymentStatus.RUNNING
    second = lab.claimable_operations(deployment)[0]
    assert second != first
    assert _execute(lab, deployment, second, _Nodes("succeeded", digest)) == "succeeded"
    lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED


def test_what_failed_by_itself_goes_back(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    operation = lab.claimable_operations(deployment)[0]
    assert _execute(lab, deployment, operation, _Nodes("failed", None, "never_healthy")) == "failed"
    assert lab.status(deployment) is DeploymentStatus.ROLLED_BACK
    assert lab.operations(deployment)[0][5] == "never_healthy: the agent ended"
