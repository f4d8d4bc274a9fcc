"""Going forward: the window, the waves, and what stops a rollout."""

from __future__ import annotations

import pytest

from app.domain.deployment import DeploymentStatus, OperationStatus, StageKind, StageStatus
from app.domain.events import CountStale, Dispatch, OperationReported, Outcome
from tests.unit.domain.play import NEW, OLD, OTHER, Play, deploying, node, node_id, rolling

DEPLOY = StageKind.DEPLOY
PENDING, LOST, FAILED = OperationStatus.PENDING, OperationStatus.LOST, OperationStatus.FAILED


# --- window and waves


def test_direct_lets_in_as_many_as_the_window_holds_and_each_end_lets_in_the_next() -> None:
    play = deploying(5, {"maxConcurrentNodes": 2})
    assert play.in_flight() == [1, 2]
    play.succeed(2)
    assert play.in_flight() == [1, 3]
    assert [command for command in play.last if isinstance(command, Dispatch)] == [Dispatch(play.on(3).id)]
    play.succeed(1)
    assert play.in_flight() == [3, 4]


def test_direct_is_one_wave() -> None:
    play = deploying(7)
    assert play.in_flight() == [1, 2, 3, 4, 5, 6, 7]
    assert {play.on(number).wave for number in range(1, 8)} == {0}


def test_rolling_begins_a_wave_when_the_one_before_has_ended() -> None:
    play = rolling(5, 2)
    assert play.in_flight() == [1, 2]
    play.succeed(1)
    assert play.in_flight() == [2]
    play.succeed(2)
    assert play.in_flight() == [3, 4]
    play.succeed(4)
    play.succeed(3)
    assert play.in_flight() == [5]


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [
        (8, "25%", [2, 2, 2, 2]),
        (9, "25%", [3, 3, 3]),
        (3, "25%", [1, 1, 1]),
        (5, 4, [4, 1]),
        (2, 5, [2]),
        (1, "1%", [1]),
    ],
)
def test_a_batch_is_a_share_of_the_nodes_rounded_up(count: int, batch: int | str, sizes: list[int]) -> None:
    play = rolling(count, batch)
    waves = play.emitted("deployment.planned")[0].body["waves"]
    assert [len(wave) for wave in waves] == sizes
    assert [name for wave in waves for name in wave] == [f"qa-{number}" for number in range(1, count + 1)]


def test_a_wave_larger_than_the_window_goes_through_it_bit_by_bit() -> None:
    play = rolling(4, 3, {"maxConcurrentNodes": 2})
    assert play.in_flight() == [1, 2]
    play.succeed(1)
    assert play.in_flight() == [2, 3]
    play.succeed(3)
    assert play.in_flight() == [2]
    play.succeed(2)
    assert play.in_flight() == [4]


def test_min_in_service_narrows_the_window() -> None:
    play = rolling(4, 4, minInService=3)
    assert play.in_flight() == [1]
    play.succeed(1)
    assert play.in_flight() == [2]


def test_min_in_service_counts_a_node_that_failed_as_out() -> None:
    play = rolling(4, 4, {"maxFailedNodes": 3}, minInService=2)
    assert play.in_flight() == [1, 2]
    play.fail(1)
    assert play.in_flight() == [2]
    play.succeed(2)
    assert play.in_flight() == [3]


def test_where_min_in_service_leaves_nobody_any_more_it_goes_back() -> None:
    play = rolling(3, 3, {"maxFailedNodes": 3}, minInService=1)
    play.succeed(1)
    play.fail(2)
    assert play.in_flight() == [3]
    play = rolling(3, 3, {"maxFailedNodes": 3}, minInService=2)
    play.succeed(1)
    play.fail(2)
    assert play.status() is DeploymentStatus.ROLLING_BACK
    assert play.state.reason == "minInService (2) leaves no node that may be changed"
    assert play.in_flight() == [1]


def test_all_done_ends_the_stage_and_opens_validation() -> None:
    play = deploying(2)
    play.succeed(1)
    play.succeed(2)
    assert (play.stage(DEPLOY).status, play.stage(DEPLOY).message) == (StageStatus.SUCCEEDED, None)
    assert play.stage(StageKind.VALIDATION).claimable
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason is None
    assert (play.grants(), play.releases()) == (1, 1)
    assert play.desired() == {1: NEW, 2: NEW}
    assert play.emitted("deployment.succeeded")[0].body == {}


def test_a_node_that_succeeded_says_so() -> None:
    play = deploying(1)
    play.succeed(1)
    operation = play.on(1)
    assert (operation.status, operation.active, operation.changed) == (OperationStatus.SUCCEEDED, NEW.digest, True)
    assert (operation.error, operation.claimable, operation.due_at) == (None, False, None)
    assert play.emitted("operation.succeeded")[0].body == {
        "operationId": str(operation.id),
        "node": "qa-1",
        "wave": 0,
        "direction": "forward",
        "version": "1.1.0",
    }


# --- failures


def test_one_failure_too_many_goes_back() -> None:
    play = deploying(4, {"maxConcurrentNodes": 2})
    play.succeed(1)
    play.fail(2, "exited with 1")
    assert play.status() is DeploymentStatus.ROLLING_BACK
    assert play.state.reason == "1 failed, more than maxFailedNodes (0): qa-2: exited with 1"
    assert play.emitted("deployment.rollingBack")[0].body == {"reason": play.state.reason}
    assert play.numbers(OperationStatus.CANCELLED) == [3, 4]


def test_as_many_as_max_failed_nodes_are_named_and_left_behind() -> None:
    play = deploying(3, {"maxFailedNodes": 1})
    play.fail(2, "exited with 1")
    play.succeed(1)
    play.succeed(3)
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED
    assert play.stage(DEPLOY).message == "without qa-2: exited with 1"
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "without qa-2: exited with 1"
    assert play.desired() == {1: NEW, 2: NEW, 3: NEW}


def test_more_than_max_failed_nodes_over_several_waves_goes_back() -> None:
    play = rolling(6, 2, {"maxFailedNodes": 1})
    play.fail(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.RUNNING
    play.fail(3)
    assert play.status() is DeploymentStatus.ROLLING_BACK


def test_five_failures_are_named() -> None:
    play = deploying(7, {"maxFailedNodes": 6})
    for number in range(1, 8):
        play.fail(number, "x")
    assert play.state.reason is not None
    assert play.state.reason.count("qa-") == 5
    assert play.state.reason.startswith("7 failed, more than maxFailedNodes (6): qa-1: x; qa-2: x")


def test_when_not_one_succeeded_it_goes_back_however_many_may_fail() -> None:
    play = deploying(2, {"maxFailedNodes": 5})
    play.fail(1, "a")
    assert play.status() is DeploymentStatus.RUNNING
    play.fail(2, "b")
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.state.reason == "not one node succeeded: qa-1: a; qa-2: b"


def test_a_node_that_runs_it_already_is_a_success() -> None:
    play = Play({"strategy": "direct", "maxFailedNodes": 1})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1, NEW), node(2)])
    play.fail(2)
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED


def test_a_node_that_says_it_succeeded_and_runs_something_else_failed() -> None:
    play = deploying(1, {"maxFailedNodes": 1})
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, OTHER.digest)
    assert play.status() is DeploymentStatus.ROLLING_BACK
    forward = play.state.forward()[0]
    assert (forward.status, forward.changed) == (FAILED, True)
    assert forward.error == f"says it succeeded, but runs {OTHER.digest}"
    assert play.on(1).target == OLD


def test_a_node_that_says_it_succeeded_and_runs_nothing_failed() -> None:
    play = deploying(1)
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, None)
    assert play.state.forward()[0].error == "says it succeeded, but runs nothing"


def test_a_failure_without_words_has_some() -> None:
    play = deploying(2, {"maxFailedNodes": 1})
    play.report(play.claim(play.on(1)), Outcome.FAILED, OLD.digest)
    assert play.on(1).error == "the node gave it up"
    assert play.emitted("operation.failed")[0].body["error"] == "the node gave it up"
    assert not play.on(1).changed


def test_the_output_of_a_failure_is_kept() -> None:
    play = deploying(2, {"maxFailedNodes": 1})
    operation = play.claim(play.on(1))
    play.send(OperationReported(operation.id, 1, Outcome.UNKNOWN, output_tail="so far"))
    assert play.on(1).output_tail == "so far"
    operation = play.claim(play.on(1))
    play.send(OperationReported(operation.id, 2, Outcome.FAILED, OLD.digest, "bad"))
    assert play.on(1).output_tail == "so far"
    operation = play.claim(play.on(2))
    play.send(OperationReported(operation.id, 1, Outcome.FAILED, OLD.digest, "bad", "its last words"))
    assert play.on(2).output_tail == "its last words"


# --- no answer, and void


def test_no_answer_is_resolved_before_anything_else() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.report(first, Outcome.UNKNOWN, error="timed out")
    resolving = play.on(1)
    assert (resolving.id, resolving.status, resolving.claimable) == (first.id, OperationStatus.RESOLVING, True)
    assert (resolving.due_at, resolving.error) == (None, "timed out")
    assert play.last == (Dispatch(first.id),)


def test_a_resolve_without_an_answer_is_asked_again_a_second_later() -> None:
    play = deploying(1)
    play.report(play.claim(play.on(1)), Outcome.UNKNOWN, error="timed out")
    play.report(play.claim(play.on(1)), Outcome.UNKNOWN)
    assert play.on(1).status is OperationStatus.RESOLVING
    due_at = play.on(1).due_at
    assert due_at is not None
    assert (due_at - play.now).total_seconds() == 1
    assert play.on(1).error == "timed out"


def test_a_second_no_answer_of_the_holder_before_changes_nothing() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.report(first, Outcome.UNKNOWN, error="timed out")
    before = play.state
    assert play.report(first, Outcome.UNKNOWN, error="again") == ()
    assert play.state == before


def test_the_holder_before_may_still_bring_the_final_word() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.report(first, Outcome.UNKNOWN)
    play.report(first, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.SUCCEEDED


def test_once_the_resolve_is_claimed_only_its_holder_speaks() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.report(first, Outcome.UNKNOWN)
    second = play.claim(play.on(1))
    play.report(first, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.RESOLVING
    assert play.stale()[-1].reason == "older attempt"
    play.report(second, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.SUCCEEDED


def test_a_report_before_any_claim_is_counted_and_one_after_the_end_changes_nothing() -> None:
    play = deploying(2)
    operation = play.on(1)
    before = play.state
    play.send(OperationReported(operation.id, 0, Outcome.SUCCEEDED, NEW.digest))
    assert (play.state, play.stale()[-1].reason) == (before, "not claimed")
    play.succeed(1)
    before = play.state
    play.send(OperationReported(operation.id, 1, Outcome.FAILED, OLD.digest))
    assert (play.state, play.last) == (before, ())
    play.send(OperationReported(node_id(99), 1, Outcome.FAILED, OLD.digest))
    assert play.state == before
    assert play.last == (CountStale(node_id(99), 1, "unknown"),)


def test_what_never_ran_is_tried_anew_under_another_id() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.report(first, Outcome.VOID, error="void")
    again = play.on(1)
    assert play.fresh(first).status is OperationStatus.CANCELLED
    assert again.id != first.id
    assert (again.follows, again.tries, again.attempt, again.status) == (first.id, 2, 0, OperationStatus.DISPATCHED)
    assert (again.active, again.before, again.target, again.error) == (OLD.digest, OLD, NEW, None)
    assert play.status() is DeploymentStatus.RUNNING


def test_what_never_runs_fails_at_the_third_try() -> None:
    play = deploying(1)
    for _ in range(3):
        assert play.status() is DeploymentStatus.RUNNING
        play.report(play.claim(play.on(1)), Outcome.VOID, error="interrupted")
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert [operation.status for operation in play.state.operations] == [
        OperationStatus.CANCELLED,
        OperationStatus.CANCELLED,
        OperationStatus.FAILED,
    ]


def test_what_never_ran_waits_its_turn_while_paused() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.pause()
    play.report(first, Outcome.VOID)
    assert play.numbers(PENDING) == [1]
    play.resume()
    assert play.in_flight() == [1]


def test_another_try_waits_until_no_later_wave_is_in_flight() -> None:
    """A lost node's operation is settled while the next wave runs: its wave comes again, but never beside another."""
    play = rolling(3, 1, {"onNodeLost": "continue"})
    play.claim(play.on(1))
    play.lose(1)
    assert play.in_flight() == [2]
    play.come_back(1)
    play.report(play.claim(play.on(1)), Outcome.VOID, error="interrupted")
    assert play.in_flight() == [2]
    assert play.numbers(PENDING) == [1, 3]
    play.succeed(2)
    assert play.in_flight() == [1]
    play.succeed(1)
    assert play.in_flight() == [3]


# --- lost nodes


def test_a_lost_node_aborts_by_default() -> None:
    play = deploying(3)
    play.succeed(1)
    play.claim(play.on(2))
    play.lose(2)
    assert play.status() is DeploymentStatus.ROLLING_BACK
    assert play.state.reason == "lost qa-2"
    assert play.on(2).error == "the node stayed silent for nodeLostAfter"
    assert not play.on(2).claimable
    assert play.numbers(LOST) == [2]


def test_continue_goes_on_and_names_the_lost_node() -> None:
    play = rolling(3, 1, {"onNodeLost": "continue"})
    play.lose(1)
    assert play.in_flight() == [2]
    play.succeed(2)
    play.succeed(3)
    assert play.stage(DEPLOY).message == "without qa-1: the node stayed silent for nodeLostAfter"
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "without qa-1: the node stayed silent for nodeLostAfter"


def test_pause_pauses_and_lets_nobody_in() -> None:
    play = rolling(3, 1, {"onNodeLost": "pause", "pausedTimeout": "60s"})
    play.lose(1)
    assert play.status() is DeploymentStatus.PAUSED
    assert play.emitted("deployment.paused")[0].body == {"reason": "lost qa-1"}
    assert play.in_flight() == []
    assert play.state.paused_until is not None
    assert (play.state.paused_until - play.now).total_seconds() == 60
    play.resume()
    assert play.in_flight() == [2]


def test_pause_holds_also_where_the_lost_node_was_the_only_one() -> None:
    play = deploying(1, {"onNodeLost": "pause"})
    play.lose(1)
    assert play.status() is DeploymentStatus.PAUSED
    play.resume()
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == (
        "not one node succeeded: qa-1: the node stayed silent for nodeLostAfter;"
        " could not be brought back: qa-1: the node stayed silent for nodeLostAfter"
    )


def test_a_second_loss_while_paused_does_not_prolong_the_pause() -> None:
    play = deploying(3, {"onNodeLost": "pause"})
    play.lose(1)
    until = play.state.paused_until
    play.wait(5)
    play.lose(2)
    assert play.state.paused_until == until
    assert play.numbers(LOST) == [1, 2]


def test_a_lost_node_is_no_failed_one() -> None:
    play = deploying(3, {"onNodeLost": "continue", "maxFailedNodes": 0})
    play.lose(1)
    play.lose(2)
    play.succeed(3)
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED


def test_losing_a_node_with_nothing_in_flight_changes_nothing() -> None:
    play = deploying(3)
    play.succeed(1)
    before = play.state
    play.lose(1)
    play.lose(99)
    assert play.state == before


def test_before_the_lane_no_node_can_be_lost() -> None:
    play = Play()
    before = play.state
    play.lose(1)
    assert (play.state, play.last) == (before, ())


def test_the_answer_of_a_node_taken_for_lost_still_counts() -> None:
    play = rolling(2, 1, {"onNodeLost": "continue"})
    first = play.claim(play.on(1))
    play.lose(1)
    assert play.report(first, Outcome.UNKNOWN) == ()
    assert play.on(1).status is LOST
    play.report(first, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.SUCCEEDED


def test_a_claim_on_a_lost_node_opens_no_work() -> None:
    play = rolling(2, 1, {"onNodeLost": "continue"})
    first = play.claim(play.on(1))
    play.lose(1)
    before = play.state
    play.lose_claim(first)
    play.spend(first)
    assert play.state == before


def test_too_many_failures_stop_it_even_while_paused() -> None:
    play = deploying(2)
    first = play.claim(play.on(1))
    play.pause()
    play.report(first, Outcome.FAILED, OLD.digest, "bad")
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert not play.state.paused
    assert play.state.paused_until is None
