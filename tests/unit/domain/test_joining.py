"""Nodes that return, or are new, while a rollout is under way."""

from __future__ import annotations

from dataclasses import replace

from app.domain.deployment import DeploymentStatus, OperationStatus, StageKind, StageStatus
from app.domain.events import NodeReturned, Outcome
from tests.unit.domain.play import NEW, OLD, OTHER, Play, deploying, node, nodes, rolling

PENDING, SKIPPED, RESOLVING = OperationStatus.PENDING, OperationStatus.SKIPPED, OperationStatus.RESOLVING


def one_away(count: int, batch: int = 1, *, drained: bool = False, **policy: object) -> Play:
    """Nodes 1 to `count`, and one more that is away (or drained), named last."""
    play = Play({"strategy": "rolling", "rolling": {"batch": batch}, "maxUnavailableAtStart": "100%", **policy})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([*nodes(count), replace(node(count + 1), available=drained, drained=drained)])
    return play


def test_a_node_that_was_away_joins_after_the_last_wave() -> None:
    play = one_away(2)
    skipped = play.on(3)
    play.come_back(3)
    assert play.numbers(PENDING) == [2, 3]
    assert (play.on(3).follows, play.on(3).wave, play.on(3).before) == (skipped.id, 2, OLD)
    assert play.emitted("node.joined")[0].body == {"node": "qa-3"}
    for number in (1, 2, 3):
        assert play.in_flight() == [number]
        play.succeed(number)
    assert play.stage(StageKind.DEPLOY).message is None


def test_it_joins_the_last_wave_where_that_has_room() -> None:
    play = one_away(3, batch=2)
    assert [play.on(number).wave for number in (1, 2, 3)] == [0, 0, 1]
    play.come_back(4)
    assert play.on(4).wave == 1
    play.send(NodeReturned(node(5)))
    assert play.on(5).wave == 2
    play.send(NodeReturned(node(6)))
    assert play.on(6).wave == 2


def test_the_room_in_a_wave_is_measured_with_the_node_that_joins() -> None:
    play = rolling(4, "40%")
    assert [play.on(number).wave for number in (1, 2, 3, 4)] == [0, 0, 1, 1]
    play.send(NodeReturned(node(5)))
    assert play.on(5).wave == 2


def test_it_joins_no_wave_that_is_done() -> None:
    play = one_away(1, batch=2)
    play.pause()
    play.succeed(1)
    play.come_back(2)
    assert play.on(2).wave == 1
    play.resume()
    assert play.in_flight() == [2]


def test_under_direct_it_joins_the_one_wave() -> None:
    play = deploying(2)
    play.send(NodeReturned(node(3)))
    assert play.on(3).wave == 0
    assert play.in_flight() == [1, 2, 3]


def test_a_drained_node_joins_when_it_may_be_changed_again() -> None:
    play = one_away(1, drained=True)
    assert play.on(2).error == "drained"
    play.come_back(2, drained=True)
    assert play.numbers(SKIPPED) == [2]
    play.come_back(2)
    assert play.numbers(PENDING) == [2]


def test_a_node_that_is_still_away_does_not_join() -> None:
    play = one_away(1)
    before = play.state
    play.come_back(2, available=False)
    assert play.state == before


def test_hearing_from_a_node_again_and_again_adds_it_once() -> None:
    play = one_away(2)
    play.come_back(3)
    before = play.state
    play.come_back(3)
    play.come_back(1)
    assert play.state == before


def test_one_that_returns_with_the_release_has_nothing_to_do() -> None:
    play = one_away(1)
    play.come_back(2, NEW)
    assert (play.on(2).status, play.on(2).error, play.on(2).active) == (SKIPPED, "already runs it", NEW.digest)
    assert play.on(2).wave == 0
    before = play.state
    play.come_back(2, NEW)
    assert play.state == before
    play.succeed(1)
    assert play.stage(StageKind.DEPLOY).message is None


def test_one_that_ran_the_release_and_does_no_more_joins() -> None:
    play = Play({"strategy": "direct", "maxConcurrentNodes": 1})
    play.run_stage(StageKind.SCAN)
    play.offer_lane([node(1), node(2, NEW)])
    play.come_back(2, NEW)
    assert play.numbers(SKIPPED) == [2]
    play.come_back(2, OTHER)
    assert play.numbers(PENDING) == [2]
    assert play.on(2).active == OTHER.digest
    assert play.on(2).before == NEW


def test_what_was_decided_before_the_grant_is_kept_for_one_that_returns() -> None:
    play = one_away(1)
    play.come_back(2, OTHER, desired=OTHER)
    assert (play.on(2).before, play.on(2).active) == (OLD, OTHER.digest)


def test_a_new_node_goes_back_to_what_it_ran() -> None:
    play = deploying(1)
    play.send(NodeReturned(node(2, None)))
    assert (play.on(2).before, play.on(2).follows) == (None, None)


def test_nobody_joins_before_the_lane() -> None:
    play = Play()
    before = play.state
    play.come_back(1)
    assert play.state == before


def test_a_lost_node_that_returns_is_resolved_first() -> None:
    play = rolling(2, 1, {"onNodeLost": "continue"})
    lost = play.claim(play.on(1))
    play.lose(1)
    play.come_back(1)
    assert (play.on(1).id, play.on(1).status, play.on(1).claimable) == (lost.id, RESOLVING, True)
    assert play.on(1).error == "the node stayed silent for nodeLostAfter"
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, NEW.digest)
    assert play.numbers(OperationStatus.SUCCEEDED) == [1]
    play.succeed(2)
    assert play.stage(StageKind.DEPLOY).message is None


def test_what_was_interrupted_there_is_done_again() -> None:
    play = rolling(2, 1, {"onNodeLost": "continue"})
    play.claim(play.on(1))
    play.lose(1)
    play.come_back(1)
    play.report(play.claim(play.on(1)), Outcome.VOID, OLD.digest, "interrupted")
    play.succeed(2)
    assert play.in_flight() == [1]
    play.succeed(1)
    assert play.numbers(OperationStatus.SUCCEEDED) == [1, 2]


def test_one_too_late_for_the_waves_is_named_and_gets_its_desired_state() -> None:
    play = deploying(1)
    play.succeed(1)
    play.send(NodeReturned(node(2)))
    play.send(NodeReturned(node(2)))
    play.send(NodeReturned(replace(node(3), drained=True)))
    assert play.numbers(SKIPPED) == [2, 3]
    assert play.on(2).wave == 0
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "without qa-2: joined too late; qa-3: drained"
    assert play.desired() == {1: NEW, 2: NEW, 3: NEW}


def test_one_that_comes_while_it_goes_back_is_left_alone() -> None:
    play = deploying(2)
    play.succeed(1)
    play.fail(2)
    play.send(NodeReturned(node(3, OTHER)))
    assert play.numbers(SKIPPED) == [3]
    play.succeed(1)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert play.desired() == {1: OLD, 2: OLD, 3: OTHER}


def test_one_that_was_away_and_comes_while_it_goes_back_is_left_alone() -> None:
    play = one_away(2, batch=2)
    play.succeed(1)
    play.fail(2)
    before = play.state
    play.come_back(3)
    assert play.state == before
    play.succeed(1)
    assert play.desired() == {1: OLD, 2: OLD, 3: OLD}
    assert (play.state.reason or "").endswith("; without qa-3: unavailable")


def lost_until_validation() -> Play:
    """Node 1 was lost; it returns when everything else is done, and Validation runs."""
    play = rolling(2, 1, {"onNodeLost": "continue"})
    play.claim(play.on(1))
    play.lose(1)
    play.succeed(2)
    assert play.stage(StageKind.DEPLOY).status is StageStatus.SUCCEEDED
    play.come_back(1)
    assert play.on(1).status is RESOLVING
    return play


def test_the_end_waits_until_a_node_that_returned_is_resolved() -> None:
    play = lost_until_validation()
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.RUNNING
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, NEW.digest)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason is None


def test_after_the_waves_nothing_is_tried_anew() -> None:
    play = lost_until_validation()
    play.report(play.claim(play.on(1)), Outcome.VOID, error="interrupted")
    assert play.on(1).status is OperationStatus.FAILED
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "without qa-1: interrupted"


def test_one_lost_once_more_after_the_waves_does_not_pause_what_cannot_be_resumed() -> None:
    play = rolling(2, 1, {"onNodeLost": "pause"})
    play.claim(play.on(1))
    play.lose(1)
    play.resume()
    play.succeed(2)
    play.come_back(1)
    play.lose(1)
    assert play.status() is DeploymentStatus.RUNNING
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED


def test_what_returns_while_validation_runs_is_taken_back_when_that_fails() -> None:
    play = lost_until_validation()
    play.run_stage(StageKind.VALIDATION, succeeded=False)
    assert play.status() is DeploymentStatus.ROLLING_BACK
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, NEW.digest)
    assert play.in_flight() == [1, 2]
    play.succeed(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.ROLLED_BACK


def test_a_node_that_is_to_run_nothing_and_is_away_is_not_taken_for_done() -> None:
    """A rollback of a first release: nobody knows whether a node that is away still runs it."""
    play = Play({"strategy": "direct", "maxUnavailableAtStart": "100%"})
    play.run_stage(StageKind.SCAN)
    gone = replace(node(2, NEW), available=False, wanted=None, desired=NEW, why="silent for 20s")
    play.offer_lane([replace(node(1, NEW), wanted=None), gone])
    assert play.numbers(SKIPPED) == [2]
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, None)
    play.run_stage(StageKind.VALIDATION)
    assert play.state.reason == "without qa-2: silent for 20s"
    assert play.desired() == {1: None, 2: None}
