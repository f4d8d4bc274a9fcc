"""What runs where, also where not all nodes of an environment are to run the same."""

from __future__ import annotations

from app.domain.deployment import DeploymentStatus
from app.domain.events import CancelRequested
from app.orchestrator.status import placements
from tests.integration.engine.conftest import Lab


def left_in_the_middle(lab: Lab, version: str, nodes: int) -> None:
    """Of a deployment that is cancelled after so many nodes, and stays there."""
    deployment = lab.submit(version)
    lab.enter(deployment)
    assert lab.run_operations(deployment, limit=nodes) == nodes
    lab.happen(deployment, CancelRequested(rollback=False, by="dora"))
    lab.run_operations(deployment)
    assert lab.status(deployment) is DeploymentStatus.CANCELLED


def test_a_mixed_fleet_is_told_as_what_it_is(lab: Lab) -> None:
    lab.nodes(lab.environment(maxConcurrentNodes=1, rolling={"batch": 1}), 5)
    for version in ("1.9.0", "1.12.0"):
        lab.release(version)
    lab.roll_out("1.9.0")
    (placement,) = placements(lab.orchestrator, lab.requester)
    assert (placement.version, placement.versions) == ("1.9.0", [{"version": "1.9.0", "nodes": 5}])
    left_in_the_middle(lab, "1.12.0", 2)
    (placement,) = placements(lab.orchestrator, lab.requester)
    assert placement.versions == [{"version": "1.9.0", "nodes": 3}, {"version": "1.12.0", "nodes": 2}]
    assert (placement.version, placement.deployed_by) == ("1.9.0", "dora")


def test_who_was_ended_half_way_brought_what_most_nodes_run(lab: Lab) -> None:
    lab.nodes(lab.environment(maxConcurrentNodes=1, rolling={"batch": 1}), 3)
    for version in ("1.9.0", "1.12.0"):
        lab.release(version)
    lab.roll_out("1.9.0")
    left_in_the_middle(lab, "1.12.0", 2)
    (placement,) = placements(lab.orchestrator, lab.requester)
    assert (placement.version, placement.previous_version, placement.deployed_by) == ("1.12.0", "1.9.0", "dora")
