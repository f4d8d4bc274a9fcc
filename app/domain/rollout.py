"""The Deploy stage while it goes forward: planning its waves, filling its window, counting failures.

    Pending -> Dispatched -> Running -> Succeeded | Failed          (Skipped and Cancelled never reach a node)
                   |            |
                   +------------+--> Resolving -> Succeeded | Failed | Cancelled;   Lost while its node stays silent

The window: at most `maxConcurrentNodes` operations are in flight, of one wave, and never so many that fewer than
`rolling.minInService` nodes stay untouched. Each operation that ends lets in the next, in its own transaction.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain import going_back, strategies
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
from app.domain.events import GrantLane, LaneOffered, NodeFact
from app.domain.policy import OnNodeLost, UnavailableNodes
from app.domain.turn import Turn

NODE_LOST = "the node stayed silent for nodeLostAfter"


def begin(turn: Turn, offer: LaneOffered) -> str | None:
    """Take the lane and plan the waves. Returns why it cannot begin, or None.

    A refusal leaves the state as it was; nothing was granted and no node was touched.
    """
    refusal = _refusal(turn.state, offer)
    if refusal:
        return refusal
    turn.commands.append(GrantLane())
    turn.state = replace(turn.state, granted=True)
    ready = [node for node in offer.nodes if node.available and not node.drained]
    changing = [node for node in ready if turn.state.force or not _up_to_date(node)]
    planned = strategies.waves(turn.state.strategy, [node.node_id for node in changing], turn.state.policy)
    by_id = {node.node_id: node for node in changing}
    for index, wave in enumerate(planned):
        for node_id in wave:
            turn.add_operation(_operation(turn, by_id[node_id], index, OperationStatus.PENDING))
    last = max(len(planned) - 1, 0)
    for node in offer.nodes:
        if node.node_id not in by_id:
            _name_skipped(turn, node, last)
    turn.emit(
        "deployment.planned",
        waves=[[by_id[node_id].name for node_id in wave] for wave in planned],
        skipped=[node.name for node in offer.nodes if node.node_id not in by_id],
    )
    stage = turn.state.stage(StageKind.DEPLOY)
    message = None if changing else _nothing_to_change(offer)
    turn.state = turn.state.with_stage(
        replace(stage, status=StageStatus.RUNNING, claimable=False, due_at=None, waiting=None, message=message)
    )
    advance(turn)
    return None


def _refusal(state: Deployment, offer: LaneOffered) -> str | None:
    policy, total = state.policy, len(offer.nodes)
    if not total:
        return f"no node of {state.environment} matches the module's placement"
    if offer.unmet:
        return offer.unmet
    unavailable = [node for node in offer.nodes if not node.available and not node.drained]
    names = ", ".join(f"{node.name} ({node.why or 'unavailable'})" for node in unavailable[:10])
    if unavailable and policy.unavailable_nodes is UnavailableNodes.FAIL:
        return f"{len(unavailable)} of {total} nodes are unavailable: {names}"
    if len(unavailable) > policy.max_unavailable_at_start.of(total):
        return (
            f"{len(unavailable)} of {total} nodes are unavailable, more than maxUnavailableAtStart"
            f" ({policy.max_unavailable_at_start}): {names}"
        )
    minimum = policy.rolling.min_in_service
    in_service = sum(node.available and not node.drained for node in offer.nodes)
    if minimum is not None and in_service - minimum.of(total) < 1:
        return f"minInService ({minimum}) leaves no node that may be changed: {in_service} of {total} are in service"
    return None


def waits_for_nodes(state: Deployment, nodes: tuple[NodeFact, ...]) -> str | None:
    """Under `unavailableNodes: wait`, the sentence that says for whom this one waits, before it takes its lane."""
    if state.policy.unavailable_nodes is not UnavailableNodes.WAIT:
        return None
    missing = [node for node in nodes if not node.available and not node.drained]
    if not missing:
        return None
    return "waits for " + ", ".join(f"{node.name} ({node.why or 'unavailable'})" for node in missing[:10])


def _nothing_to_change(offer: LaneOffered) -> str:
    if all(node.available and not node.drained for node in offer.nodes):
        return "nothing to change: it already runs on every node"
    return "nothing to change on the nodes that are available"


def _digest(version: Version | None) -> str | None:
    return version.digest if version else None


def _up_to_date(node: NodeFact) -> bool:
    return _digest(node.active) == _digest(node.wanted)


def _missed(operation: NodeOperation) -> bool:
    """Whether a node was passed over although it does not run what is wanted there."""
    return operation.status is OperationStatus.SKIPPED and operation.active != _digest(operation.target)


def _operation(turn: Turn, node: NodeFact, wave: int, status: OperationStatus) -> NodeOperation:
    return NodeOperation(
        id=turn.new_id(),
        node_id=node.node_id,
        node_name=node.name,
        wave=wave,
        direction=Direction.FORWARD,
        status=status,
        before=node.desired if node.desired is not None else node.active,
        target=node.wanted,
        active=_digest(node.active),
    )


def _name_skipped(turn: Turn, node: NodeFact, wave: int) -> None:
    if node.drained:
        why = "drained"
    elif not node.available:
        why = node.why or "unavailable at the start"
    else:
        why = "already runs it"
    operation = _operation(turn, node, wave, OperationStatus.SKIPPED)
    turn.add_operation(replace(operation, error=why))


def advance(turn: Turn) -> None:
    """Go as far as possible: let operations into the window, end the stage, or begin to go back."""
    state = turn.state
    if state.terminal or not state.granted:
        return
    if state.course is not Course.FORWARD:
        going_back.advance(turn)
        return
    stage = state.stage(StageKind.DEPLOY)
    if stage.status is not StageStatus.RUNNING:
        return
    failure = _failure(state)
    if failure:
        going_back.begin(turn, DeploymentStatus.ROLLED_BACK, failure)
        return
    if state.paused:
        return
    _fill_window(turn)
    if not any(operation.status.open for operation in turn.state.forward()):
        _end_forward(turn)


def _failure(state: Deployment) -> str | None:
    """Why the rollout must stop, judged by each node's latest operation; None while it may go on."""
    latest = state.latest_by_node().values()
    failed = [operation for operation in latest if operation.status is OperationStatus.FAILED]
    lost = [operation for operation in latest if operation.status is OperationStatus.LOST]
    if lost and state.policy.on_node_lost is OnNodeLost.ABORT:
        return "lost " + ", ".join(operation.node_name for operation in lost)
    if len(failed) > state.policy.max_failed_nodes:
        return f"{len(failed)} failed, more than maxFailedNodes ({state.policy.max_failed_nodes}): " + "; ".join(
            f"{operation.node_name}: {operation.error or 'failed'}" for operation in failed[:5]
        )
    broken = failed + lost
    if broken and not any(operation.status.open for operation in latest):
        good = [operation for operation in latest if operation.status is OperationStatus.SUCCEEDED]
        if not good:
            return "not one node succeeded: " + "; ".join(
                f"{operation.node_name}: {operation.error or operation.status.value}" for operation in broken[:5]
            )
    return None


def _fill_window(turn: Turn) -> None:
    operations = turn.state.forward()
    waiting = [operation for operation in operations if operation.status is OperationStatus.PENDING]
    open_waves = [operation.wave for operation in operations if operation.status.open]
    if not waiting or not open_waves:
        return
    wave = min(open_waves)
    room = _room(turn.state)
    for operation in [operation for operation in waiting if operation.wave == wave][: max(room, 0)]:
        turn.dispatch_operation(operation)
    if room <= 0 and not any(operation.status.in_flight for operation in turn.state.operations):
        minimum = turn.state.policy.rolling.min_in_service
        going_back.begin(turn, DeploymentStatus.ROLLED_BACK, f"minInService ({minimum}) leaves no node to change")


def _room(state: Deployment) -> int:
    """How many more operations may be in flight. A node counts as in service unless it is in flight, failed, lost,
    drained or was unavailable when last looked at."""
    latest = state.latest_by_node()
    in_flight = sum(operation.status.in_flight for operation in latest.values())
    room = state.policy.max_concurrent_nodes - in_flight
    minimum = state.policy.rolling.min_in_service
    if minimum is not None:
        out = sum(
            operation.status.in_flight
            or operation.status in (OperationStatus.FAILED, OperationStatus.LOST)
            or _missed(operation)
            for operation in latest.values()
        )
        room = min(room, len(latest) - out - minimum.of(len(latest)))
    return room


def _end_forward(turn: Turn) -> None:
    if turn.state.course is not Course.FORWARD:
        return
    state = turn.state
    latest = state.latest_by_node().values()
    named = [
        f"{operation.node_name}: {operation.error or operation.status.value.lower()}"
        for operation in latest
        if operation.status in (OperationStatus.FAILED, OperationStatus.LOST) or _missed(operation)
    ]
    stage = state.stage(StageKind.DEPLOY)
    parts = [part for part in (stage.message, "without " + "; ".join(named) if named else None) if part]
    turn.end_stage(stage, StageStatus.SUCCEEDED, "; ".join(parts) or None)


def lose(turn: Turn, operation: NodeOperation) -> None:
    """Its node stayed silent too long: the operation leaves the window and counts as failed; policy decides."""
    turn.end_operation(operation, OperationStatus.LOST, error=NODE_LOST)
    state = turn.state
    if state.course is Course.FORWARD and state.policy.on_node_lost is OnNodeLost.PAUSE and not state.paused:
        turn.state = replace(state, paused=True, paused_until=turn.now + state.policy.paused_timeout)
        turn.set_status(DeploymentStatus.PAUSED, f"lost {operation.node_name}")


def join(turn: Turn, node: NodeFact) -> None:
    """A node is heard from (again): a lost operation is resolved first; a skipped or new node joins the last wave."""
    state = turn.state
    latest = state.latest_by_node().get(node.node_id)
    if latest is not None and latest.status is OperationStatus.LOST:
        turn.resolve_operation(latest, None)
        return
    joins = latest is None or _missed(latest)
    rolling_out = state.course is Course.FORWARD and state.stage(StageKind.DEPLOY).status is StageStatus.RUNNING
    if not joins or not rolling_out or not node.available or node.drained:
        return
    waves = [operation.wave for operation in state.forward() if operation.status.open]
    wave = max(waves, default=max((operation.wave for operation in state.forward()), default=0))
    if _up_to_date(node) and not state.force:
        operation = replace(_operation(turn, node, wave, OperationStatus.SKIPPED), error="already runs it")
    else:
        operation = _operation(turn, node, wave, OperationStatus.PENDING)
    turn.add_operation(replace(operation, follows=latest.id if latest else None))
    turn.emit("node.joined", node=node.name)


def try_again(turn: Turn, operation: NodeOperation) -> None:
    """Another try after an operation that was resolved is a new row: the old id never runs again."""
    turn.add_operation(
        replace(
            operation,
            id=turn.new_id(),
            status=OperationStatus.PENDING,
            attempt=0,
            claimable=False,
            follows=operation.id,
            tries=operation.tries + 1,
            error=None,
            output_tail=None,
            losses=0,
            changed=False,
        )
    )
