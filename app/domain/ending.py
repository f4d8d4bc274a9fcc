"""How a deployment ends: once, with every stage ended, its lane given back and the desired state recorded."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentStatus,
    Direction,
    OperationStatus,
    StageStatus,
    Version,
)
from app.domain.events import RecordDesired, ReleaseLane
from app.domain.turn import Turn


def finish(turn: Turn, status: DeploymentStatus, reason: str | None) -> None:
    """Enter a terminal state. The stages that were not reached say so."""
    for stage in turn.state.stages:
        if not stage.status.ended:
            begun = stage.status is StageStatus.RUNNING
            cancelled = begun or status in (DeploymentStatus.CANCELLED, DeploymentStatus.SUPERSEDED)
            turn.end_stage(
                stage,
                StageStatus.CANCELLED if cancelled else StageStatus.SKIPPED,
                ("ended with the deployment" if begun else "not reached") + (f": {reason}" if reason else ""),
            )
    if turn.state.granted:
        turn.commands.append(RecordDesired(desired(turn.state, status)))
        turn.commands.append(ReleaseLane())
    turn.state = replace(turn.state, granted=False, paused=False, paused_until=None, reason=reason)
    turn.set_status(status, reason)


def desired(state: Deployment, status: DeploymentStatus) -> dict[UUID, Version | None]:
    """What each node of the cluster should run from now on (I5).

    Succeeded: the new release, everywhere. Cancelled without going back: the new one where it was switched. Otherwise
    what was desired before the grant.
    """
    wanted: dict[UUID, Version | None] = {}
    for operation in state.operations:
        if operation.direction is Direction.BACK:
            continue
        if status is DeploymentStatus.SUCCEEDED or (
            state.course is Course.SETTLE and operation.status is OperationStatus.SUCCEEDED
        ):
            wanted[operation.node_id] = operation.target
        else:
            wanted[operation.node_id] = operation.before
    return wanted
