"""The six stages, and the order in which they become open work."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from app.domain.deployment import DeploymentKind, DeploymentStatus, StageKind, StageStatus, WaitingKind
from app.domain.events import ApprovalGiven, Dispatch, StageReported
from app.domain.pipeline import Decision, decide, plan, start
from app.domain.policy import Policy
from tests.unit.domain.play import START, Play, ids, submitted

BUILD, SCAN, TEST, APPROVAL, DEPLOY, VALIDATION = StageKind


def skipped(
    kind: DeploymentKind, *, builds: bool = False, tests: bool = False, approvals: bool = False
) -> set[StageKind]:
    planned = plan(kind, builds=builds, tests=tests, approvals=approvals)
    assert [stage.kind for stage in planned] == list(StageKind)
    return {stage.kind for stage in planned if stage.skipped}


def test_a_plan_has_all_six_stages_and_says_why_one_does_not_apply() -> None:
    reasons = {
        stage.kind: stage.skipped for stage in plan(DeploymentKind.DEPLOY, builds=False, tests=False, approvals=False)
    }
    assert reasons == {
        BUILD: "the release has nothing to build",
        SCAN: None,
        TEST: "the release has no tests",
        APPROVAL: "nothing asks for an approval",
        DEPLOY: None,
        VALIDATION: None,
    }


def test_what_is_asked_for_is_not_skipped() -> None:
    assert skipped(DeploymentKind.DEPLOY, builds=True, tests=True, approvals=True) == set()
    assert skipped(DeploymentKind.DEPLOY, builds=True) == {TEST, APPROVAL}
    assert skipped(DeploymentKind.DEPLOY, tests=True) == {BUILD, APPROVAL}
    assert skipped(DeploymentKind.DEPLOY, approvals=True) == {BUILD, TEST}


def test_a_rollback_and_a_repair_skip_all_before_the_lane_and_say_why() -> None:
    for kind, why in (
        (DeploymentKind.ROLLBACK, "going back to what ran before"),
        (DeploymentKind.SYSTEM, "brings nodes to desired state"),
    ):
        planned = plan(kind, builds=True, tests=True, approvals=True)
        assert [stage.skipped for stage in planned] == [why, why, why, why, None, None]


def test_the_lane_waits_for_the_scan_where_no_approval_is_asked_for() -> None:
    play = Play()
    assert [stage.kind for stage in play.state.stages if stage.claimable] == [SCAN]
    play.run_stage(SCAN)
    assert [stage.kind for stage in play.state.stages if stage.claimable] == [DEPLOY]


def test_the_lane_waits_for_whatever_was_planned() -> None:
    each: list[tuple[dict[str, Any], StageKind]] = [({"builds": True}, BUILD), ({"tests": True}, TEST)]
    for asked, last in [*each, ({"approvals": True}, APPROVAL)]:
        play = Play(**asked)
        for kind in (BUILD, SCAN, TEST, APPROVAL):
            if kind is not last and play.stage(kind).claimable:
                play.run_stage(kind)
        assert not play.stage(DEPLOY).claimable
        if last is APPROVAL:
            play.send(ApprovalGiven("bob", own=False))
        else:
            play.run_stage(last)
        if last is BUILD:
            assert not play.stage(DEPLOY).claimable
            play.run_stage(SCAN)  # of what was built
        assert play.stage(DEPLOY).claimable


def test_a_rollback_wants_its_lane_at_once() -> None:
    play = Play(kind=DeploymentKind.ROLLBACK)
    assert [stage.kind for stage in play.state.stages if stage.claimable] == [DEPLOY]


def whole() -> Decision:
    """A deployment in which all six stages apply."""
    new_id = ids()
    state = submitted(Policy(), new_id, builds=True, tests=True, approvals=True)
    return start(state, START, new_id)


def reported(decision: Decision, kind: StageKind, succeeded: bool = True) -> Decision:
    stage = decision.state.stage(kind)
    assert stage.claimable
    play = Play.of(decision)
    claimed = play.claim_stage(kind)
    return decide(play.state, StageReported(claimed.id, claimed.attempt, succeeded, "as reported"), START, ids())


def open_stages(decision: Decision) -> list[StageKind]:
    return [stage.kind for stage in decision.state.stages if stage.claimable]


def test_the_first_event_tells_what_was_submitted() -> None:
    play = Play()
    assert play.emitted("deployment.submitted")[0].body == {"version": "1.1.0", "environment": "QA"}


def test_build_and_scan_run_side_by_side_and_each_is_dispatched_once() -> None:
    decision = whole()
    assert open_stages(decision) == [BUILD, SCAN]
    dispatched = [command.work_id for command in decision.commands if isinstance(command, Dispatch)]
    assert dispatched == [decision.state.stage(BUILD).id, decision.state.stage(SCAN).id]


def test_test_follows_build_and_the_gate_waits_for_all_three_in_any_order() -> None:
    decision = reported(whole(), BUILD)
    assert open_stages(decision) == [SCAN, TEST]
    scanned = reported(decision, SCAN)
    by_scan_last = reported(reported(scanned, TEST), SCAN)
    by_test_last = reported(reported(scanned, SCAN), TEST)
    assert open_stages(reported(decision, TEST)) == [SCAN]
    assert open_stages(scanned) == [SCAN, TEST]  # what was built is looked through, too
    assert open_stages(reported(scanned, SCAN)) == [TEST]
    for each in (by_scan_last, by_test_last):
        assert (open_stages(each), each.state.stage(APPROVAL).status) == ([], StageStatus.WAITING)
    assert open_stages(decide(by_scan_last.state, ApprovalGiven("bob", own=False), START, ids())) == [DEPLOY]


def test_the_scan_of_what_is_built_waits_for_the_build() -> None:
    decision = reported(whole(), SCAN)
    scan = decision.state.stage(SCAN)
    assert (scan.status, scan.waiting, scan.step, scan.steps) == (StageStatus.WAITING, WaitingKind.BUILD, 2, 2)
    assert not scan.claimable
    built = reported(decision, BUILD)
    again = built.state.stage(SCAN)
    assert (again.status, again.waiting, again.step, again.claimable) == (StageStatus.PENDING, None, 2, True)
    assert Dispatch(again.id) in built.commands
    ended = reported(built, SCAN).state.stage(SCAN)
    assert (ended.status, ended.attempt) == (StageStatus.SUCCEEDED, 2)


def test_a_lost_claim_of_the_second_step_is_of_that_step() -> None:
    play = Play.of(reported(reported(whole(), SCAN), BUILD))
    scan = play.claim_stage(SCAN)
    play.lose_claim(scan, poison=True)
    assert (play.stage(SCAN).step, play.stage(SCAN).claimable, play.stage(SCAN).losses) == (2, True, 1)
    play.run_stage(SCAN, succeeded=False, message="a secret")
    assert play.state.reason == "Security Scan failed: a secret"


def test_what_was_built_before_is_looked_through_at_once() -> None:
    run, other = uuid4(), uuid4()
    planned = plan(DeploymentKind.DEPLOY, builds=True, tests=True, approvals=False, built_in=run, tested_in=other)
    assert [each.skipped for each in planned[:3]] == [
        f"built before, in deployment {run}",
        None,
        f"tested before, in deployment {other}",
    ]
    assert [each.reuses for each in planned] == [run, None, other, None, None, None]
    assert [each.steps for each in planned] == [1, 2, 1, 1, 1, 1]
    play = Play(builds=True, tests=True, built_in=run, tested_in=other)
    play.run_stage(SCAN)
    assert (play.stage(SCAN).step, play.stage(SCAN).claimable) == (2, True)
    assert not play.stage(DEPLOY).claimable
    play.run_stage(SCAN)
    assert play.stage(DEPLOY).claimable


def test_a_failed_stage_ends_it_and_the_others_say_how_far_they_came() -> None:
    decision = whole()
    play = Play.of(decision)
    play.claim_stage(BUILD)
    play.run_stage(SCAN, succeeded=False, message="signature does not match")
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == "Security Scan failed: signature does not match"
    assert [(stage.kind, stage.status) for stage in play.state.stages] == [
        (BUILD, StageStatus.CANCELLED),
        (SCAN, StageStatus.FAILED),
        (TEST, StageStatus.SKIPPED),
        (APPROVAL, StageStatus.SKIPPED),
        (DEPLOY, StageStatus.SKIPPED),
        (VALIDATION, StageStatus.SKIPPED),
    ]
    assert play.stage(BUILD).message == f"ended with the deployment: {play.state.reason}"
    assert play.stage(TEST).message == f"not reached: {play.state.reason}"
    assert play.grants() == play.releases() == 0


def test_a_stage_whose_claim_was_lost_has_begun() -> None:
    play = Play.of(whole())
    build = play.claim_stage(BUILD)
    play.lose_claim(build)
    play.run_stage(SCAN, succeeded=False)
    assert play.state.reason == "Security Scan failed: failed"
    assert (play.stage(BUILD).status, play.stage(TEST).status) == (StageStatus.CANCELLED, StageStatus.SKIPPED)
    assert not play.stage(BUILD).claimable
