"""Lanes: one holder, places in order of submission, tokens that only grow (I2)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import CancelRequested
from app.orchestrator import claims, lanes, succession
from tests.integration.engine.conftest import Lab


def _token(lab: Lab, deployment: UUID) -> int | None:
    value = lab.sql("select fencing_token from deployments where id = %s", deployment)[0][0]
    return None if value is None else int(value)


def _two_of_a_lane(lab: Lab, *, nodes: int) -> tuple[UUID, UUID]:
    """1.0.0 and, submitted after it, 1.1.0 of one module in QA; neither has entered."""
    lab.nodes(lab.environment(), nodes)
    lab.release("1.0.0")
    lab.release("1.1.0")
    return lab.submit("1.0.0"), lab.submit("1.1.0")


def test_the_second_waits_for_the_first_and_is_woken_by_its_end(lab: Lab) -> None:
    first, second = _two_of_a_lane(lab, nodes=2)
    lab.enter(first)
    lab.enter(second)
    assert lab.stage_status(second, StageKind.DEPLOY) == "Waiting"
    assert lab.status(second) is DeploymentStatus.QUEUED
    assert lab.sql("select blocked_by from stages where deployment_id = %s and kind = 'Deploy'", second) == [(first,)]
    lab.published.take()
    lab.finish(first)
    assert lab.status(first) is DeploymentStatus.SUCCEEDED
    assert [(wake.deployment_id, wake.task) for wake in lab.published.take()][-1] == (second, "pipeline.deploy")
    lab.pass_stage(second, StageKind.DEPLOY)  # due at once
    lab.finish(second)
    assert lab.status(second) is DeploymentStatus.SUCCEEDED
    older, newer = _token(lab, first), _token(lab, second)
    assert older is not None
    assert newer is not None
    assert older < newer


def test_nobody_enters_while_an_earlier_one_is_still_being_scanned(lab: Lab) -> None:
    first, second = _two_of_a_lane(lab, nodes=1)
    lab.enter(second)
    assert lab.stage_status(second, StageKind.DEPLOY) == "Waiting"
    lab.enter(first)
    assert lab.stage_status(first, StageKind.DEPLOY) == "Running"


def test_many_that_enter_at_once_leave_one_holder(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    submitted = [lab.submit("1.0.0", force=True) for _ in range(5)]
    for deployment in submitted:
        lab.pass_stage(deployment, StageKind.SCAN)
    together = threading.Barrier(5)

    def enter(deployment: UUID) -> None:
        stage = lab.stage(deployment, StageKind.DEPLOY)
        claimed = claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage)
        assert claimed is not None
        together.wait()
        lanes.enter(lab.orchestrator, claimed)

    threads = [threading.Thread(target=enter, args=(deployment,)) for deployment in submitted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lab.sql("select id from deployments where granted") == [(submitted[0],)]
    assert lab.sql("select holder from lanes") == [(submitted[0],)]


def test_one_that_waits_for_a_date_is_overtaken_and_superseded(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.release("1.1.0")
    later = datetime.now(UTC) + timedelta(hours=1)
    scheduled = lab.submit("1.0.0", not_before=later)
    lab.enter(scheduled)
    assert lab.status(scheduled) is DeploymentStatus.SCHEDULED
    overtaking = lab.roll_out("1.1.0")
    lab.sql("update deployments set not_before = hotswap_now() where id = %s", scheduled)
    lab.enter(scheduled)
    assert lab.status(scheduled) is DeploymentStatus.SUPERSEDED
    assert lab.status(overtaking) is DeploymentStatus.SUCCEEDED


def test_with_overtaken_run_it_runs_all_the_same(lab: Lab) -> None:
    lab.nodes(lab.environment(overtaken="run"), 1)
    lab.release("1.0.0")
    lab.release("1.1.0")
    scheduled = lab.submit("1.0.0", not_before=datetime.now(UTC) + timedelta(hours=1))
    lab.enter(scheduled)
    lab.roll_out("1.1.0")
    lab.sql("update deployments set not_before = hotswap_now() where id = %s", scheduled)
    lab.enter(scheduled)
    lab.finish(scheduled)
    assert lab.desired() == {"qa-0": "1.0.0"}


def test_supersede_ends_those_that_still_wait(lab: Lab) -> None:
    lab.nodes(lab.environment(supersede=True), 1)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        lab.release(version)
    first, second, third = (lab.submit(version) for version in ("1.0.0", "1.1.0", "1.2.0"))
    # All three stand in the line before anybody enters: only the newest has a reason to run.
    lab.enter(first)
    lab.enter(second)
    assert lab.status(first) is DeploymentStatus.SUPERSEDED
    assert lab.status(second) is DeploymentStatus.SUPERSEDED
    assert lab.sql("select superseded_by from deployments where id = %s", second) == [(third,)]
    lab.enter(third)
    lab.finish(third)
    assert lab.desired() == {"qa-0": "1.2.0"}


def test_a_rollback_goes_first_and_supersedes_nobody(lab: Lab) -> None:
    lab.nodes(lab.environment(), 2)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        lab.release(version)
    lab.roll_out("1.0.0")
    bad = lab.roll_out("1.1.0")
    waiting = lab.submit("1.2.0")
    lab.pass_stage(waiting, StageKind.SCAN)
    accepted = succession.rollback(lab.orchestrator, lab.requester, bad, preempt=False, trace_id="t")
    assert accepted.nodes_affected == 2
    lab.enter(waiting)
    assert lab.stage_status(waiting, StageKind.DEPLOY) == "Waiting"
    lab.published.take()
    lab.make_due(accepted.rollback_id)
    lab.pass_stage(accepted.rollback_id, StageKind.DEPLOY)
    assert {wake.queue for wake in lab.published.take()} == {"urgent"}
    lab.finish(accepted.rollback_id)
    assert lab.desired() == {"qa-0": "1.0.0", "qa-1": "1.0.0"}
    lab.enter(waiting)
    lab.finish(waiting)
    assert lab.desired() == {"qa-0": "1.2.0", "qa-1": "1.2.0"}


def test_preempt_cancels_the_holder_which_goes_back_first(lab: Lab) -> None:
    lab.nodes(lab.environment(maxConcurrentNodes=1), 2)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        lab.release(version)
    lab.roll_out("1.0.0")
    second = lab.roll_out("1.1.0")
    holder = lab.submit("1.2.0")
    lab.enter(holder)
    lab.operate(holder, lab.claimable_operations(holder)[0])
    rollback = succession.rollback(lab.orchestrator, lab.requester, second, preempt=True, trace_id="t").rollback_id
    assert lab.status(holder) is DeploymentStatus.CANCELLING
    lab.make_due(rollback)
    lab.pass_stage(rollback, StageKind.DEPLOY)
    assert lab.stage_status(rollback, StageKind.DEPLOY) == "Waiting"
    lab.run_operations(holder)
    assert lab.status(holder) is DeploymentStatus.CANCELLED
    lab.pass_stage(rollback, StageKind.DEPLOY)
    lab.finish(rollback)
    assert lab.desired() == {"qa-0": "1.0.0", "qa-1": "1.0.0"}


def test_preempting_a_rollback_leaves_what_it_has_brought_back(lab: Lab) -> None:
    lab.nodes(lab.environment(maxConcurrentNodes=1), 2)
    for version in ("1.0.0", "1.1.0"):
        lab.release(version)
    lab.roll_out("1.0.0")
    bad = lab.roll_out("1.1.0")
    first = succession.rollback(lab.orchestrator, lab.requester, bad, preempt=False, trace_id="t").rollback_id
    lab.make_due(first)
    lab.pass_stage(first, StageKind.DEPLOY)
    lab.operate(first, lab.claimable_operations(first)[0])
    succession.rollback(lab.orchestrator, lab.requester, bad, preempt=True, trace_id="t")
    assert lab.status(first) is DeploymentStatus.CANCELLED
    assert [row[1] for row in lab.operations(first)] == ["forward", "forward"], "nothing goes to the bad release again"
    assert lab.desired() == {"qa-0": "1.0.0", "qa-1": "1.1.0"}


def test_tokens_jump_past_what_an_agent_has_seen(lab: Lab) -> None:
    """A restored backup: the sequence is behind what the fleet knows."""
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.sql("update nodes set highest_token = 5000")
    deployment = lab.submit("1.0.0")
    lab.enter(deployment)
    token = _token(lab, deployment)
    assert token is not None
    assert token > 5000
    lab.finish(deployment)
    again = lab.submit("1.0.0", force=True)
    lab.enter(again)
    assert (_token(lab, again) or 0) > token


def test_one_that_is_cancelled_before_its_lane_changes_no_desired_state(lab: Lab) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    lab.happen(deployment, CancelRequested(rollback=True, by="x"))
    assert lab.status(deployment) is DeploymentStatus.CANCELLED
    assert lab.desired() == {}
    assert lab.sql("select * from outbox") == []


def test_what_a_module_requires_is_checked_before_anything_changes(lab: Lab) -> None:
    environment = lab.environment()
    lab.nodes(environment, 1)
    lab.release("1.0.0", requires={"user-directory": ">=1.4, <3"})
    lab.release("1.3.0", module="user-directory")
    lab.release("2.0.0", module="user-directory")
    first = lab.submit("1.0.0")
    lab.enter(first)
    assert lab.status(first) is DeploymentStatus.FAILED
    lab.roll_out("1.3.0", module="user-directory")
    second = lab.submit("1.0.0")
    lab.enter(second)
    assert lab.status(second) is DeploymentStatus.FAILED
    reason = str(lab.sql("select reason from deployments where id = %s", second)[0][0])
    assert "requires user-directory >=1.4, <3, but 1.3.0 runs" in reason
    lab.roll_out("2.0.0", module="user-directory")
    lab.roll_out("1.0.0")


@pytest.mark.parametrize("row", ["stages where id", "outbox where work_id"])
def test_the_end_of_a_holder_waits_for_nobody_who_waits(lab: Lab, row: str) -> None:
    """One that is being cancelled holds rows of its own: a holder that waited for them could wait in a circle."""
    holder, waiter = _two_of_a_lane(lab, nodes=1)
    lab.enter(holder)
    lab.enter(waiter)
    with lab.orchestrator.database.raw() as connection:
        held = connection.execute(f"select 1 from {row} = %s for update", (lab.stage(waiter, StageKind.DEPLOY),))
        assert held.fetchall() == [(1,)]
        lab.run_operations(holder)
        lab.pass_stage(holder, StageKind.VALIDATION)
    assert lab.status(holder) is DeploymentStatus.SUCCEEDED
    lab.make_due(waiter)
    lab.pass_stage(waiter, StageKind.DEPLOY)
    assert _token(lab, waiter) is not None
