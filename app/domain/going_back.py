"""Going back, and settling: what was changed is taken back, node by node, each after its forward operation is resolved.

Nothing is cut short: an operation that was sent is resolved (the node says what became of it, or records the id as
void) before the node gets another one. A node that stays silent is LOST, is named, and ends the wait.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from app.domain import ending
from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    StageKind,
    StageStatus,
)
from app.domain.turn import Turn

MOST_TRIES = 3


def begin(turn: Turn, ending_status: DeploymentStatus, reason: str, *, take_back: bool = True) -> None:
    """Turn round. `ending_status` is what the deployment ends as once every node is settled.

    With `take_back` False what was switched stays (cancel without rollback); what is in flight is resolved too.
    """
    state = turn.state
    course = Course.BACK if take_back else Course.SETTLE
    turn.state = replace(state, course=course, ending=ending_status, reason=reason, paused=False, paused_until=None)
    cancelling = ending_status is DeploymentStatus.CANCELLED
    turn.set_status(DeploymentStatus.CANCELLING if cancelling else DeploymentStatus.ROLLING_BACK, reason)
    for operation in turn.state.operations:
        if operation.direction is Direction.BACK:
            continue
        never_sent = operation.status is OperationStatus.DISPATCHED and operation.attempt == 0
        if operation.status is OperationStatus.PENDING or never_sent:
            turn.end_operation(operation, OperationStatus.CANCELLED, error=None)
        elif operation.status in (OperationStatus.DISPATCHED, OperationStatus.RUNNING):
            turn.resolve_operation(operation, "given up: " + reason)
    deploy = turn.state.stage(StageKind.DEPLOY)
    if deploy.status.ended:
        turn.state = turn.state.with_stage(replace(deploy, status=StageStatus.RUNNING))
    advance(turn)


def advance(turn: Turn) -> None:
    """Take back what may be taken back now, and end the deployment once nothing is open."""
    if turn.state.course is Course.BACK:
        _take_back(turn)
    if not any(operation.status.open for operation in turn.state.operations):
        _end(turn)


def _take_back(turn: Turn) -> None:
    room = turn.state.policy.max_concurrent_nodes - sum(
        operation.status.in_flight for operation in turn.state.operations
    )
    for operation in list(turn.state.latest_by_node().values()):
        if room <= 0:
            return
        if not _needs_going_back(operation):
            continue
        due_at = turn.now + timedelta(seconds=2 ** (operation.tries - 1)) if _is_back(operation) else None
        back = NodeOperation(
            id=turn.new_id(),
            node_id=operation.node_id,
            node_name=operation.node_name,
            wave=operation.wave,
            direction=Direction.BACK,
            status=OperationStatus.PENDING,
            before=operation.before if _is_back(operation) else operation.target,
            target=operation.target if _is_back(operation) else operation.before,
            follows=operation.id,
            tries=operation.tries + 1 if _is_back(operation) else 1,
            active=operation.active,
        )
        turn.dispatch_operation(back, due_at)
        room -= 1


def _is_back(operation: NodeOperation) -> bool:
    return operation.direction is Direction.BACK


def _needs_going_back(operation: NodeOperation) -> bool:
    """Whether a node, judged by its latest operation, still runs something else than it should go back to."""
    if operation.status not in (OperationStatus.SUCCEEDED, OperationStatus.FAILED):
        return False
    if _is_back(operation):
        return operation.status is OperationStatus.FAILED and operation.tries < MOST_TRIES
    return operation.active != (operation.before.digest if operation.before else None)


def not_brought_back(state: Deployment) -> list[NodeOperation]:
    """The nodes of which nobody can say that they run what they should, each by its latest operation."""
    return [
        operation
        for operation in state.latest_by_node().values()
        if operation.status is OperationStatus.LOST
        or (_is_back(operation) and operation.status is OperationStatus.FAILED)
    ]


def _end(turn: Turn) -> None:
    state = turn.state
    status, reason = state.ending or DeploymentStatus.FAILED, state.reason or ""
    stranded = not_brought_back(state)
    if stranded and state.course is Course.BACK:
        names = "; ".join(f"{operation.node_name}: {operation.error or 'lost'}" for operation in stranded)
        status, reason = DeploymentStatus.FAILED, f"{reason}; could not be brought back: {names}"
    elif stranded:
        reason += "; lost: " + ", ".join(operation.node_name for operation in stranded)
    deploy = state.stage(StageKind.DEPLOY)
    by_status = {
        DeploymentStatus.ROLLED_BACK: StageStatus.ROLLED_BACK,
        DeploymentStatus.CANCELLED: StageStatus.CANCELLED,
    }
    tails = [operation.output_tail for operation in state.forward() if operation.output_tail]
    turn.end_stage(deploy, by_status.get(status, StageStatus.FAILED), reason, tails[0] if tails else None)
    ending.finish(turn, status, reason)
