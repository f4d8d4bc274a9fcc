"""Claims that end without a report: lost ones, poison, and budgets."""

from __future__ import annotations

from datetime import timedelta

from app.domain.deployment import DeploymentStatus, OperationStatus, StageKind, StageStatus
from app.domain.events import ClaimEnded, Dispatch, Outcome
from tests.unit.domain.play import NEW, Play, deploying

SCAN = StageKind.SCAN
DISPATCHED, RESOLVING = OperationStatus.DISPATCHED, OperationStatus.RESOLVING


def test_a_stage_whose_claim_was_lost_is_open_work_again() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.lose_claim(stage)
    again = play.stage(SCAN)
    assert (again.status, again.claimable, again.due_at, again.losses) == (StageStatus.PENDING, True, None, 0)
    assert play.last[-1] == Dispatch(stage.id)
    assert play.emitted("stage.claimLost")[0].body == {
        "stage": "Security Scan",
        "attempt": 1,
        "reason": "its process died",
    }
    assert play.claim_stage(SCAN).attempt == 2


def test_a_stage_that_killed_three_processes_is_not_tried_a_fourth_time() -> None:
    play = Play()
    for _ in range(2):
        play.lose_claim(play.claim_stage(SCAN), poison=True)
    assert play.stage(SCAN).claimable
    play.lose_claim(play.claim_stage(SCAN), poison=True)
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == "Security Scan failed: its process died 3 times under it"
    assert play.stage(SCAN).losses == 3


def test_losses_that_are_nobodys_fault_are_not_counted() -> None:
    play = Play()
    for _ in range(9):
        play.lose_claim(play.claim_stage(SCAN))
    play.lose_claim(play.claim_stage(SCAN), poison=True)
    play.lose_claim(play.claim_stage(SCAN), poison=True)
    play.lose_claim(play.claim_stage(SCAN))
    assert play.stage(SCAN).claimable
    assert play.stage(SCAN).losses == 2


def test_a_claim_can_be_lost_once() -> None:
    play = Play()
    stage = play.claim_stage(SCAN)
    play.lose_claim(stage, poison=True)
    before = play.state
    play.lose_claim(stage, poison=True)
    assert play.state == before
    assert play.stale()[0].reason == "not claimed"


def test_an_operation_whose_claim_was_lost_goes_on_under_the_same_id() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.lose_claim(first)
    again = play.on(1)
    assert (again.id, again.status, again.claimable, again.attempt) == (first.id, DISPATCHED, True, 1)
    assert play.emitted("operation.claimLost")[0].body == {
        "operationId": str(first.id),
        "node": "qa-1",
        "attempt": 1,
        "reason": "its process died",
    }
    second = play.claim(again)
    play.report(second, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.SUCCEEDED


def test_a_late_report_of_a_lost_claim_is_refused() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.lose_claim(first)
    play.report(first, Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is DISPATCHED
    assert play.stale()[0].reason == "not claimed"


def test_an_operation_that_killed_three_processes_is_given_up() -> None:
    play = deploying(1)
    for _ in range(2):
        play.lose_claim(play.claim(play.on(1)), poison=True)
        assert play.on(1).status is DISPATCHED
    play.lose_claim(play.claim(play.on(1)), poison=True)
    assert (play.on(1).status, play.on(1).due_at) == (RESOLVING, None)
    assert play.on(1).error == "its process died 3 times under it"
    play.report(play.claim(play.on(1)), Outcome.VOID)
    assert play.status() is DeploymentStatus.ROLLED_BACK
    assert [operation.status for operation in play.state.operations] == [OperationStatus.FAILED]


def test_what_survived_poison_on_the_node_is_a_success() -> None:
    play = deploying(1)
    for _ in range(3):
        play.lose_claim(play.claim(play.on(1)), poison=True)
    play.report(play.claim(play.on(1)), Outcome.SUCCEEDED, NEW.digest)
    assert play.on(1).status is OperationStatus.SUCCEEDED


def test_a_resolve_is_never_given_up_only_asked_more_slowly() -> None:
    play = deploying(1)
    for _ in range(3):
        play.lose_claim(play.claim(play.on(1)), poison=True)
    waits = []
    for _ in range(7):
        play.lose_claim(play.claim(play.on(1)), poison=True)
        due_at = play.on(1).due_at
        waits.append(due_at and (due_at - play.now).total_seconds())
        assert play.on(1).status is RESOLVING
    assert waits == [2, 4, 8, 16, 32, 32, 32]


def test_a_resolve_whose_claim_was_lost_by_nobodys_fault_is_asked_at_once() -> None:
    play = deploying(1)
    play.report(play.claim(play.on(1)), Outcome.UNKNOWN, error="timed out")
    for _ in range(5):
        play.lose_claim(play.claim(play.on(1)))
        assert (play.on(1).status, play.on(1).due_at, play.on(1).claimable) == (RESOLVING, None, True)
    assert play.on(1).error == "timed out"


def test_a_resolve_after_poison_that_lost_its_claim_by_nobodys_fault_is_asked_at_once() -> None:
    play = deploying(1)
    for _ in range(3):
        play.lose_claim(play.claim(play.on(1)), poison=True)
    play.lose_claim(play.claim(play.on(1)))
    assert (play.on(1).status, play.on(1).due_at, play.on(1).losses) == (RESOLVING, None, 3)


def test_another_try_starts_with_no_losses() -> None:
    play = deploying(1)
    for _ in range(2):
        play.lose_claim(play.claim(play.on(1)), poison=True)
    play.report(play.claim(play.on(1)), Outcome.VOID)
    assert (play.on(1).tries, play.on(1).losses) == (2, 0)


def test_a_claim_found_lost_after_its_operation_was_given_up_changes_nothing() -> None:
    play = deploying(2)
    first = play.claim(play.on(1))
    play.cancel()
    before = play.state
    play.lose_claim(first, poison=True)
    play.spend(first)
    assert play.state == before


def test_a_budget_that_is_spent_fails_the_stage() -> None:
    play = Play()
    play.spend(play.claim_stage(SCAN))
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == "Security Scan failed: took longer than its execution budget"


def test_a_budget_that_is_spent_gives_the_operation_up() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.spend(first)
    assert (play.on(1).status, play.on(1).due_at) == (RESOLVING, None)
    assert play.on(1).error == "took longer than its execution budget"
    second = play.claim(play.on(1))
    play.spend(second)
    due_at = play.on(1).due_at
    assert due_at is not None
    assert (due_at - play.now).total_seconds() == 1
    assert play.on(1).status is RESOLVING


def test_an_old_budget_changes_nothing() -> None:
    play = deploying(1)
    first = play.claim(play.on(1))
    play.lose_claim(first)
    before = play.state
    play.spend(first)
    assert play.state == before
    play.claim(play.on(1))
    before = play.state
    play.spend(first)
    assert play.state == before
    stage = play.stage(SCAN)
    play.spend(stage)
    play.lose_claim(stage)
    assert play.state == before


def test_what_fails_by_itself_is_tried_again_after_two_and_four_seconds() -> None:
    """A short fault of the artifact store, say; what lost its process is open again at once."""
    play = Play()
    for seconds in (2, 4):
        stage = play.claim_stage(StageKind.SCAN)
        play.send(ClaimEnded(stage.id, stage.attempt, poison=True, why="PermissionError: artifacts"))
        assert play.stage(StageKind.SCAN).due_at == play.now + timedelta(seconds=seconds)
        play.wait(seconds)
    stage = play.claim_stage(StageKind.SCAN)
    play.send(ClaimEnded(stage.id, stage.attempt, poison=True, why="PermissionError: artifacts"))
    assert play.state.reason == "Security Scan failed: failed 3 times: PermissionError: artifacts"
