"""What people ask of a deployment under way, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.deployment import Course, DeploymentStatus, OperationStatus, StageKind, StageStatus
from app.domain.errors import Conflict
from app.domain.events import Outcome, Overtaken, PauseExpired, PromoteRequested
from tests.unit.domain.play import NEW, OLD, OTHER, Play, deploying, node, node_id, rolling

DEPLOY, VALIDATION = StageKind.DEPLOY, StageKind.VALIDATION
CANCELLED = DeploymentStatus.CANCELLED


def refused(play: Play, ask: Callable[[], object]) -> str:
    """The sentence of the refusal, once it is sure that nothing changed."""
    before = play.state
    with pytest.raises(Conflict) as refusal:
        ask()
    assert play.state == before
    return str(refusal.value)


# --- cancel


def test_before_the_lane_a_cancel_ends_it_at_once() -> None:
    play = Play()
    play.claim_stage(StageKind.SCAN)
    play.cancel()
    assert (play.status(), play.state.reason) == (CANCELLED, "cancelled by ann")
    assert play.emitted("deployment.cancelled")[0].body == {"reason": "cancelled by ann"}
    assert play.state.granted is False
    assert [stage.status for stage in play.state.stages[-2:]] == [StageStatus.CANCELLED, StageStatus.CANCELLED]
    assert play.stage(DEPLOY).message == "not reached: cancelled by ann"
    assert play.grants() == play.releases() == 0
    assert play.emitted("deployment.cancelRequested")[0].body == {"by": "ann", "rollback": True}


def test_a_cancel_goes_back_by_default() -> None:
    play = rolling(4, 2)
    play.succeed(1)
    play.claim(play.on(2))
    play.cancel()
    assert play.status() is DeploymentStatus.CANCELLING
    assert (play.on(1).target, play.on(2).status) == (OLD, OperationStatus.RESOLVING)
    assert play.on(2).error == "given up: cancelled by ann"
    play.succeed(1)
    play.report(play.claim(play.on(2)), Outcome.VOID)
    assert play.status() is CANCELLED
    assert play.stage(DEPLOY).status is StageStatus.CANCELLED
    assert (play.stage(VALIDATION).status, play.stage(VALIDATION).message) == (
        StageStatus.CANCELLED,
        "not reached: cancelled by ann",
    )
    assert play.desired() == dict.fromkeys(range(1, 5), OLD)
    assert play.state.reason == "cancelled by ann"


def test_a_cancel_without_going_back_leaves_what_was_switched() -> None:
    play = rolling(4, 3)
    play.succeed(1)
    play.claim(play.on(2))
    play.claim(play.on(3))
    play.cancel(rollback=False)
    assert play.state.course is Course.SETTLE
    assert play.in_flight() == [2, 3]
    play.report(play.claim(play.on(2)), Outcome.SUCCEEDED, NEW.digest)
    play.report(play.claim(play.on(3)), Outcome.VOID)
    assert play.status() is CANCELLED
    assert play.desired() == {1: NEW, 2: NEW, 3: OLD, 4: OLD}
    assert play.state.reason == "cancelled by ann"


def test_a_cancel_without_going_back_names_the_lost_and_the_odd() -> None:
    play = Play({"strategy": "direct", "onNodeLost": "continue", "maxFailedNodes": 1})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1), node(2), node(3, OTHER, desired=OLD)])
    play.report(play.claim(play.on(2)), Outcome.FAILED, NEW.digest, "half done")
    play.lose(1)
    play.cancel(rollback=False)
    assert play.status() is CANCELLED
    assert play.desired() == {1: OLD, 2: OLD, 3: OLD}
    assert play.state.reason == (
        "cancelled by ann; without qa-1: the node stayed silent for nodeLostAfter; qa-2: half done;"
        f" qa-3: runs {OTHER.digest}"
    )


def test_a_cancel_that_cannot_bring_a_node_back_ends_failed() -> None:
    play = deploying(2, {"onNodeLost": "continue"})
    play.lose(1)
    play.cancel()
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == (
        "cancelled by ann; could not be brought back: qa-1: the node stayed silent for nodeLostAfter"
    )


def test_a_cancel_while_validation_is_not_yet_claimed() -> None:
    play = deploying(1)
    play.succeed(1)
    assert play.stage(VALIDATION).claimable
    play.cancel()
    assert not play.stage(VALIDATION).claimable
    assert play.stage(VALIDATION).message == "not reached: cancelled by ann"
    play.succeed(1)
    assert play.status() is CANCELLED


def test_a_cancel_while_paused() -> None:
    play = deploying(1)
    play.pause()
    play.cancel()
    assert play.status() is CANCELLED
    assert (play.state.paused, play.state.paused_until) == (False, None)


def test_nobody_cancels_what_goes_back_or_has_ended() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    assert refused(play, play.cancel) == (
        "A deployment that is RollingBack cannot be cancelled;"
        " one that is Queued, Scheduled, PendingApproval, Running, Soaking or Paused can."
    )
    play.succeed(1)
    assert "A deployment that is RolledBack cannot be cancelled" in refused(play, play.cancel)
    play = deploying(1)
    play.claim(play.on(1))
    play.cancel(rollback=False)
    assert "A deployment that is Cancelling cannot be cancelled" in refused(play, play.cancel)


# --- pause, resume, retry


def test_a_pause_lets_nobody_in_and_what_is_in_flight_ends() -> None:
    play = rolling(3, 1)
    play.pause()
    assert play.status() is DeploymentStatus.PAUSED
    assert play.emitted("deployment.paused")[0].body == {"reason": "paused by ann"}
    play.succeed(1)
    assert play.in_flight() == []
    play.resume()
    assert play.status() is DeploymentStatus.RUNNING
    assert play.emitted("deployment.running")[-1].body == {"reason": "resumed by ann"}
    assert (play.state.paused, play.state.paused_until) == (False, None)
    assert play.in_flight() == [2]


def test_a_pause_holds_when_everything_has_ended_meanwhile() -> None:
    play = deploying(1)
    play.pause()
    play.succeed(1)
    assert play.stage(DEPLOY).status is StageStatus.RUNNING
    play.resume()
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED


def test_only_a_rollout_going_forward_can_be_paused() -> None:
    play = Play()
    sentence = "A deployment that is Queued cannot be paused; one whose Deploy stage is Running can."
    assert refused(play, play.pause) == sentence
    play = deploying(2)
    play.pause()
    assert "is Paused cannot be paused" in refused(play, play.pause)
    play.resume()
    play.succeed(1)
    play.fail(2)
    assert "is RollingBack cannot be paused" in refused(play, play.pause)
    play = deploying(1)
    play.succeed(1)
    assert "is Running cannot be paused" in refused(play, play.pause)


def test_only_what_is_paused_can_be_resumed_or_retried() -> None:
    play = deploying(1)
    assert refused(play, play.resume) == "A deployment that is Running cannot be resumed; one that is Paused can."
    assert refused(play, play.retry) == (
        "A deployment that is Running cannot be retried; one that is Paused or has ended can."
    )


def test_nothing_soaks_in_this_part() -> None:
    play = deploying(1)
    sentence = "A deployment that is Running cannot be promoted; one that is Soaking can."
    assert refused(play, lambda: play.send(PromoteRequested("ann"))) == sentence


def test_resume_goes_on_without_what_failed_or_was_lost() -> None:
    play = deploying(3, {"maxFailedNodes": 1, "onNodeLost": "pause"})
    play.fail(1, "bad")
    play.lose(2)
    play.succeed(3)
    play.resume()
    assert play.stage(DEPLOY).message == "without qa-1: bad; qa-2: the node stayed silent for nodeLostAfter"


def test_retry_tries_again_in_place_what_failed() -> None:
    play = rolling(3, 3, {"maxFailedNodes": 1})
    play.fail(1, "bad")
    play.pause()
    failed = play.on(1)
    play.retry()
    again = play.on(1)
    assert play.status() is DeploymentStatus.RUNNING
    assert play.emitted("deployment.running")[-1].body == {"reason": "retried by ann"}
    assert (again.follows, again.tries, again.status) == (failed.id, 2, OperationStatus.DISPATCHED)
    assert (again.error, again.output_tail, again.losses, again.attempt) == (None, None, 0, 0)
    for number in (1, 2, 3):
        play.succeed(number)
    assert play.stage(DEPLOY).message is None


def test_retry_resolves_what_was_lost_before_it_is_tried_again() -> None:
    play = rolling(2, 1, {"onNodeLost": "pause"})
    lost = play.claim(play.on(1))
    play.lose(1)
    play.retry()
    assert (play.on(1).id, play.on(1).status) == (lost.id, OperationStatus.RESOLVING)
    assert play.in_flight() == [1]
    play.report(play.claim(play.on(1)), Outcome.VOID)
    assert (play.on(1).follows, play.on(1).status) == (lost.id, OperationStatus.DISPATCHED)


def test_retry_of_a_failure_that_left_the_new_release_still_goes_back_later() -> None:
    play = deploying(2, {"maxFailedNodes": 1})
    play.report(play.claim(play.on(1)), Outcome.FAILED, NEW.digest, "half done")
    play.pause()
    play.retry()
    assert play.on(1).active == NEW.digest
    play.report(play.claim(play.on(1)), Outcome.FAILED, NEW.digest, "half done")
    assert play.on(1).changed
    play.cancel()
    assert (play.on(1).target, play.on(1).status) == (OLD, OperationStatus.DISPATCHED)


# --- time, and others


def test_a_pause_that_expires_goes_back_by_default() -> None:
    play = deploying(2, {"pausedTimeout": "60s", "maxConcurrentNodes": 1})
    play.succeed(1)
    play.pause()
    play.wait(59)
    before = play.state
    play.send(PauseExpired())
    assert play.state == before
    play.wait(1)
    play.send(PauseExpired())
    assert play.status() is DeploymentStatus.ROLLING_BACK
    assert play.state.reason == "paused for longer than pausedTimeout"
    assert (play.state.paused, play.state.paused_until) == (False, None)
    play.succeed(1)
    play.send(PauseExpired())
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_a_pause_that_expires_may_go_on() -> None:
    play = rolling(2, 1, {"pausedTimeout": "60s", "onPausedTimeout": "resume"})
    play.pause()
    play.succeed(1)
    play.wait(60)
    play.send(PauseExpired())
    assert play.status() is DeploymentStatus.RUNNING
    assert play.emitted("deployment.running")[-1].body == {"reason": "resumed: pausedTimeout has passed"}
    assert play.in_flight() == [2]


def test_an_expiry_without_a_pause_changes_nothing() -> None:
    play = deploying(1)
    before = play.state
    play.wait(10**6)
    assert play.send(PauseExpired()) == ()
    assert play.state == before


def test_one_that_is_overtaken_before_its_lane_is_superseded() -> None:
    play = Play()
    play.send(Overtaken(node_id(7), "1.2.0 was deployed meanwhile"))
    assert play.status() is DeploymentStatus.SUPERSEDED
    assert play.state.reason == "1.2.0 was deployed meanwhile"
    assert play.stage(DEPLOY).status is StageStatus.CANCELLED


def test_one_that_holds_its_lane_or_has_ended_is_not_overtaken() -> None:
    play = deploying(1)
    before = play.state
    assert play.send(Overtaken(node_id(7), "too late")) == ()
    assert play.state == before
    play = Play()
    play.cancel()
    before = play.state
    play.send(Overtaken(node_id(7), "too late"))
    assert play.state == before
