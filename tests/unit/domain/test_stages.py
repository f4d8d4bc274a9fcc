"""Reports of stages: only the latest attempt's word counts, and the Deploy stage's word is its operations'."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.deployment import Course, DeploymentStatus, OperationStatus, StageKind, StageStatus, WaitingKind
from app.domain.events import BudgetSpent, ClaimEnded, CountStale, DateAhead, LaneBusy, LaneOffered, StageReported
from tests.unit.domain.play import NEW, Play, deploying, nodes

BUILD, SCAN, DEPLOY, VALIDATION = StageKind.BUILD, StageKind.SCAN, StageKind.DEPLOY, StageKind.VALIDATION


def test_a_stage_that_succeeded_keeps_what_was_said() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.send(StageReported(stage.id, 1, True, "signed by ci", "checked 12 entries"))
    assert play.stage(SCAN).status is StageStatus.SUCCEEDED
    assert (play.stage(SCAN).message, play.stage(SCAN).output_tail) == ("signed by ci", "checked 12 entries")
    assert play.emitted("stage.succeeded")[0].body == {"stage": "Security Scan", "message": "signed by ci"}


def test_a_failure_carries_its_output() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.send(StageReported(stage.id, 1, False, "bad", "the last 4 KB"))
    assert (play.stage(SCAN).status, play.stage(SCAN).output_tail) == (StageStatus.FAILED, "the last 4 KB")


def test_an_older_attempt_changes_nothing_and_is_counted() -> None:
    play = Play()
    first = play.claim_stage(SCAN)
    play.lose_claim(first)
    play.claim_stage(SCAN)
    before = play.state
    play.send(StageReported(first.id, 1, False))
    assert play.state == before
    assert play.last == (CountStale(first.id, 1, "older attempt"),)


def test_a_report_between_two_claims_changes_nothing_and_is_counted() -> None:
    play = Play()
    first = play.claim_stage(SCAN)
    play.lose_claim(first)
    before = play.state
    play.send(StageReported(first.id, 1, True))
    assert play.state == before
    assert play.last == (CountStale(first.id, 1, "not claimed"),)


def test_a_repeated_report_changes_nothing_and_one_of_unknown_work_is_counted() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.send(StageReported(stage.id, 1, True))
    before = play.state
    assert play.send(StageReported(stage.id, 1, True)) == ()
    assert play.send(StageReported(UUID(int=7), 1, True)) == (CountStale(UUID(int=7), 1, "unknown"),)
    assert play.state == before


def test_a_report_of_what_was_cancelled_meanwhile_changes_nothing_and_is_not_stale() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.cancel()
    assert play.status() is DeploymentStatus.CANCELLED
    before = play.state
    assert play.send(StageReported(stage.id, 1, True)) == ()
    assert play.send(StageReported(stage.id, 1, False, "a finding")) == ()
    assert play.state == before


def test_a_build_that_fails_beside_a_scan_makes_no_stale_report() -> None:
    play = Play(builds=True)
    build, scan = play.claim_stage(BUILD), play.claim_stage(SCAN)
    play.send(StageReported(build.id, build.attempt, False, "exit code 1"))
    assert play.status() is DeploymentStatus.FAILED and play.stage(SCAN).status is StageStatus.CANCELLED
    assert play.send(StageReported(scan.id, scan.attempt, True, "no findings")) == ()
    assert play.stage(SCAN).status is StageStatus.CANCELLED


def test_an_older_attempt_is_stale_also_after_the_end() -> None:
    play = Play()
    first = play.claim_stage(SCAN)
    play.send(ClaimEnded(first.id, 1, poison=False, why="its worker was stopped"))
    play.claim_stage(SCAN)
    play.cancel()
    assert play.send(StageReported(first.id, 1, True)) == (CountStale(first.id, 1, "older attempt"),)


def test_the_lane_is_granted_once_however_often_it_is_offered() -> None:
    play = deploying(3)
    stage = play.stage(DEPLOY)
    before = play.state
    play.send(LaneOffered(stage.id, stage.attempt, tuple(nodes(3))))
    assert play.last == (CountStale(stage.id, stage.attempt, "lane granted"),)
    assert play.state == before
    assert play.grants() == 1


@pytest.mark.parametrize("event", [ClaimEnded, BudgetSpent, StageReported])
def test_after_the_grant_the_deploy_stage_is_nobodys_work(event: type) -> None:
    """The claim under which the lane was granted may be found lost, or spent, a moment later."""
    play = deploying(3)
    stage, before = play.stage(DEPLOY), play.state
    extra = {ClaimEnded: (True, "gone"), BudgetSpent: (), StageReported: (False, "late")}[event]
    play.send(event(stage.id, stage.attempt, *extra))
    assert play.state == before
    assert len(play.stale()) == 1


def test_a_worker_cannot_declare_the_rollout_done() -> None:
    play = Play()
    play.run_stage(SCAN)
    play.run_stage(DEPLOY, succeeded=True)
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == "Deploy to QA failed: reported as done without a lane"
    play = Play()
    play.run_stage(SCAN)
    stage = play.claim_stage(DEPLOY)
    play.send(StageReported(stage.id, 1, True, output_tail="what it said"))
    assert play.stage(DEPLOY).output_tail == "what it said"
    assert play.grants() == 0


def test_a_busy_lane_is_asked_for_again_when_told() -> None:
    play = Play()
    play.run_stage(SCAN)
    stage = play.claim_stage(DEPLOY)
    retry_at = play.now + timedelta(seconds=5)
    play.send(LaneBusy(stage.id, 1, retry_at, "held by 42", UUID(int=42)))
    waiting = play.stage(DEPLOY)
    assert (waiting.status, waiting.waiting, waiting.due_at) == (StageStatus.WAITING, WaitingKind.LANE, retry_at)
    assert (waiting.message, waiting.claimable) == ("held by 42", True)
    assert play.status() is DeploymentStatus.QUEUED
    assert waiting.id in {command.work_id for command in play.last if hasattr(command, "work_id")}
    assert play.emitted("stage.waiting")[0].body == {"stage": "Deploy to QA", "reason": "held by 42"}
    play.claim_stage(DEPLOY)
    play.cancel()
    ended = play.stage(DEPLOY)
    assert (ended.waiting, ended.due_at, ended.claimable) == (None, None, False)


def test_waiting_on_for_the_same_is_told_once() -> None:
    play = Play()
    play.run_stage(SCAN)
    for _ in range(3):
        stage = play.claim_stage(DEPLOY)
        play.send(LaneBusy(stage.id, stage.attempt, play.now, "held by 42", None))
    assert len(play.emitted("stage.waiting")) == 1
    stage = play.claim_stage(DEPLOY)
    play.send(LaneBusy(stage.id, stage.attempt, play.now, "held by 43", None))
    assert len(play.emitted("stage.waiting")) == 2


def test_an_old_claims_lane_changes_nothing() -> None:
    play = Play()
    play.run_stage(SCAN)
    first = play.claim_stage(DEPLOY)
    play.lose_claim(first)
    before = play.state
    play.send(LaneOffered(first.id, 1, tuple(nodes(1))))
    play.send(LaneBusy(first.id, 1, play.now, "busy", None))
    assert play.state == before
    assert len(play.stale()) == 2


def test_validation_that_fails_takes_everything_back() -> None:
    play = deploying(2)
    play.succeed(1)
    play.succeed(2)
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED
    play.run_stage(VALIDATION, succeeded=False, message="/healthz answers 500")
    assert play.status() is DeploymentStatus.ROLLING_BACK
    assert play.stage(DEPLOY).status is StageStatus.RUNNING
    assert play.emitted("stage.running")[0].body == {"stage": "Deploy to QA", "message": play.state.reason}
    play.succeed(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.state.reason == "Validation failed: /healthz answers 500"
    assert play.stage(DEPLOY).status is StageStatus.ROLLED_BACK
    assert play.stage(VALIDATION).status is StageStatus.FAILED
    assert play.stage(VALIDATION).message == "/healthz answers 500"


def test_a_late_validation_does_not_turn_a_cancel_round() -> None:
    """What was cancelled without going back stays so, whatever Validation says afterwards."""
    play = deploying(2)
    play.succeed(1)
    play.succeed(2)
    stage = play.claim_stage(VALIDATION)
    play.cancel(rollback=False)
    assert play.status() is DeploymentStatus.CANCELLED
    assert play.stage(VALIDATION).status is StageStatus.CANCELLED
    play.send(StageReported(stage.id, stage.attempt, False))
    assert play.status() is DeploymentStatus.CANCELLED
    assert play.desired() == {1: NEW, 2: NEW}


def test_a_late_validation_does_not_hurry_a_cancel_that_goes_back() -> None:
    play = deploying(2)
    play.succeed(1)
    play.succeed(2)
    stage = play.claim_stage(VALIDATION)
    play.cancel()
    before = play.state
    play.send(StageReported(stage.id, stage.attempt, True))
    play.send(StageReported(stage.id, stage.attempt, False))
    assert play.state == before
    assert (play.state.course, play.state.ending) == (Course.BACK, DeploymentStatus.CANCELLED)
    assert play.numbers(OperationStatus.DISPATCHED) == [1, 2]


def test_a_date_ahead_is_waited_for() -> None:
    play = Play()
    play.run_stage(SCAN)
    stage = play.claim_stage(DEPLOY)
    until = play.now + timedelta(hours=1)
    play.send(DateAhead(stage.id, 1, until))
    waiting = play.stage(DEPLOY)
    assert (waiting.status, waiting.waiting, waiting.due_at) == (StageStatus.WAITING, WaitingKind.DATE, until)
    assert waiting.message == "not before 2026-01-01 01:00:00 UTC"
    assert play.status() is DeploymentStatus.SCHEDULED
    assert play.emitted("deployment.scheduled")[0].body == {"reason": "not before 2026-01-01 01:00:00 UTC"}
    before = play.state
    play.send(DateAhead(stage.id, 1, until))
    assert play.state == before
    assert play.stale()[-1].reason == "not claimed"
    play.offer_lane(nodes(1))
    assert play.status() is DeploymentStatus.RUNNING
