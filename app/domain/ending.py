"""How a deployment ends: once, with every stage ended, its lane given back and the desired state recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from app.domain.deployment import (
    Course,
    Deployment,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    StageKind,
    StageStatus,
    Version,
)
from app.domain.events import RecordDesired, ReleaseLane
from app.domain.turn import Turn


def finish(turn: Turn, status: DeploymentStatus, reason: str | None) -> None:
    """Enter a terminal state. `reason` is final: `told()` has named the nodes that are not as decided."""
    for kind in StageKind:
        end_unfinished(turn, kind, status, reason)
    if turn.state.granted:
        turn.commands.append(RecordDesired(desired(turn.state, status)))
        turn.commands.append(ReleaseLane())
    turn.state = replace(turn.state, granted=False, reason=reason)
    turn.set_status(status, reason)


def end_unfinished(turn: Turn, kind: StageKind, status: DeploymentStatus, reason: str | None) -> None:
    """End a stage that has not ended, on the way to `status`. One that was not reached says so."""
    stage = turn.state.stage(kind)
    if stage.status.ended:
        return
    begun = stage.status is not StageStatus.PENDING or stage.attempt > 0
    cancelled = begun or status in (DeploymentStatus.CANCELLED, DeploymentStatus.SUPERSEDED)
    message = "ended with the deployment" if begun else "not reached"
    turn.end_stage(
        stage,
        StageStatus.CANCELLED if cancelled else StageStatus.SKIPPED,
        f"{message}: {reason}" if reason else message,
    )


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


def told(state: Deployment, status: DeploymentStatus, reason: str | None) -> str | None:
    """`reason`, and after it every node that does not provably run what is desired there (I5), each with its reason."""
    stranded = not_brought_back(state) if state.course is Course.BACK else []
    wanted = desired(state, status)
    others = [
        operation
        for operation in state.latest_by_node().values()
        if operation not in stranded and not _settled(operation, wanted[operation.node_id])
    ]
    parts = [
        reason,
        f"could not be brought back: {named(stranded)}" if stranded else None,
        f"without {named(others)}" if others else None,
    ]
    return "; ".join(part for part in parts if part) or None


def not_brought_back(state: Deployment) -> list[NodeOperation]:
    """The nodes this deployment touched of which nobody can say that they are back, each by its latest operation."""
    return [
        operation
        for operation in state.latest_by_node().values()
        if operation.status is OperationStatus.LOST
        or (
            operation.direction is Direction.BACK
            and operation.status is not OperationStatus.SUCCEEDED
            and not operation.runs(operation.target)
        )
    ]


def _settled(operation: NodeOperation, wanted: Version | None) -> bool:
    in_doubt = operation.status is OperationStatus.LOST or operation.passed_over()
    return not in_doubt and operation.runs(wanted)


def named(operations: Iterable[NodeOperation]) -> str:
    """Each node with its reason."""
    return "; ".join(f"{operation.node_name}: {operation.error or _shown(operation)}" for operation in operations)


def _shown(operation: NodeOperation) -> str:
    return f"runs {operation.active or 'nothing'}"
