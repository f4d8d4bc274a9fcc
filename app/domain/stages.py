"""What follows when a stage's worker reports, or when the Deploy stage hears about its lane."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from app.domain import ending, going_back, lane_entry, rollout
from app.domain.deployment import Deployment, DeploymentStatus, Stage, StageKind, StageStatus, WaitingKind
from app.domain.events import CountStale, DateAhead, LaneBusy, LaneOffered, StageReported
from app.domain.turn import Turn

ENDED = "ended"


def held(turn: Turn, stage_id: UUID, attempt: int) -> Stage | None:
    """The stage, when `attempt` holds its claim; a report whose claim was taken away is counted as stale."""
    reason = stale(turn.state, stage_id, attempt)
    if reason is None:
        return turn.state.stage_by_id(stage_id)
    if reason != ENDED:
        turn.commands.append(CountStale(stage_id, attempt, reason))
    return None


def stale(state: Deployment, stage_id: UUID, attempt: int) -> str | None:
    """Why what `attempt` reports of a stage counts for nothing; None when it holds the claim.

    ENDED: nobody else has had its work, it was cancelled or its deployment has ended meanwhile. Once it has its lane
    the Deploy stage is nobody's work: its node operations are.
    """
    stage = state.stage_by_id(stage_id)
    if stage is None:
        return "unknown"
    if stage.attempt != attempt:
        return "older attempt"
    if state.terminal or stage.status.ended:
        return ENDED
    if stage.claimable or stage.status is not StageStatus.RUNNING:
        return "not claimed"
    if stage.kind is StageKind.DEPLOY and state.granted:
        return "lane granted"
    return None


def reported(turn: Turn, event: StageReported) -> None:
    stage = held(turn, event.stage_id, event.attempt)
    if stage is None:
        return
    if event.details is not None:
        stage = replace(stage, details=event.details)
    if not event.succeeded:
        fail(turn, stage, event.message or "failed", event.output_tail)
    elif stage.kind is StageKind.DEPLOY:
        # Only its operations can make it succeed; a worker that says so without a lane is wrong.
        fail(turn, stage, "reported as done without a lane", event.output_tail)
    elif stage.step < stage.steps:
        _next_step(turn, stage, event.message)
    else:
        if event.built is not None:
            turn.state = replace(turn.state, release=replace(turn.state.release, digest=event.built))
        turn.end_stage(stage, StageStatus.SUCCEEDED, event.message, event.output_tail)


def _next_step(turn: Turn, stage: Stage, message: str | None) -> None:
    """The source has been looked through: the rest of the scan is of what Build makes, and waits for it."""
    turn.emit("stage.stepSucceeded", stage=turn.state.name_of(stage), step=stage.step, message=message)
    waits = replace(
        stage, step=stage.step + 1, status=StageStatus.WAITING, waiting=WaitingKind.BUILD, losses=0, message=message
    )
    turn.state = turn.state.with_stage(waits)


def fail(turn: Turn, stage: Stage, message: str, output_tail: str | None = None) -> None:
    """A stage failed: before the lane nothing was touched; afterwards what was changed goes back."""
    turn.end_stage(stage, StageStatus.FAILED, message, output_tail)
    reason = f"{turn.state.name_of(stage)} failed: {message}"
    if turn.state.granted:
        going_back.turn_round(turn, reason)
    else:
        ending.finish(turn, DeploymentStatus.FAILED, reason)


def lane_offered(turn: Turn, event: LaneOffered) -> None:
    """Take the lane, or wait for the nodes that are missing, or fail because it cannot begin. Each time at once."""
    stage = held(turn, event.stage_id, event.attempt)
    if stage is None:
        return
    waits = lane_entry.waits_for_nodes(turn.state, event.nodes)
    if waits and not lane_entry.hopeless(turn.state, event):
        turn.hold_stage(stage, WaitingKind.NODES, turn.now + lane_entry.ASK_NODES_AGAIN, waits)
        turn.set_status(DeploymentStatus.QUEUED, waits)
        return
    turn.set_status(DeploymentStatus.RUNNING)
    refusal = lane_entry.begin(turn, event)
    if refusal:
        fail(turn, stage, refusal)
    else:
        rollout.advance(turn)


def date_ahead(turn: Turn, event: DateAhead) -> None:
    stage = held(turn, event.stage_id, event.attempt)
    if stage is not None:
        text = f"not before {event.until:%Y-%m-%d %H:%M:%S} UTC"
        turn.hold_stage(stage, WaitingKind.DATE, event.until, text)
        turn.set_status(DeploymentStatus.SCHEDULED, text)


def lane_busy(turn: Turn, event: LaneBusy) -> None:
    stage = held(turn, event.stage_id, event.attempt)
    if stage is not None:
        turn.hold_stage(stage, WaitingKind.LANE, event.retry_at, event.text)
        turn.set_status(DeploymentStatus.QUEUED, event.text)
