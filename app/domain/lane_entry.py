"""How the Deploy stage takes its lane: whether it may begin with the nodes of now, and which waves they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from app.domain import strategies
from app.domain.deployment import (
    UNKNOWN,
    Deployment,
    DeploymentKind,
    Direction,
    NodeOperation,
    OperationStatus,
    StageKind,
    digest_of,
)
from app.domain.events import GrantLane, LaneOffered, NodeFact
from app.domain.policy import UnavailableNodes
from app.domain.turn import Turn

ASK_NODES_AGAIN = timedelta(seconds=2)
MOST_NAMED = 10


def begin(turn: Turn, offer: LaneOffered) -> str | None:
    """Take the lane and plan the waves, unless something is against it: that is returned, and nothing was touched."""
    against = hopeless(turn.state, offer) or refusal(turn.state, offer)
    if against is None:
        _take(turn, offer)
    return against


def hopeless(state: Deployment, offer: LaneOffered) -> str | None:
    """Why it can never begin, whichever nodes come back; None where it can."""
    if not offer.nodes and state.kind is DeploymentKind.DEPLOY:
        return f"{state.environment} has no nodes, or none that matches the module's placement"
    return offer.unmet


def waits_for_nodes(state: Deployment, nodes: tuple[NodeFact, ...]) -> str | None:
    """Under `unavailableNodes: wait`, the sentence that says for whom this one waits, before it takes its lane."""
    if state.policy.unavailable_nodes is not UnavailableNodes.WAIT:
        return None
    missing = _missing(nodes)
    return f"waits for {_named(missing)}" if missing else None


def refusal(state: Deployment, offer: LaneOffered) -> str | None:
    """Why it must not begin with these nodes; None where it may. Nothing was granted and no node was touched."""
    policy, total = state.policy, len(offer.nodes)
    if not total:
        return None  # one that takes back a deployment which changed nothing
    missing, ready = _missing(offer.nodes), ready_nodes(offer.nodes)
    if missing and policy.unavailable_nodes is UnavailableNodes.FAIL:
        return f"{len(missing)} of {total} nodes are unavailable: {_named(missing)}"
    if len(missing) > policy.max_unavailable_at_start.of(total):
        return (
            f"{len(missing)} of {total} nodes are unavailable, more than maxUnavailableAtStart"
            f" ({policy.max_unavailable_at_start}): {_named(missing)}"
        )
    if not ready:
        return f"none of {total} nodes can take it: {_named(offer.nodes)}"
    minimum = state.min_in_service()
    if minimum is not None and changing_nodes(state, ready) and len(ready) <= minimum.of(total):
        return f"minInService ({minimum}) leaves no node that may be changed: {len(ready)} of {total} are in service"
    return None


def _missing(nodes: Iterable[NodeFact]) -> list[NodeFact]:
    return [node for node in nodes if not node.available and not node.drained]


def ready_nodes(nodes: Iterable[NodeFact]) -> list[NodeFact]:
    return [node for node in nodes if node.available and not node.drained]


def changing_nodes(state: Deployment, ready: Iterable[NodeFact]) -> list[NodeFact]:
    return [node for node in ready if state.force or digest_of(node.active) != digest_of(node.wanted)]


def _named(nodes: Iterable[NodeFact]) -> str:
    named = [f"{node.name} ({_why_not(node)})" for node in nodes]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return ", ".join(named[:MOST_NAMED]) + more


def _why_not(node: NodeFact) -> str:
    return "drained" if node.drained else node.why or "unavailable"


# --- taking it -------------------------------------------------------------------------------------------------------


def _take(turn: Turn, offer: LaneOffered) -> None:
    turn.commands.append(GrantLane())
    turn.state = replace(turn.state, granted=True)
    by_id = {node.node_id: node for node in changing_nodes(turn.state, ready_nodes(offer.nodes))}
    planned = strategies.waves(turn.state.strategy, list(by_id), turn.state.policy)
    changing = [new_operation(turn, by_id[node_id], index) for index, wave in enumerate(planned) for node_id in wave]
    passed = [node for node in offer.nodes if node.node_id not in by_id]
    skipped = [skipped_operation(turn, node, max(len(planned) - 1, 0)) for node in passed]
    turn.state = turn.state.with_operations(changing + skipped)
    turn.emit(
        "deployment.planned",
        waves=[[by_id[node_id].name for node_id in wave] for wave in planned],
        skipped=[node.name for node in passed],
    )
    stage = replace(turn.state.stage(StageKind.DEPLOY), due_at=None, waiting=None, message=None)
    turn.state = turn.state.with_stage(stage)


def nothing_to_change(state: Deployment) -> str | None:
    """The sentence for a rollout in which no node needed anything; None where one did."""
    if any(operation.status is not OperationStatus.SKIPPED for operation in state.operations):
        return None
    if any(operation.passed_over() for operation in state.operations):
        return "nothing to change on the nodes that are available"
    return "nothing to change: it already runs on every node"


def new_operation(turn: Turn, node: NodeFact, wave: int) -> NodeOperation:
    return NodeOperation(
        id=turn.new_id(),
        node_id=node.node_id,
        node_name=node.name,
        wave=wave,
        direction=Direction.FORWARD,
        status=OperationStatus.PENDING,
        before=node.desired if node.decided or node.desired is not None else node.active,
        target=node.wanted,
        active=digest_of(node.active),
    )


def skipped_operation(turn: Turn, node: NodeFact, wave: int, why: str | None = None) -> NodeOperation:
    """What a drained or unavailable node runs does not count as known: it is named at the end."""
    ready = bool(ready_nodes([node]))
    return replace(
        new_operation(turn, node, wave),
        status=OperationStatus.SKIPPED,
        active=digest_of(node.active) if ready else UNKNOWN,
        error=why or ("already runs it" if ready else _why_not(node)),
    )
