"""Taking the lane: whether it may begin with the nodes of now, and which waves they make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.deployment import UNKNOWN, DeploymentStatus, OperationStatus, StageKind, StageStatus, WaitingKind
from app.domain.events import GrantLane, LaneBusy, NodeFact
from tests.unit.domain.play import NEW, OLD, OTHER, Play, node, nodes

DEPLOY = StageKind.DEPLOY
SKIPPED = OperationStatus.SKIPPED


def offered(facts: list[NodeFact], policy: dict[str, Any] | None = None, unmet: str | None = None, **more: Any) -> Play:
    play = Play({"strategy": "direct", **(policy or {})}, **more)
    play.run_stage(StageKind.SCAN)
    play.offer_lane(facts, unmet)
    return play


def away(number: int, why: str | None = "not heard from for 12s") -> NodeFact:
    return replace(node(number), available=False, why=why)


def drained(number: int, active: Any = OLD) -> NodeFact:
    return replace(node(number, active), drained=True)


def refused(play: Play) -> str:
    """The reason, once it is sure that nothing was granted, recorded or touched."""
    assert play.status() is DeploymentStatus.FAILED
    assert play.stage(DEPLOY).status is StageStatus.FAILED
    assert play.grants() == play.releases() == 0
    assert not play.state.operations
    assert play.state.reason == f"Deploy to QA failed: {play.stage(DEPLOY).message}"
    return play.stage(DEPLOY).message or ""


def test_the_lane_is_taken_and_the_waves_are_planned_from_the_nodes_of_now() -> None:
    play = offered(nodes(3))
    assert isinstance(play.last[0], GrantLane) or isinstance(play.last[1], GrantLane)
    assert play.grants() == 1
    assert play.status() is DeploymentStatus.RUNNING
    stage = play.stage(DEPLOY)
    assert (stage.status, stage.claimable, stage.waiting, stage.due_at) == (StageStatus.RUNNING, False, None, None)
    assert play.emitted("deployment.planned")[0].body == {"waves": [["qa-1", "qa-2", "qa-3"]], "skipped": []}
    first = play.on(1)
    assert (first.before, first.target, first.active, first.wave, first.tries) == (OLD, NEW, OLD.digest, 0, 1)


def test_what_was_decided_and_not_what_runs_is_what_it_would_go_back_to() -> None:
    play = offered([node(1, OTHER, desired=OLD), node(2, OTHER, desired=None), node(3, None)])
    assert [play.on(number).before for number in (1, 2, 3)] == [OLD, OTHER, None]
    assert [play.on(number).active for number in (1, 2, 3)] == [OTHER.digest, OTHER.digest, None]


def test_without_nodes_it_fails() -> None:
    assert refused(offered([])) == "QA has no nodes, or none that matches the module's placement"


def test_unmet_requirements_refuse_it() -> None:
    assert refused(offered(nodes(2), unmet="needs user-directory >=1.4")) == "needs user-directory >=1.4"


def test_unmet_requirements_are_not_waited_for() -> None:
    play = offered([away(1)], {"unavailableNodes": "wait"}, unmet="needs user-directory")
    assert refused(play) == "needs user-directory"


def test_skip_passes_over_and_names_what_is_away_or_drained() -> None:
    play = offered([*nodes(4), away(5), drained(6), node(7, NEW)], {"maxConcurrentNodes": 1})
    assert play.numbers(SKIPPED) == [5, 6, 7]
    assert [play.on(number).error for number in (5, 6, 7)] == ["not heard from for 12s", "drained", "already runs it"]
    assert [play.on(number).active for number in (5, 6, 7)] == [UNKNOWN, UNKNOWN, NEW.digest]
    assert play.emitted("deployment.planned")[0].body["skipped"] == ["qa-5", "qa-6", "qa-7"]
    for number in (1, 2, 3, 4):
        play.succeed(number)
    assert play.stage(DEPLOY).message == "without qa-5: not heard from for 12s; qa-6: drained"
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "without qa-5: not heard from for 12s; qa-6: drained"
    assert play.desired() == dict.fromkeys(range(1, 8), NEW)


def test_what_is_passed_over_stands_in_the_last_wave() -> None:
    play = offered([*nodes(3), drained(4)], {"strategy": "rolling", "rolling": {"batch": 1}})
    assert play.on(4).wave == 2
    assert offered([node(1, NEW)]).on(1).wave == 0


def test_a_node_without_a_reason_is_unavailable() -> None:
    play = offered([*nodes(4), away(5, None)])
    assert play.on(5).error == "unavailable"


def test_fail_refuses_when_one_is_away_but_not_when_one_is_drained() -> None:
    play = offered([*nodes(9), away(10)], {"unavailableNodes": "fail"})
    assert refused(play) == "1 of 10 nodes are unavailable: qa-10 (not heard from for 12s)"
    assert offered([node(1), drained(2)], {"unavailableNodes": "fail"}).grants() == 1


def test_wait_waits_for_what_is_away_without_the_lane() -> None:
    play = offered([node(1), away(2), away(3, None), drained(4)], {"unavailableNodes": "wait"})
    stage = play.stage(DEPLOY)
    assert (stage.status, stage.waiting, stage.claimable) == (StageStatus.WAITING, WaitingKind.NODES, True)
    assert stage.message == "waits for qa-2 (not heard from for 12s), qa-3 (unavailable)"
    assert stage.due_at is not None
    assert (stage.due_at - play.now).total_seconds() == 2
    assert play.grants() == 0
    assert play.status() is DeploymentStatus.QUEUED
    play.offer_lane([node(1), node(2), node(3), drained(4)])
    assert play.grants() == 1
    assert (play.stage(DEPLOY).waiting, play.stage(DEPLOY).due_at) == (None, None)
    assert play.status() is DeploymentStatus.RUNNING
    assert play.stage(DEPLOY).message is None


@pytest.mark.parametrize(("total", "most"), [(1, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_max_unavailable_at_start_is_rounded_up(total: int, most: int) -> None:
    def play(missing: int) -> Play:
        return offered([*nodes(total - missing), *(away(number) for number in range(total - missing + 1, total + 1))])

    if most < total:
        assert play(most).grants() == 1
        assert play(most + 1).grants() == 0


def test_to_wait_is_told() -> None:
    """It was running its scan; now it stands in line again."""
    play = Play({"unavailableNodes": "wait"})
    play.state = replace(play.state, status=DeploymentStatus.RUNNING)
    play.run_stage(StageKind.SCAN)
    play.offer_lane([away(1)])
    assert play.emitted("deployment.queued")[0].body == {"reason": "waits for qa-1 (not heard from for 12s)"}
    stage = play.claim_stage(DEPLOY)
    play.state = replace(play.state, status=DeploymentStatus.RUNNING)
    play.send(LaneBusy(stage.id, stage.attempt, play.now, "held by 42", None))
    assert play.emitted("deployment.queued")[1].body == {"reason": "held by 42"}


def test_more_than_max_unavailable_at_start_is_refused_and_names_ten() -> None:
    play = offered([node(1), *(away(number, None) for number in range(2, 14))])
    names = ", ".join(f"qa-{number} (unavailable)" for number in range(2, 12))
    assert refused(play) == f"12 of 13 nodes are unavailable, more than maxUnavailableAtStart (20%): {names} and 2 more"


def test_ten_are_named_without_more() -> None:
    play = offered([node(1), *(away(number, None) for number in range(2, 12))], {"maxUnavailableAtStart": 0})
    assert refused(play).endswith(", qa-11 (unavailable)")


def test_max_unavailable_at_start_may_be_a_number_and_does_not_count_drained_nodes() -> None:
    facts = [node(1), away(2), away(3), drained(4)]
    assert offered(facts, {"maxUnavailableAtStart": 2}).grants() == 1
    assert offered(facts, {"maxUnavailableAtStart": 1}).grants() == 0


def test_with_nobody_who_can_take_it_nothing_begins() -> None:
    play = offered([drained(1), away(2)], {"maxUnavailableAtStart": "100%"})
    assert refused(play) == "none of 2 nodes can take it: qa-1 (drained), qa-2 (not heard from for 12s)"


def test_a_release_that_runs_everywhere_changes_nothing() -> None:
    play = offered([node(1, NEW), node(2, NEW)])
    assert not play.in_flight()
    assert play.stage(DEPLOY).status is StageStatus.SUCCEEDED
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.state.reason == "nothing to change: it already runs on every node"
    assert play.stage(DEPLOY).message == "nothing to change: it already runs on every node"
    assert play.desired() == {1: NEW, 2: NEW}


def test_where_somebody_is_away_it_says_so() -> None:
    play = offered([node(1, NEW), drained(2, NEW)])
    play.run_stage(StageKind.VALIDATION)
    assert play.state.reason == "nothing to change on the nodes that are available; without qa-2: drained"
    assert play.stage(DEPLOY).message == play.state.reason


def test_force_changes_what_runs_already() -> None:
    play = offered([node(1, NEW), node(2), drained(3, NEW)], force=True)
    assert play.in_flight() == [1, 2]
    play.succeed(1)
    play.succeed(2)
    assert play.on(1).changed is False
    assert play.stage(DEPLOY).message == "without qa-3: drained"


def rolling(minimum: Any, strategy: str = "rolling") -> dict[str, Any]:
    return {"strategy": strategy, "rolling": {"minInService": minimum}}


def test_min_in_service_that_leaves_nobody_is_refused() -> None:
    play = offered([node(1), node(2), drained(3)], rolling(2))
    assert refused(play) == "minInService (2) leaves no node that may be changed: 2 of 3 are in service"
    assert offered([node(1), node(2), drained(3)], rolling(1)).in_flight() == [1]


def test_min_in_service_is_a_share_of_all_nodes_rounded_up() -> None:
    assert offered([node(1), node(2), drained(3)], rolling("50%")).grants() == 0
    assert offered([node(1), node(2), drained(3)], rolling("33%")).grants() == 1
    assert offered([node(1), node(2), drained(3)], rolling("34%")).grants() == 0


def test_min_in_service_matters_only_where_something_changes() -> None:
    assert offered([node(1, NEW), node(2, NEW)], rolling(2)).state.reason is None
    assert offered([node(1, NEW), node(2, NEW)], rolling(2)).grants() == 1


def test_min_in_service_is_rollings_own() -> None:
    play = offered([node(1), node(2)], rolling(2, strategy="direct"))
    assert play.in_flight() == [1, 2]


def test_losses_of_earlier_claims_are_forgotten_once_it_was_answered() -> None:
    play = Play({"strategy": "direct"})
    play.run_stage(StageKind.SCAN)
    for _ in range(4):
        play.lose_claim(play.claim_stage(DEPLOY), poison=True)
        play.lose_claim(play.claim_stage(DEPLOY), poison=True)
        stage = play.claim_stage(DEPLOY)
        play.send(LaneBusy(stage.id, stage.attempt, play.now, "busy", None))
    assert play.status() is DeploymentStatus.QUEUED
    assert play.stage(DEPLOY).losses == 0
