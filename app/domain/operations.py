"""What follows when a node answers, falls silent, or is heard from again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from app.domain import joining, rollout
from app.domain.deployment import Course, Direction, NodeOperation, OperationStatus, digest_of
from app.domain.events import CountStale, NodeLost, NodeReturned, OperationReported, Outcome
from app.domain.turn import Turn

MOST_LOSSES = 3
MOST_TRIES = 3
RESOLVE_AGAIN = timedelta(seconds=1)
AWAITED = (OperationStatus.RUNNING, OperationStatus.RESOLVING, OperationStatus.LOST)


def held(turn: Turn, operation_id: UUID, attempt: int) -> NodeOperation | None:
    """The operation, when the answer that `attempt` brings is still awaited; one whose claim was taken away is stale.

    The latest attempt's answer of an operation that has ended otherwise changes nothing, and is not stale. While a
    resolve is not yet claimed, the holder before it may still bring the node's final word, and so may the holder of
    one whose node was taken for lost.
    """
    operation = turn.state.operation(operation_id)
    if operation is None or operation.attempt != attempt:
        reason = "older attempt" if operation else "unknown"
    elif turn.state.terminal or not (operation.status.open or operation.status in AWAITED):
        return None
    elif operation.status not in AWAITED or operation.attempt == 0:
        reason = "not claimed"
    else:
        return operation
    turn.commands.append(CountStale(operation_id, attempt, reason))
    return None


def under_claim(operation: NodeOperation) -> bool:
    """Whether a worker still has it: one that was given up or lost since then waits for another claim, or for none."""
    return operation.status is not OperationStatus.LOST and not operation.claimable


def reported(turn: Turn, event: OperationReported) -> None:
    operation = held(turn, event.operation_id, event.attempt)
    if operation is None:
        return
    if event.outcome is Outcome.UNKNOWN:
        _no_answer(turn, operation, event)
    else:
        _answered(turn, operation, event)


def _no_answer(turn: Turn, operation: NodeOperation, event: OperationReported) -> None:
    if not under_claim(operation):
        return
    resolving = operation.status is OperationStatus.RESOLVING
    turn.resolve_operation(
        replace(operation, output_tail=event.output_tail or operation.output_tail),
        event.error,
        turn.now + RESOLVE_AGAIN if resolving else None,
    )


def _answered(turn: Turn, operation: NodeOperation, event: OperationReported) -> None:
    void = event.outcome is Outcome.VOID
    active = operation.active if void and event.active is None else event.active
    status, error = _verdict(turn, operation, event, active)
    ended = turn.end_operation(
        operation,
        status,
        active=active,
        changed=operation.changed or active != operation.active,
        error=error,
        output_tail=event.output_tail or operation.output_tail,
    )
    if void and status is OperationStatus.CANCELLED and turn.state.course is Course.FORWARD:
        rollout.try_again(turn, ended)
    rollout.advance(turn)


def _verdict(
    turn: Turn, operation: NodeOperation, event: OperationReported, active: str | None
) -> tuple[OperationStatus, str | None]:
    """How the operation ended, and why if not well. Void is no failure: going forward it is tried anew a few times."""
    error = event.error or operation.error or "the node gave it up"
    if event.outcome is Outcome.SUCCEEDED:
        if active == digest_of(operation.target):
            return OperationStatus.SUCCEEDED, None
        return OperationStatus.FAILED, f"says it succeeded, but runs {active or 'nothing'}"
    if event.outcome is Outcome.VOID and operation.direction is Direction.FORWARD:
        worth_it = operation.tries < MOST_TRIES and operation.losses < MOST_LOSSES and turn.state.deploying()
        if worth_it or turn.state.course is not Course.FORWARD:
            return OperationStatus.CANCELLED, error
    return OperationStatus.FAILED, error


def node_lost(turn: Turn, event: NodeLost) -> None:
    if turn.state.terminal:
        return
    for operation in turn.state.operations:
        if operation.node_id == event.node_id and operation.status.in_flight:
            rollout.lose(turn, operation)
    rollout.advance(turn)


def node_returned(turn: Turn, event: NodeReturned) -> None:
    if turn.state.terminal or not turn.state.granted:
        return
    joining.join(turn, event.node)
    rollout.advance(turn)
