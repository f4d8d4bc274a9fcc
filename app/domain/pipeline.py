"""The heart: `plan(request)` makes a deployment's six stages, `decide(state, event)` says what follows from an event.

Stages and what each waits for:

    Build --------> Test --+
    Security Scan ---------+--> Approval --> Deploy to X --> Validation

`decide()` is pure: it is given the time and new ids. The engine does nothing that is not a command it returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.domain import ending, going_back, requests, rollout
from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    Stage,
    StageKind,
    StageStatus,
    WaitingKind,
)
from app.domain.events import (
    BudgetSpent,
    CancelRequested,
    ClaimEnded,
    Command,
    CountStale,
    DateAhead,
    Event,
    LaneBusy,
    LaneOffered,
    NodeLost,
    NodeReturned,
    OperationReported,
    Outcome,
    Overtaken,
    PauseExpired,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
    RetryRequested,
    StageReported,
)
from app.domain.turn import Turn

AFTER: dict[StageKind, tuple[StageKind, ...]] = {
    StageKind.BUILD: (),
    StageKind.SCAN: (),
    StageKind.TEST: (StageKind.BUILD,),
    StageKind.APPROVAL: (StageKind.BUILD, StageKind.SCAN, StageKind.TEST),
    StageKind.DEPLOY: (StageKind.APPROVAL,),
    StageKind.VALIDATION: (StageKind.DEPLOY,),
}
MOST_LOSSES = 3
MOST_TRIES = 3
RESOLVE_AGAIN = timedelta(seconds=1)
ASK_NODES_AGAIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Decision:
    """The state that follows, and what is to be done in the same transaction."""

    state: Deployment
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage before it has an id. `skipped` is the reason why it does not apply, None where it does."""

    kind: StageKind
    skipped: str | None


def plan(kind: DeploymentKind, *, builds: bool, tests: bool, approvals: bool) -> tuple[PlannedStage, ...]:
    """All six stages, in the pipeline's order; one that does not apply carries its reason."""
    if kind is DeploymentKind.DEPLOY:
        reasons = {
            StageKind.BUILD: None if builds else "the release has nothing to build",
            StageKind.SCAN: None,
            StageKind.TEST: None if tests else "the release has no tests",
            StageKind.APPROVAL: None if approvals else "nothing asks for an approval",
        }
    else:
        why = "going back to what ran before" if kind is DeploymentKind.ROLLBACK else "brings nodes to desired state"
        reasons = dict.fromkeys((StageKind.BUILD, StageKind.SCAN, StageKind.TEST, StageKind.APPROVAL), why)
    return tuple(PlannedStage(stage, reasons.get(stage)) for stage in StageKind)


def start(state: Deployment, now: datetime, new_id: Callable[[], UUID]) -> Decision:
    """The first decision, at submission: which stages can run at once."""
    turn = Turn(state, now, new_id)
    turn.emit("deployment.submitted", version=state.release.version, environment=state.environment)
    _open_stages(turn)
    return Decision(turn.state, tuple(turn.commands))


def decide(state: Deployment, event: Event, now: datetime, new_id: Callable[[], UUID]) -> Decision:
    """What follows from `event`. Raises `Conflict` for a person's request that the state forbids.

    A report of an older attempt, or of work that has ended, changes nothing (`CountStale`).
    """
    turn = Turn(state, now, new_id)
    match event:
        case StageReported():
            _stage_reported(turn, event)
        case LaneOffered():
            _lane_offered(turn, event)
        case LaneBusy():
            _lane_busy(turn, event)
        case DateAhead():
            _date_ahead(turn, event)
        case OperationReported():
            _operation_reported(turn, event)
        case ClaimEnded():
            _claim_ended(turn, event)
        case BudgetSpent():
            _budget_spent(turn, event)
        case NodeLost():
            _node_lost(turn, event)
        case NodeReturned():
            _node_returned(turn, event)
        case Overtaken():
            if not state.terminal and not state.granted:
                ending.finish(turn, DeploymentStatus.SUPERSEDED, event.text)
        case CancelRequested():
            requests.cancel(turn, event)
        case PauseRequested():
            requests.pause(turn, event)
        case ResumeRequested():
            requests.resume(turn, event)
        case PromoteRequested():
            requests.promote(turn, event)
        case RetryRequested():
            requests.retry(turn, event)
        case PauseExpired():
            requests.pause_expired(turn)
    if not turn.state.terminal:
        _open_stages(turn)
    return Decision(turn.state, tuple(turn.commands))


def _open_stages(turn: Turn) -> None:
    """Make every stage open work whose predecessors have passed; end the deployment when all have."""
    state = turn.state
    if state.course is not Course.FORWARD:
        return
    for stage in state.stages:
        waits = any(not state.stage(kind).status.passed for kind in AFTER[stage.kind])
        if stage.status is StageStatus.PENDING and not stage.claimable and stage.attempt == 0 and not waits:
            turn.dispatch_stage(stage)
    if all(stage.status.passed for stage in turn.state.stages):
        ending.finish(turn, DeploymentStatus.SUCCEEDED, turn.state.stage(StageKind.DEPLOY).message)


# --- stages -----------------------------------------------------------------------------------------------------------


def _held_stage(turn: Turn, stage_id: UUID, attempt: int) -> Stage | None:
    """The stage, when `attempt` holds its claim; otherwise the report is counted as stale."""
    stage = turn.state.stage_by_id(stage_id)
    if stage is None or turn.state.terminal:
        reason = "ended"
    elif stage.attempt != attempt:
        reason = "older attempt"
    elif stage.claimable or stage.status is not StageStatus.RUNNING:
        reason = "not claimed"
    else:
        return stage
    turn.commands.append(CountStale(stage_id, attempt, reason))
    return None


def _stage_reported(turn: Turn, event: StageReported) -> None:
    stage = _held_stage(turn, event.stage_id, event.attempt)
    if stage is None:
        return
    if event.succeeded:
        turn.end_stage(stage, StageStatus.SUCCEEDED, event.message, event.output_tail)
    else:
        fail_stage(turn, stage, event.message or "failed", event.output_tail)


def fail_stage(turn: Turn, stage: Stage, message: str, output_tail: str | None = None) -> None:
    """A stage failed: before the lane nothing was touched; afterwards what was changed goes back."""
    turn.end_stage(stage, StageStatus.FAILED, message, output_tail)
    reason = f"{stage.kind.value} failed: {message}"
    if turn.state.granted:
        going_back.begin(turn, DeploymentStatus.ROLLED_BACK, reason)
    else:
        ending.finish(turn, DeploymentStatus.FAILED, reason)


def _lane_offered(turn: Turn, event: LaneOffered) -> None:
    stage = _held_stage(turn, event.stage_id, event.attempt)
    if stage is None:
        return
    waits = rollout.waits_for_nodes(turn.state, event.nodes)
    if waits:
        turn.hold_stage(stage, WaitingKind.NODES, turn.now + ASK_NODES_AGAIN, waits)
        return
    if turn.state.status in (DeploymentStatus.QUEUED, DeploymentStatus.SCHEDULED):
        turn.set_status(DeploymentStatus.RUNNING)
    refusal = rollout.begin(turn, event)
    if refusal:
        fail_stage(turn, stage, refusal)


def _lane_busy(turn: Turn, event: LaneBusy) -> None:
    stage = _held_stage(turn, event.stage_id, event.attempt)
    if stage is not None:
        turn.hold_stage(stage, WaitingKind.LANE, event.retry_at, event.text)
        turn.set_status(DeploymentStatus.QUEUED, event.text)


def _date_ahead(turn: Turn, event: DateAhead) -> None:
    stage = _held_stage(turn, event.stage_id, event.attempt)
    if stage is not None:
        text = f"not before {event.until:%Y-%m-%d %H:%M:%S} UTC"
        turn.hold_stage(stage, WaitingKind.DATE, event.until, text)
        turn.set_status(DeploymentStatus.SCHEDULED, text)


# --- node operations --------------------------------------------------------------------------------------------------


def _held_operation(turn: Turn, operation_id: UUID, attempt: int) -> NodeOperation | None:
    operation = turn.state.operation(operation_id)
    held = (OperationStatus.RUNNING, OperationStatus.RESOLVING)
    if operation is None or turn.state.terminal:
        reason = "ended"
    elif operation.attempt != attempt:
        reason = "older attempt"
    elif operation.status not in held or operation.attempt == 0:
        reason = "not claimed"
    else:
        return operation
    turn.commands.append(CountStale(operation_id, attempt, reason))
    return None


def _operation_reported(turn: Turn, event: OperationReported) -> None:
    operation = _held_operation(turn, event.operation_id, event.attempt)
    if operation is None:
        return
    if event.outcome is Outcome.UNKNOWN:
        if operation.status is OperationStatus.RESOLVING and operation.claimable:
            return
        due_at = turn.now + RESOLVE_AGAIN if operation.status is OperationStatus.RESOLVING else None
        operation = replace(operation, output_tail=event.output_tail or operation.output_tail)
        turn.resolve_operation(operation, event.error, due_at)
        return
    forward = turn.state.course is Course.FORWARD
    again = False
    if event.outcome is Outcome.SUCCEEDED:
        status = OperationStatus.SUCCEEDED
    elif event.outcome is Outcome.VOID and operation.direction is Direction.FORWARD:
        # It never ran: no failure of the node. Going forward it is tried anew, under another id.
        again = forward and operation.tries < MOST_TRIES
        status = OperationStatus.FAILED if forward and not again else OperationStatus.CANCELLED
    else:
        status = OperationStatus.FAILED
    ended = turn.end_operation(
        operation,
        status,
        active=event.active,
        changed=event.active != operation.active,
        error=None if status is OperationStatus.SUCCEEDED else event.error or operation.error or "the node gave it up",
        output_tail=event.output_tail or operation.output_tail,
    )
    if again:
        rollout.try_again(turn, ended)
    rollout.advance(turn)


def _node_lost(turn: Turn, event: NodeLost) -> None:
    if turn.state.terminal:
        return
    for operation in turn.state.operations:
        if operation.node_id == event.node_id and operation.status.in_flight:
            rollout.lose(turn, operation)
    rollout.advance(turn)


def _node_returned(turn: Turn, event: NodeReturned) -> None:
    if turn.state.terminal or not turn.state.granted:
        return
    rollout.join(turn, event.node)
    rollout.advance(turn)


# --- claims -----------------------------------------------------------------------------------------------------------


def _claim_ended(turn: Turn, event: ClaimEnded) -> None:
    """The work is open again, for the next attempt; poison that killed three processes is not tried a fourth time."""
    if turn.state.stage_by_id(event.work_id) is not None:
        stage = _held_stage(turn, event.work_id, event.attempt)
        if stage is None:
            return
        losses = stage.losses + event.poison
        turn.emit("stage.claimLost", stage=stage.kind.value, attempt=event.attempt, reason=event.why)
        if losses >= MOST_LOSSES:
            fail_stage(turn, replace(stage, losses=losses), f"its process died {losses} times under it: {event.why}")
        else:
            turn.dispatch_stage(replace(stage, losses=losses), status=StageStatus.PENDING)
        return
    operation = _held_operation(turn, event.work_id, event.attempt)
    if operation is None or operation.claimable:
        return
    losses = operation.losses + event.poison
    turn.emit(
        "operation.claimLost",
        operationId=str(operation.id),
        node=operation.node_name,
        attempt=event.attempt,
        reason=event.why,
    )
    operation = replace(operation, losses=losses)
    if operation.status is OperationStatus.RESOLVING or losses >= MOST_LOSSES:
        died = f"its process died {losses} times under it" if losses >= MOST_LOSSES else None
        turn.resolve_operation(operation, died)
    else:
        turn.dispatch_operation(operation)


def _budget_spent(turn: Turn, event: BudgetSpent) -> None:
    if turn.state.stage_by_id(event.work_id) is not None:
        stage = _held_stage(turn, event.work_id, event.attempt)
        if stage is not None:
            fail_stage(turn, stage, "took longer than its execution budget")
        return
    operation = _held_operation(turn, event.work_id, event.attempt)
    if operation is not None and not operation.claimable:
        turn.resolve_operation(operation, "took longer than its execution budget")
