"""What people may ask of a deployment under way. What a state forbids is a Conflict that names those that allow it."""

from __future__ import annotations

from dataclasses import replace

from app.domain import ending, going_back, rollout
from app.domain.deployment import Course, Deployment, DeploymentStatus, OperationStatus
from app.domain.errors import Conflict
from app.domain.events import (
    CancelRequested,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
    RetryRequested,
)
from app.domain.policy import OnPausedTimeout
from app.domain.turn import Turn


def _forbidden(state: Deployment, what: str, allowed: str) -> Conflict:
    return Conflict(f"A deployment that is {state.status.value} cannot be {what}; {allowed} can.")


def cancel(turn: Turn, event: CancelRequested) -> None:
    """Before the lane it ends at once; afterwards what is in flight is resolved and, by default, goes back."""
    state = turn.state
    if state.terminal or state.course is not Course.FORWARD:
        allowed = "one that is Queued, Scheduled, PendingApproval, Running, Soaking or Paused"
        raise _forbidden(state, "cancelled", allowed)
    reason = f"cancelled by {event.by}"
    turn.emit("deployment.cancelRequested", by=event.by, rollback=event.rollback)
    if state.granted:
        going_back.begin(turn, DeploymentStatus.CANCELLED, reason, take_back=event.rollback)
    else:
        ending.finish(turn, DeploymentStatus.CANCELLED, reason)


def pause(turn: Turn, event: PauseRequested) -> None:
    """Let nothing more into the window; what is in flight ends."""
    state = turn.state
    if not state.deploying() or state.paused:
        raise _forbidden(state, "paused", "one whose Deploy stage is Running")
    rollout.pause(turn, f"paused by {event.by}")


def resume(turn: Turn, event: ResumeRequested) -> None:
    """Go on, without what failed or was lost."""
    if not turn.state.paused:
        raise _forbidden(turn.state, "resumed", "one that is Paused")
    _go_on(turn, f"resumed by {event.by}")


def _go_on(turn: Turn, why: str) -> None:
    turn.state = replace(turn.state, paused=False, paused_until=None, reason=None)
    turn.set_status(DeploymentStatus.RUNNING, why)
    rollout.advance(turn)


def promote(turn: Turn, _event: PromoteRequested) -> None:
    """Skip the current soak. No strategy of this part soaks."""
    raise _forbidden(turn.state, "promoted", "one that is Soaking")


def retry(turn: Turn, event: RetryRequested) -> None:
    """Of a paused one: try again in place what failed or was lost. (Of an ended one the use case makes a new one.)"""
    state = turn.state
    if not state.paused:
        raise _forbidden(state, "retried", "one that is Paused or has ended")
    for operation in state.latest_by_node().values():
        if operation.status is OperationStatus.FAILED:
            rollout.try_again(turn, operation)
        elif operation.status is OperationStatus.LOST:
            turn.resolve_operation(operation, None)
    _go_on(turn, f"retried by {event.by}")


def pause_expired(turn: Turn) -> None:
    """`pausedTimeout` has passed: the policy says whether to go back or to go on."""
    state = turn.state
    if state.paused_until is None or turn.now < state.paused_until:
        return
    if state.policy.on_paused_timeout is OnPausedTimeout.RESUME:
        _go_on(turn, "resumed: pausedTimeout has passed")
    else:
        going_back.turn_round(turn, "paused for longer than pausedTimeout")
