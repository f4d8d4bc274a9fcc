"""The gate that people open. While it waits nobody works: the stage is a row with a deadline, and no worker claims it.

    Pending --stages before it passed--> Waiting --enough approvals--> Succeeded
                                            |----rejected------------> Failed, the deployment Rejected
                                            |----deadline passed-----> Failed, the deployment Expired

Every decision is made under the deployment's lock, so that several at once have an order and the later ones are told.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain import ending
from app.domain.deployment import Approval, DeploymentStatus, Stage, StageKind, StageStatus, WaitingKind
from app.domain.errors import Conflict, Gone, NotPermitted
from app.domain.events import ApprovalGiven, ApprovalRejected
from app.domain.turn import Turn


def ask(turn: Turn, stage: Stage) -> None:
    """Open the question. A request can ask for an approval where the policy asks for none: then one is enough."""
    policy = turn.state.policy.approvals
    approval = Approval(max(1, policy.required), policy.roles, policy.four_eyes, turn.now + policy.timeout)
    message = _waits(approval)
    waiting = replace(
        stage,
        status=StageStatus.WAITING,
        waiting=WaitingKind.APPROVAL,
        due_at=approval.until,
        approval=approval,
        message=message,
    )
    turn.state = turn.state.with_stage(waiting)
    turn.emit("approval.requested", required=approval.required, roles=list(approval.roles))
    turn.set_status(DeploymentStatus.PENDING_APPROVAL, message)


def given(turn: Turn, event: ApprovalGiven) -> None:
    """One more approval. Raises Conflict (decided already, or by this person), Gone (too late), NotPermitted (own)."""
    stage, approval = _open(turn, event)
    if event.by in approval.given:
        raise Conflict(f"{event.by} has approved it already; {_missing(approval)} more must do so.")
    approval = replace(approval, given=(*approval.given, event.by))
    turn.emit("approval.given", by=event.by, reason=event.reason, given=len(approval.given), required=approval.required)
    stage = replace(stage, approval=approval)
    if _missing(approval):
        turn.state = turn.state.with_stage(replace(stage, message=_waits(approval)))
        return
    turn.end_stage(stage, StageStatus.SUCCEEDED, f"approved by {', '.join(approval.given)}")
    turn.set_status(DeploymentStatus.RUNNING)


def rejected(turn: Turn, event: ApprovalRejected) -> None:
    """No. One is enough. Raises as `given` does."""
    stage, _approval = _open(turn, event)
    turn.emit("approval.rejected", by=event.by, reason=event.reason)
    text = f"rejected by {event.by}" + (f": {event.reason}" if event.reason else "")
    turn.end_stage(stage, StageStatus.FAILED, text)
    ending.finish(turn, DeploymentStatus.REJECTED, text)


def expired(turn: Turn) -> None:
    """The deadline passes, if it has; whoever says so twice, or too early, changes nothing."""
    stage = turn.state.stage(StageKind.APPROVAL)
    approval = stage.approval
    if approval is None or stage.status is not StageStatus.WAITING or turn.now < approval.until:
        return
    text = f"nobody decided until {approval.until:%Y-%m-%d %H:%M:%S} UTC"
    if approval.given:
        text = f"{len(approval.given)} of {approval.required} approvals until {approval.until:%Y-%m-%d %H:%M:%S} UTC"
    turn.emit("approval.expired")
    turn.end_stage(stage, StageStatus.FAILED, text)
    ending.finish(turn, DeploymentStatus.EXPIRED, text)


def _open(turn: Turn, event: ApprovalGiven | ApprovalRejected) -> tuple[Stage, Approval]:
    state = turn.state
    stage = state.stage(StageKind.APPROVAL)
    approval = stage.approval
    if state.status is DeploymentStatus.EXPIRED:
        raise Gone(f"It has expired: {state.reason}.")
    if approval is None or stage.status is not StageStatus.WAITING:
        decided = f" ({stage.message})" if approval is not None and stage.message else ""
        raise Conflict(f"A deployment that is {state.status.value}{decided} waits for no approval.")
    if turn.now >= approval.until:
        raise Gone(f"It could be decided until {approval.until:%Y-%m-%d %H:%M:%S} UTC.")
    if approval.four_eyes and event.own:
        raise NotPermitted("The policy asks for four eyes: nobody decides on a deployment of their own.")
    return stage, approval


def _missing(approval: Approval) -> int:
    return approval.required - len(approval.given)


def _waits(approval: Approval) -> str:
    done = f"approved by {', '.join(approval.given)}, " if approval.given else ""
    people = "person" if _missing(approval) == 1 else "people"
    return f"{done}waits for {_missing(approval)} {people} who may approve ({' or '.join(approval.roles)})"
