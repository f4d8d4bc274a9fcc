"""Rollbacks and the system's repairs: what goes wrong on one node neither stops the others nor turns anything round."""

from __future__ import annotations

import pytest

from app.domain.deployment import DeploymentKind, DeploymentStatus, Direction, OperationStatus, StageKind, StageStatus
from tests.unit.domain.play import NEW, OLD, Play, nodes

KINDS = (DeploymentKind.ROLLBACK, DeploymentKind.SYSTEM)


def _under_way(kind: DeploymentKind, count: int = 3) -> Play:
    play = Play({"strategy": "direct", "maxConcurrentNodes": 1, "onNodeLost": "continue"}, kind=kind)
    play.offer_lane(nodes(count))
    return play


@pytest.mark.parametrize("kind", KINDS)
def test_every_node_is_tried_whatever_became_of_the_others(kind: DeploymentKind) -> None:
    play = _under_way(kind)
    play.fail(1, "disk_full")
    assert play.status() is DeploymentStatus.RUNNING
    play.succeed(2)
    play.succeed(3)
    assert play.status() is DeploymentStatus.FAILED
    assert play.state.reason == "not on every node: qa-1: disk_full"
    assert play.stage(StageKind.DEPLOY).status is StageStatus.FAILED
    assert not play.numbers(OperationStatus.SUCCEEDED, direction=Direction.BACK)
    assert play.desired() == {1: OLD, 2: NEW, 3: NEW}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_node_is_named(kind: DeploymentKind) -> None:
    play = _under_way(kind, 2)
    play.lose(1)
    play.succeed(2)
    assert play.status() is DeploymentStatus.FAILED
    assert "qa-1" in (play.state.reason or "")
    assert play.desired() == {1: OLD, 2: NEW}


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_that_fails_leaves_the_nodes_where_they_are(kind: DeploymentKind) -> None:
    play = _under_way(kind, 1)
    play.succeed(1)
    play.run_stage(StageKind.VALIDATION, succeeded=False, message="500")
    assert play.status() is DeploymentStatus.FAILED
    assert play.desired() == {1: NEW}


@pytest.mark.parametrize("kind", KINDS)
def test_all_well_is_succeeded(kind: DeploymentKind) -> None:
    play = _under_way(kind, 2)
    play.succeed(1)
    play.succeed(2)
    play.run_stage(StageKind.VALIDATION)
    assert play.status() is DeploymentStatus.SUCCEEDED
    assert play.desired() == {1: NEW, 2: NEW}
