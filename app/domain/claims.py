"""What follows when a claim ends without a report: the work is open again, for the next attempt.

Poison, work under which processes die, is bounded: what killed three of them is not started a fourth time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain import operations, stages
from app.domain.deployment import NodeOperation, OperationStatus, StageStatus
from app.domain.events import PROCESS_DIED, BudgetSpent, ClaimEnded
from app.domain.operations import MOST_LOSSES, RESOLVE_AGAIN
from app.domain.turn import Turn

MOST_DOUBLINGS = 5
RETRY_AFTER = timedelta(seconds=1)
BUDGET_SPENT = "took longer than its execution budget"


def ended(turn: Turn, event: ClaimEnded) -> None:
    if turn.state.stage_by_id(event.work_id) is not None:
        _stage_claim_ended(turn, event)
    else:
        _operation_claim_ended(turn, event)


def _stage_claim_ended(turn: Turn, event: ClaimEnded) -> None:
    stage = stages.held(turn, event.work_id, event.attempt)
    if stage is None:
        return
    stage = replace(stage, losses=stage.losses + event.poison)
    turn.emit("stage.claimLost", stage=turn.state.name_of(stage), attempt=event.attempt, reason=event.why)
    if event.poison and stage.losses >= MOST_LOSSES:
        stages.fail(turn, stage, _poisoned(stage.losses, event.why))
    else:
        turn.dispatch_stage(stage, _back_off(turn, stage.losses, event), status=StageStatus.PENDING)


def _operation_claim_ended(turn: Turn, event: ClaimEnded) -> None:
    operation = operations.held(turn, event.work_id, event.attempt)
    if operation is None or not operations.under_claim(operation):
        return
    operation = replace(operation, losses=operation.losses + event.poison)
    turn.emit(
        "operation.claimLost",
        operationId=str(operation.id),
        node=operation.node_name,
        attempt=event.attempt,
        reason=event.why,
    )
    if operation.status is OperationStatus.RESOLVING:
        # A resolve is never given up, only sent more and more slowly: the node's answer is needed, or its loss.
        turn.resolve_operation(operation, None, _resolve_again(turn, operation))
    elif operation.losses >= MOST_LOSSES:
        turn.resolve_operation(operation, _poisoned(operation.losses, event.why))
    else:
        turn.dispatch_operation(operation, _back_off(turn, operation.losses, event))


def _poisoned(losses: int, why: str) -> str:
    return f"its process died {losses} times under it" if why == PROCESS_DIED else f"failed {losses} times: {why}"


def _back_off(turn: Turn, losses: int, event: ClaimEnded) -> datetime | None:
    """What failed by itself is tried again after 2 and 4 seconds, so that a short fault passes; what lost its process
    is open again at once."""
    if not event.poison or event.why == PROCESS_DIED:
        return None
    return turn.now + RETRY_AFTER * (1 << losses)


def _resolve_again(turn: Turn, operation: NodeOperation) -> datetime | None:
    poisonings = operation.losses - MOST_LOSSES
    if poisonings <= 0:
        return None
    return turn.now + RESOLVE_AGAIN * (1 << min(poisonings, MOST_DOUBLINGS))


def budget_spent(turn: Turn, event: BudgetSpent) -> None:
    if turn.state.stage_by_id(event.work_id) is not None:
        stage = stages.held(turn, event.work_id, event.attempt)
        if stage is not None:
            stages.fail(turn, stage, BUDGET_SPENT)
        return
    operation = operations.held(turn, event.work_id, event.attempt)
    if operation is None or not operations.under_claim(operation):
        return
    if operation.status is OperationStatus.RESOLVING:
        turn.resolve_operation(operation, None, turn.now + RESOLVE_AGAIN)
    else:
        turn.resolve_operation(operation, BUDGET_SPENT)
