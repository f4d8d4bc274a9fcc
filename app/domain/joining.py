"""Nodes that return, or are new, while a rollout is under way: they join it."""

from __future__ import annotations

from dataclasses import replace

from app.domain import lane_entry, strategies
from app.domain.deployment import Deployment, NodeOperation, OperationStatus
from app.domain.events import NodeFact
from app.domain.turn import Turn


def join(turn: Turn, node: NodeFact) -> None:
    """A node is heard from (again). A lost operation is resolved first; one that was passed over, or is new, joins.

    One that comes too late for the waves is named, and its desired state recorded like everybody's.
    """
    state = turn.state
    latest = state.latest_by_node().get(node.node_id)
    if latest is not None and latest.status is OperationStatus.LOST:
        turn.resolve_operation(latest, None)
    elif latest is None and not (state.deploying() and lane_entry.ready_nodes([node])):
        turn.add_operation(
            lane_entry.skipped_operation(turn, node, _last_wave(state), None if node.drained else "joined too late")
        )
    elif state.deploying() and lane_entry.ready_nodes([node]) and (latest is None or _has_come(node, latest)):
        _join_waves(turn, node, latest)


def _has_come(node: NodeFact, latest: NodeOperation) -> bool:
    """Whether a skipped node can be changed now: it is here after all, or runs something else by now."""
    runs_another = latest.status is OperationStatus.SKIPPED and not latest.runs(node.active)
    return latest.passed_over() or runs_another


def _join_waves(turn: Turn, node: NodeFact, latest: NodeOperation | None) -> None:
    if lane_entry.changing_nodes(turn.state, [node]):
        operation = lane_entry.new_operation(turn, node, _wave_to_join(turn.state))
    else:
        operation = lane_entry.skipped_operation(turn, node, _last_wave(turn.state))
    if latest is not None:
        operation = replace(operation, follows=latest.id, before=latest.before or operation.before)
    turn.add_operation(operation)
    turn.emit("node.joined", node=node.name)


def _wave_to_join(state: Deployment) -> int:
    """The last wave, if it has room by the strategy's measure and is not done; otherwise one more after it."""
    changing = [operation for operation in state.forward() if operation.status is not OperationStatus.SKIPPED]
    last = _last_wave(state)
    members = {operation.node_id for operation in changing if operation.wave == last}
    size = strategies.wave_size(state.strategy, len({operation.node_id for operation in changing}) + 1, state.policy)
    done = not any(operation.status.open for operation in changing if operation.wave == last)
    return last + 1 if done or len(members) >= size else last


def _last_wave(state: Deployment) -> int:
    return max(operation.wave for operation in state.forward())
