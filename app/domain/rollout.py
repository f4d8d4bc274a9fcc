"""The Deploy stage while it goes forward: filling its window, counting failures, ending or turning round.

    Pending -> Dispatched -> Running -> Succeeded | Failed          (Skipped and Cancelled never changed a node)
                   |            |
                   +------------+--> Resolving -> Succeeded | Failed | Cancelled;   Lost while its node stays silent

The window: at most `maxConcurrentNodes` operations are in flight, of one wave, and Rolling never lets in so many that
fewer than `rolling.minInService` nodes stay untouched. Each one that ends lets in the next, in its own transaction.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain import ending, going_back, lane_entry
from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    NodeOperation,
    OperationStatus,
    StageKind,
    StageStatus,
)
from app.domain.policy import OnNodeLost
from app.domain.turn import Turn

MOST_NAMED = 5
NODE_LOST = "the node stayed silent for nodeLostAfter"


def advance(turn: Turn) -> None:
    """Go as far as possible: let operations into the window, end the stage, or begin to go back."""
    state = turn.state
    if state.course is not Course.FORWARD:
        going_back.advance(turn)
        return
    if not state.deploying():
        return
    failure = _too_many(state) if state.kind is DeploymentKind.DEPLOY else None
    if failure is None and not state.paused:
        _fill_window(turn)
        failure = _dead_end(turn.state) or _incomplete(turn.state)
    if failure:
        going_back.turn_round(turn, failure)
    elif not turn.state.paused and not turn.state.unresolved():
        _end_forward(turn)


def _too_many(state: Deployment) -> str | None:
    """Why the rollout must stop at once, judged by each node's latest operation; None while it may go on."""
    latest = state.latest_by_node().values()
    lost = [operation.node_name for operation in latest if operation.status is OperationStatus.LOST]
    if lost and state.policy.on_node_lost is OnNodeLost.ABORT:
        return "lost " + ", ".join(lost)
    failed = [operation for operation in latest if operation.status is OperationStatus.FAILED]
    if len(failed) > state.policy.max_failed_nodes:
        return f"{len(failed)} failed, more than maxFailedNodes ({state.policy.max_failed_nodes}): " + ending.named(
            failed[:MOST_NAMED]
        )
    return None


def _dead_end(state: Deployment) -> str | None:
    """Why a rollout in which nothing is in flight cannot go on: nobody may be changed, or all who were went wrong."""
    latest = state.latest_by_node().values()
    if any(operation.status.in_flight for operation in latest):
        return None
    if any(operation.status is OperationStatus.PENDING for operation in latest):
        return f"minInService ({state.min_in_service()}) leaves no node that may be changed"
    broken = [operation for operation in latest if operation.status in (OperationStatus.FAILED, OperationStatus.LOST)]
    good = any(
        operation.status is OperationStatus.SUCCEEDED
        or (operation.status is OperationStatus.SKIPPED and not operation.passed_over())
        for operation in latest
    )
    return f"not one node succeeded: {ending.named(broken[:MOST_NAMED])}" if broken and not good else None


def _incomplete(state: Deployment) -> str | None:
    """Why one that goes back or repairs, and has tried every node whatever became of the others, has failed."""
    latest = state.latest_by_node().values()
    if state.kind is DeploymentKind.DEPLOY or any(operation.status.open for operation in latest):
        return None
    broken = [operation for operation in latest if operation.status in (OperationStatus.FAILED, OperationStatus.LOST)]
    return f"not on every node: {ending.named(broken[:MOST_NAMED])}" if broken else None


def _fill_window(turn: Turn) -> None:
    """Let in what there is room for: of the earliest wave that is not done, once no other wave is in flight."""
    operations = turn.state.forward()
    waves = [operation.wave for operation in operations if operation.status.open]
    if not waves:
        return
    wave = min(waves)
    if any(operation.status.in_flight and operation.wave != wave for operation in operations):
        return
    waiting = [
        operation for operation in operations if operation.status is OperationStatus.PENDING and operation.wave == wave
    ]
    for operation in waiting[: max(_room(turn.state), 0)]:
        turn.dispatch_operation(operation)


def _room(state: Deployment) -> int:
    """How many more operations may be in flight. A node counts as in service unless it is in flight, failed, lost,
    drained or was unavailable when last looked at."""
    latest = state.latest_by_node().values()
    room = state.policy.max_concurrent_nodes - sum(operation.status.in_flight for operation in latest)
    minimum = state.min_in_service()
    if minimum is None:
        return room
    out = sum(
        operation.status.in_flight
        or operation.status in (OperationStatus.FAILED, OperationStatus.LOST)
        or operation.passed_over()
        for operation in latest
    )
    return min(room, len(latest) - out - minimum.of(len(latest)))


def _end_forward(turn: Turn) -> None:
    state = turn.state
    without = [
        operation
        for operation in state.latest_by_node().values()
        if operation.status in (OperationStatus.FAILED, OperationStatus.LOST) or operation.passed_over()
    ]
    parts = [lane_entry.nothing_to_change(state), f"without {ending.named(without)}" if without else None]
    message = "; ".join(part for part in parts if part) or None
    turn.end_stage(state.stage(StageKind.DEPLOY), StageStatus.SUCCEEDED, message)


def lose(turn: Turn, operation: NodeOperation) -> None:
    """Its node stayed silent too long: the operation leaves the window, and `onNodeLost` says what becomes of the rest.

    It does not count toward `maxFailedNodes`: under `continue` and `pause` a lost node is no failed one.
    """
    turn.end_operation(operation, OperationStatus.LOST, error=NODE_LOST)
    state = turn.state
    if state.deploying() and state.policy.on_node_lost is OnNodeLost.PAUSE and not state.paused:
        pause(turn, f"lost {operation.node_name}")


def pause(turn: Turn, why: str) -> None:
    """Let nothing more into the window until somebody decides, or `pausedTimeout` has passed."""
    until = turn.now + turn.state.policy.paused_timeout
    turn.state = replace(turn.state, paused=True, paused_until=until, reason=why)
    turn.set_status(DeploymentStatus.PAUSED, why)


def try_again(turn: Turn, operation: NodeOperation) -> None:
    """Another try after an operation that was resolved is a new row: the old id never runs again."""
    turn.add_operation(
        replace(
            operation,
            id=turn.new_id(),
            status=OperationStatus.PENDING,
            attempt=0,
            follows=operation.id,
            tries=operation.tries + 1,
            error=None,
            output_tail=None,
            losses=0,
        )
    )
