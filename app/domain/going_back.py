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
    DeploymentKind,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    StageKind,
    StageStatus,
)
from app.domain.turn import Turn

MOST_TRIES = 3


def turn_round(turn: Turn, reason: str) -> None:
    """A rollout went wrong. A deployment's goes back; one that itself goes back or repairs stays where it has come to:
    what it would return to is what somebody, or desired state, has just turned away from."""
    if turn.state.kind is DeploymentKind.DEPLOY:
        begin(turn, DeploymentStatus.ROLLED_BACK, reason)
    else:
        begin(turn, DeploymentStatus.FAILED, reason, take_back=False)


def begin(turn: Turn, ending_status: DeploymentStatus, reason: str, *, take_back: bool = True) -> None:
    """Turn round. `ending_status` is what the deployment ends as once every node is settled.

    With `take_back` False what was switched stays (cancel without rollback); what is in flight is resolved too.
    """
    course = Course.BACK if take_back else Course.SETTLE
    turn.state = replace(
        turn.state, course=course, ending=ending_status, reason=reason, paused=False, paused_until=None
    )
    cancelling = ending_status is DeploymentStatus.CANCELLED
    turn.set_status(DeploymentStatus.CANCELLING if cancelling else DeploymentStatus.ROLLING_BACK, reason)
    for operation in turn.state.operations:
        _give_up(turn, operation, reason)
    ending.end_unfinished(turn, StageKind.VALIDATION, ending_status, reason)
    deploy = turn.state.stage(StageKind.DEPLOY)
    if deploy.status.ended:
        turn.state = turn.state.with_stage(replace(deploy, status=StageStatus.RUNNING))
        turn.emit("stage.running", stage=turn.state.name_of(deploy), message=reason)
    advance(turn)


def _give_up(turn: Turn, operation: NodeOperation, reason: str) -> None:
    """What was never sent is dropped; what may have been sent is resolved, so that nobody has to guess."""
    never_sent = operation.status is OperationStatus.DISPATCHED and operation.attempt == 0
    if operation.status is OperationStatus.PENDING or never_sent:
        turn.end_operation(operation, OperationStatus.CANCELLED)
    elif operation.status in (OperationStatus.DISPATCHED, OperationStatus.RUNNING):
        turn.resolve_operation(operation, "given up: " + reason)


def advance(turn: Turn) -> None:
    """Take back what may be taken back now, and end the deployment once nothing is open."""
    if turn.state.course is Course.BACK:
        _take_back(turn)
    if not turn.state.unresolved():
        _end(turn)


def _take_back(turn: Turn) -> None:
    in_flight = sum(operation.status.in_flight for operation in turn.state.operations)
    room = max(turn.state.policy.max_concurrent_nodes - in_flight, 0)
    waiting = [operation for operation in turn.state.latest_by_node().values() if _needs_going_back(operation)]
    for operation in waiting[:room]:
        if operation.direction is Direction.BACK:
            turn.dispatch_operation(_once_more(turn, operation), turn.now + _back_off(operation))
        else:
            turn.dispatch_operation(_opposite(turn, operation))


def _needs_going_back(operation: NodeOperation) -> bool:
    """Whether a node, judged by its latest operation, still runs something else than it should go back to.

    What ran something else already before this deployment, and was not changed by it, is left as it was (and named).
    """
    if operation.direction is Direction.BACK:
        away = not operation.runs(operation.target)
        return away and operation.status is OperationStatus.FAILED and operation.tries < MOST_TRIES
    away = not operation.runs(operation.before)
    settled = operation.status in (OperationStatus.FAILED, OperationStatus.CANCELLED)
    return away and (operation.status is OperationStatus.SUCCEEDED or (settled and operation.changed))


def _opposite(turn: Turn, operation: NodeOperation) -> NodeOperation:
    return NodeOperation(
        id=turn.new_id(),
        node_id=operation.node_id,
        node_name=operation.node_name,
        wave=operation.wave,
        direction=Direction.BACK,
        status=OperationStatus.PENDING,
        before=operation.target,
        target=operation.before,
        follows=operation.id,
        active=operation.active,
    )


def _once_more(turn: Turn, operation: NodeOperation) -> NodeOperation:
    return NodeOperation(
        id=turn.new_id(),
        node_id=operation.node_id,
        node_name=operation.node_name,
        wave=operation.wave,
        direction=Direction.BACK,
        status=OperationStatus.PENDING,
        before=operation.before,
        target=operation.target,
        follows=operation.id,
        tries=operation.tries + 1,
        active=operation.active,
    )


def _back_off(operation: NodeOperation) -> timedelta:
    """1 s after the first try, 2 s after the second."""
    return timedelta(seconds=2 ** (operation.tries - 1))


def _end(turn: Turn) -> None:
    state = turn.state
    status = state.ending or DeploymentStatus.FAILED
    if state.course is Course.BACK and ending.not_brought_back(state):
        status = DeploymentStatus.FAILED
    reason = ending.told(state, status, state.reason)
    by_status = {
        DeploymentStatus.ROLLED_BACK: StageStatus.ROLLED_BACK,
        DeploymentStatus.CANCELLED: StageStatus.CANCELLED,
    }
    turn.end_stage(
        state.stage(StageKind.DEPLOY), by_status.get(status, StageStatus.FAILED), reason, _first_output(state)
    )
    ending.finish(turn, status, reason)


def _first_output(state: Deployment) -> str | None:
    """What the first node that failed had to say: nobody should need to log in there to learn why."""
    failed = (operation for operation in state.operations if operation.status is OperationStatus.FAILED)
    return next((operation.output_tail for operation in failed if operation.output_tail), None)
