"""The heart: `plan(request)` makes a deployment's six stages, `decide(state, event)` says what follows from an event.

Stages and what each waits for:

    Build --------> Test --------+
      |                          |
      +-----> (what was built) --+--> Approval --> Deploy to X --> Validation
    Security Scan (the source) --+

Of a release that is built Security Scan has two steps, each claimed on its own: the source, beside Build, and what was
built, after it. The gate waits for both.

`decide()` is pure: it is given the time and new ids. The engine does nothing that is not a command it returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain import approvals, claims, ending, lane_entry, operations, requests, stages
from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    StageKind,
    StageStatus,
    WaitingKind,
)
from app.domain.events import (
    ApprovalExpired,
    ApprovalGiven,
    ApprovalRejected,
    BudgetSpent,
    CancelRequested,
    ClaimEnded,
    Command,
    DateAhead,
    Event,
    LaneBusy,
    LaneOffered,
    NodeLost,
    NodeReturned,
    OperationReported,
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
    # All four, not Approval alone: what was planned as Skipped has passed from the start.
    StageKind.DEPLOY: (StageKind.BUILD, StageKind.SCAN, StageKind.TEST, StageKind.APPROVAL),
    StageKind.VALIDATION: (StageKind.DEPLOY,),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The state that follows, and what is to be done in the same transaction."""

    state: Deployment
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage before it has an id. `skipped` is the reason why it does not apply, None where it does; `reuses` the
    deployment whose result counts instead."""

    kind: StageKind
    skipped: str | None
    steps: int = 1
    reuses: UUID | None = None


def plan(
    kind: DeploymentKind,
    *,
    builds: bool,
    tests: bool,
    approvals: bool,
    built_in: UUID | None = None,
    tested_in: UUID | None = None,
) -> tuple[PlannedStage, ...]:
    """All six stages, in the pipeline's order; one that does not apply carries its reason.

    `builds` and `tests`: whether the release has a build, and tests. `built_in` and `tested_in` are the deployments
    that did so before, with success.
    """
    if kind is DeploymentKind.DEPLOY:
        reasons = {
            StageKind.BUILD: _done("built", built_in) if builds else "the release has nothing to build",
            StageKind.SCAN: None,
            StageKind.TEST: _done("tested", tested_in) if tests else "the release has no tests",
            StageKind.APPROVAL: None if approvals else "nothing asks for an approval",
        }
    else:
        why = "going back to what ran before" if kind is DeploymentKind.ROLLBACK else "brings nodes to desired state"
        reasons = dict.fromkeys((StageKind.BUILD, StageKind.SCAN, StageKind.TEST, StageKind.APPROVAL), why)
    scans = 2 if kind is DeploymentKind.DEPLOY and builds else 1
    reused = {StageKind.BUILD: built_in if builds else None, StageKind.TEST: tested_in if tests else None}
    return tuple(
        PlannedStage(stage, reasons.get(stage), scans if stage is StageKind.SCAN else 1, reused.get(stage))
        for stage in StageKind
    )


def _done(what: str, before_in: UUID | None) -> str | None:
    return f"{what} before, in deployment {before_in}" if before_in else None


def start(state: Deployment, now: datetime, new_id: Callable[[], UUID]) -> Decision:
    """The first decision, at submission: which stages can run at once."""
    turn = Turn(state, now, new_id)
    turn.emit("deployment.submitted", version=state.release.version, environment=state.environment)
    _open_stages(turn)
    return Decision(turn.state, tuple(turn.commands))


def decide(state: Deployment, event: Event, now: datetime, new_id: Callable[[], UUID]) -> Decision:
    """What follows from `event`. Raises `Conflict` for a person's request that the state forbids.

    A report of an older attempt (`CountStale`), or of work that has ended, changes nothing.
    """
    turn = Turn(state, now, new_id)
    match event:
        case StageReported():
            stages.reported(turn, event)
        case LaneOffered():
            stages.lane_offered(turn, event)
        case LaneBusy():
            stages.lane_busy(turn, event)
        case DateAhead():
            stages.date_ahead(turn, event)
        case OperationReported():
            operations.reported(turn, event)
        case ClaimEnded():
            claims.ended(turn, event)
        case BudgetSpent():
            claims.budget_spent(turn, event)
        case NodeLost():
            operations.node_lost(turn, event)
        case NodeReturned():
            operations.node_returned(turn, event)
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
        case ApprovalGiven():
            approvals.given(turn, event)
        case ApprovalRejected():
            approvals.rejected(turn, event)
        case ApprovalExpired():
            approvals.expired(turn)
        case PauseExpired():
            requests.pause_expired(turn)
    if not turn.state.terminal:
        _open_stages(turn)
    return Decision(turn.state, tuple(turn.commands))


def _open_stages(turn: Turn) -> None:
    """Make every stage open work whose predecessors have passed; end the deployment when all have, and all is settled.

    A node that returns while Validation runs has its lost operation resolved: the end waits for that too.
    """
    state = turn.state
    if state.course is not Course.FORWARD:
        return
    scan = state.stage(StageKind.SCAN)
    if scan.waiting is WaitingKind.BUILD and not scan.claimable and state.stage(StageKind.BUILD).status.passed:
        turn.dispatch_stage(scan, status=StageStatus.PENDING, waiting=None)
    for stage in state.stages:
        waits = any(not state.stage(kind).status.passed for kind in AFTER[stage.kind])
        if stage.status is not StageStatus.PENDING or stage.claimable or stage.attempt > 0 or waits:
            continue
        if stage.kind is StageKind.APPROVAL:
            approvals.ask(turn, stage)
        else:
            turn.dispatch_stage(stage)
    if all(stage.status.passed for stage in turn.state.stages) and not turn.state.unresolved():
        reason = ending.told(turn.state, DeploymentStatus.SUCCEEDED, lane_entry.nothing_to_change(turn.state))
        ending.finish(turn, DeploymentStatus.SUCCEEDED, reason)
