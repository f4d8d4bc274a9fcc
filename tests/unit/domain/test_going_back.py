"""Going back, settling, and what is recorded and told at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.deployment import Course, DeploymentStatus, Direction, OperationStatus, StageKind, StageStatus
from app.domain.events import Dispatch, OperationReported, Outcome
from tests.unit.domain.play import NEW, OLD, OTHER, Play, deploying, node, nodes, rolling

RESOLVING, CANCELLED, LOST = OperationStatus.RESOLVING, OperationStatus.CANCELLED, OperationStatus.LOST
DEPLOY = StageKind.DEPLOY


def failing(count: int = 3, **policy: object) -> Play:
    """Node 1 succeeded, node 2 is under way, the last one failed: it turns round."""
    play = deploying(count, policy)
    play.succeed(1)
    play.claim(play.on(2))
    play.fail(count, "exited")
    assert play.status() is DeploymentStatus.ROLLING_BACK
    return play


def test_what_succeeded_goes_back_and_what_is_under_way_is_resolved_first() -> None:
    play = failing()
    back, under_way = play.on(1), play.on(2)
    assert (back.direction, back.status, back.tries) == (Direction.BACK, OperationStatus.DISPATCHED, 1)
    assert (back.before, back.target, back.active) == (NEW, OLD, NEW.digest)
    assert (back.wave, back.claimable, back.due_at) == (0, True, None)
    assert back.follows == play.state.forward()[0].id
    assert (under_way.direction, under_way.status, under_way.claimable) == (Direction.FORWARD, RESOLVING, True)
    assert under_way.error == "given up: " + (play.state.reason or "")
    assert Dispatch(under_way.id) in play.last
    assert Dispatch(back.id) in play.last


def test_the_node_goes_back_once_its_forward_operation_turns_out_to_have_succeeded() -> None:
    play = failing()
    play.report(play.claim(play.on(2)), Outcome.SUCCEEDED, NEW.digest)
    assert (play.on(2).direction, play.on(2).status) == (Direction.BACK, OperationStatus.DISPATCHED)
    play.succeed(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.desired() == {1: OLD, 2: OLD, 3: OLD}


@pytest.mark.parametrize(("outcome", "status"), [("void", CANCELLED), ("failed", OperationStatus.FAILED)])
def test_the_node_stays_where_its_forward_operation_changed_nothing(outcome: str, status: OperationStatus) -> None:
    play = failing()
    play.report(play.claim(play.on(2)), Outcome(outcome), OLD.digest, "stopped")
    assert (play.on(2).direction, play.on(2).status) == (Direction.FORWARD, status)
    play.succeed(1)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.state.reason == "1 failed, more than maxFailedNodes (0): qa-3: exited"


def test_a_failure_that_left_the_new_release_active_is_taken_back() -> None:
    play = deploying(2)
    play.report(play.claim(play.on(1)), Outcome.FAILED, NEW.digest, "half done")
    assert play.on(1).direction is Direction.BACK
    assert play.numbers(CANCELLED) == [2]


def test_a_void_one_that_says_it_changed_something_is_taken_back() -> None:
    play = failing()
    play.report(play.claim(play.on(2)), Outcome.VOID, NEW.digest)
    assert play.on(2).direction is Direction.BACK


def test_what_was_never_sent_is_dropped_without_asking_the_node() -> None:
    play = deploying(3, {"maxConcurrentNodes": 2})
    play.fail(1)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.numbers(CANCELLED) == [2, 3]
    assert all(not operation.claimable for operation in play.state.operations)


def test_what_lost_its_claim_may_have_been_sent_and_is_resolved() -> None:
    play = deploying(2)
    play.lose_claim(play.claim(play.on(2)))
    assert play.on(2).status is OperationStatus.DISPATCHED
    play.fail(1)
    assert play.on(2).status is RESOLVING


def test_a_resolve_under_way_is_left_to_its_holder() -> None:
    play = deploying(2)
    play.report(play.claim(play.on(2)), Outcome.UNKNOWN, error="timed out")
    holder = play.claim(play.on(2))
    play.fail(1)
    assert play.on(2) == holder
    play.report(holder, Outcome.VOID)
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_going_back_keeps_to_the_window() -> None:
    play = deploying(5, {"maxConcurrentNodes": 2})
    for number in (1, 2, 3):
        play.succeed(number)
    play.claim(play.on(5))
    play.fail(4)
    assert play.in_flight() == [1, 5]
    play.succeed(1)
    assert play.in_flight() == [2, 5]
    play.report(play.claim(play.on(5)), Outcome.VOID)
    assert play.in_flight() == [2, 3]


def test_more_than_the_window_in_flight_lets_nobody_in() -> None:
    play = deploying(4, {"maxConcurrentNodes": 1, "onNodeLost": "continue"})
    play.succeed(1)
    for number in (2, 3):
        play.claim(play.on(number))
        play.lose(number)
    play.claim(play.on(4))
    play.come_back(2)
    play.come_back(3)
    play.cancel()
    assert play.in_flight() == [2, 3, 4]
    play.report(play.claim(play.on(4)), Outcome.VOID)
    play.report(play.claim(play.on(3)), Outcome.VOID)
    assert play.in_flight() == [2]
    play.report(play.claim(play.on(2)), Outcome.VOID)
    assert play.in_flight() == [1]


def test_going_back_is_tried_three_times_with_a_pause_in_between() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    first = play.on(1)
    waits = []
    for tries in (1, 2, 3):
        assert (play.on(1).tries, play.on(1).target, play.on(1).before, play.on(1).wave) == (tries, OLD, NEW, 0)
        due_at = play.on(1).due_at
        waits.append(due_at and (due_at - play.now).total_seconds())
        assert play.status() is DeploymentStatus.ROLLING_BACK
        play.fail(1, "disk_full")
    assert waits == [None, 1, 2]
    assert play.on(1).due_at is None
    assert play.state.operations[3].follows == first.id
    assert play.status() is DeploymentStatus.FAILED
    assert (play.state.reason or "").endswith("; could not be brought back: qa-1: disk_full")
    assert play.stage(DEPLOY).status is StageStatus.FAILED
    assert play.desired() == {1: OLD, 2: OLD}


def test_a_second_try_that_works_brings_it_back() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    play.fail(1)
    play.succeed(1)
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_one_that_failed_but_is_back_is_back() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    play.report(play.claim(play.on(1)), Outcome.FAILED, OLD.digest, "unexpected_active")
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_going_back_that_never_ran_is_tried_again() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    play.report(play.claim(play.on(1)), Outcome.VOID)
    assert (play.on(1).tries, play.on(1).direction) == (2, Direction.BACK)
    assert play.on(1).active == NEW.digest


def test_a_first_release_goes_back_to_none() -> None:
    play = Play({"strategy": "direct"})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, None), node(2, None)])
    play.succeed(1)
    play.fail(2)
    assert play.on(1).target is None
    operation = play.claim(play.on(1))
    play.report(operation, Outcome.SUCCEEDED, None)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.desired() == {1: None, 2: None}
    assert "version" not in play.emitted("operation.succeeded")[1].body


def test_going_back_to_none_that_left_something_running_is_no_success() -> None:
    play = Play({"strategy": "direct"})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, None), node(2, None)])
    play.succeed(1)
    play.fail(2)
    for _ in range(3):
        play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, NEW.digest)
    assert play.status() is DeploymentStatus.FAILED
    assert (play.state.reason or "").endswith(f"qa-1: says it succeeded, but runs {NEW.digest}")


def test_a_node_that_drifted_before_is_left_as_it_was_and_named() -> None:
    play = Play({"strategy": "direct"})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, OTHER, desired=OLD), node(2), node(3, OTHER, desired=OLD)])
    play.succeed(3)
    play.fail(2, "bad")
    assert play.on(3).target == OLD
    play.succeed(3)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.state.reason == f"1 failed, more than maxFailedNodes (0): qa-2: bad; without qa-1: runs {OTHER.digest}"
    assert play.desired() == {1: OLD, 2: OLD, 3: OLD}


def test_a_node_on_which_the_same_release_was_forced_has_nothing_to_go_back_to() -> None:
    play = Play({"strategy": "direct"}, force=True)
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, NEW), node(2)])
    play.succeed(1)
    play.fail(2)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.desired() == {1: NEW, 2: OLD}


def test_a_node_that_drifted_to_nothing_says_so() -> None:
    play = Play({"strategy": "direct"})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, None, desired=OLD), node(2)])
    play.cancel()
    assert play.state.reason == "cancelled by ann; without qa-1: runs nothing"


def test_a_node_lost_while_going_back_is_named_and_ends_the_wait() -> None:
    play = failing()
    play.lose(1)
    assert play.numbers(LOST) == [1]
    assert play.status() is DeploymentStatus.ROLLING_BACK
    play.lose(2)
    assert play.status() is DeploymentStatus.FAILED
    why = "the node stayed silent for nodeLostAfter"
    assert (play.state.reason or "").endswith(f"; could not be brought back: qa-1: {why}; qa-2: {why}")


def test_one_lost_while_going_back_that_returns_in_time_is_resolved_and_goes_back() -> None:
    play = failing()
    play.lose(1)
    play.come_back(1, NEW)
    assert play.on(1).status is RESOLVING
    play.report(play.claim(play.on(1)), Outcome.FAILED, NEW.digest)
    assert (play.on(1).direction, play.on(1).tries) == (Direction.BACK, 2)
    play.succeed(1)
    play.report(play.claim(play.on(2)), Outcome.VOID)
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_a_node_lost_on_the_way_forward_that_returns_while_going_back_goes_back() -> None:
    play = rolling(3, 1)
    play.succeed(1)
    play.claim(play.on(2))
    play.lose(2)
    assert play.in_flight() == [1]
    play.come_back(2)
    play.report(play.claim(play.on(2)), Outcome.SUCCEEDED, NEW.digest)
    assert play.on(2).direction is Direction.BACK
    play.succeed(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.state.reason == "lost qa-2"


def test_the_output_of_the_first_failure_is_the_stages() -> None:
    play = deploying(3)
    play.claim(play.on(1))
    operation = play.claim(play.on(2))
    play.send(OperationReported(operation.id, 1, Outcome.FAILED, OLD.digest, "bad", "Traceback"))
    operation = play.claim(play.on(1))
    play.send(OperationReported(operation.id, 2, Outcome.SUCCEEDED, NEW.digest, None, "all is well"))
    play.succeed(1)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.stage(DEPLOY).output_tail == "Traceback"


def test_what_was_passed_over_at_the_start_is_named_at_every_end() -> None:
    play = Play({"strategy": "direct", "maxUnavailableAtStart": "50%"})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([*nodes(2), replace(node(3), available=False, why="silent for 20s")])
    play.fail(1, "bad")
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert (play.state.reason or "").endswith("qa-1: bad; without qa-3: silent for 20s")
    assert play.stage(DEPLOY).message == play.state.reason


def test_the_end_tells_everybody_once() -> None:
    play = failing()
    play.succeed(1)
    play.report(play.claim(play.on(2)), Outcome.VOID)
    assert play.state.course is Course.BACK
    assert [stage.status for stage in play.state.stages] == [
        StageStatus.SKIPPED,
        StageStatus.SUCCEEDED,
        StageStatus.SKIPPED,
        StageStatus.SKIPPED,
        StageStatus.ROLLED_BACK,
        StageStatus.SKIPPED,
    ]
    assert (play.stage(StageKind.VALIDATION).message or "").startswith("not reached: 1 failed")
    assert len(play.emitted("deployment.rolledBack")) == 1
    assert play.releases() == 1
    assert not play.state.granted
