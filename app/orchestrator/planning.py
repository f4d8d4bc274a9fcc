"""A dry run: what a submission would do if its lane were free now. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from app.domain import lane_entry
from app.domain.deployment import Deployment, NodeOperation, OperationStatus, StageKind, StageStatus
from app.domain.durations import short_duration
from app.domain.events import LaneOffered, NodeFact
from app.domain.turn import Turn
from app.infrastructure.db.engine import Raw
from app.orchestrator import submitting
from app.orchestrator.cluster_facts import Scope, manifest_and_facts, unmet_requirement
from app.orchestrator.context import Orchestrator


def describe(connection: Raw, orchestrator: Orchestrator, draft: submitting.Draft) -> dict[str, Any]:
    """The plan in wire form: stages, waves, nodes, gates and why each is there, and what would interrupt."""
    scope = Scope(
        draft.module_id, draft.module_name, draft.environment_id, draft.release, draft.kind, draft.policy, draft.targets
    )
    manifest, facts = manifest_and_facts(connection, scope)
    state = submitting.initial(orchestrator, draft)
    stage = replace(state.stage(StageKind.DEPLOY), status=StageStatus.RUNNING, attempt=1)
    row: Any = connection.execute("select hotswap_now()").fetchone()
    turn = Turn(state.with_stage(stage), row[0], orchestrator.new_id)
    waits = lane_entry.waits_for_nodes(state, facts)
    unmet = unmet_requirement(connection, draft.environment_id, manifest)
    refusal = lane_entry.begin(turn, LaneOffered(stage.id, 1, facts, unmet))
    return {
        "moduleName": draft.module_name,
        "version": draft.release.version,
        "targetEnvironment": draft.environment_name,
        "strategy": draft.strategy.value,
        "stages": _stages(draft, refusal),
        "gates": _gates(draft, waits),
        "waves": _waves(turn.state),
        "skipped": _skipped(turn.state),
        "unavailable": [fact.name for fact in facts if not fact.available],
        "refusal": refusal,
        "interrupts": _interrupts(manifest, facts),
    }


def _stages(draft: submitting.Draft, refusal: str | None) -> list[dict[str, Any]]:
    described = []
    for each in submitting.planned(draft):
        name = f"Deploy to {draft.environment_name}" if each.kind is StageKind.DEPLOY else each.kind.value
        reason = each.skipped or (refusal if each.kind is StageKind.DEPLOY else None)
        described.append({"name": name, "runs": each.skipped is None, "reason": reason})
    return described


def _gates(draft: submitting.Draft, waits: str | None) -> list[dict[str, Any]]:
    gates = []
    if draft.approvals:
        asked = draft.policy.approvals
        people = f"{max(1, asked.required)} of {' or '.join(asked.roles)}"
        text = f"{people} must approve within {short_duration(asked.timeout)}"
        gates.append({"kind": "approval", "text": text})
    if waits:
        gates.append({"kind": "nodes", "text": waits})
    return gates


def _waves(state: Deployment) -> list[dict[str, Any]]:
    waves: dict[int, list[NodeOperation]] = defaultdict(list)
    for operation in state.operations:
        if operation.status is not OperationStatus.SKIPPED:
            waves[operation.wave].append(operation)
    return [{"wave": index, "nodes": [_change(each) for each in waves[index]]} for index in sorted(waves)]


def _change(operation: NodeOperation) -> dict[str, Any]:
    return {
        "nodeId": str(operation.node_id),
        "hostname": operation.node_name,
        "fromVersion": operation.before.version if operation.before else None,
        "toVersion": operation.target.version if operation.target else None,
    }


def _skipped(state: Deployment) -> list[dict[str, Any]]:
    return [
        _change(operation) | {"reason": operation.error}
        for operation in state.operations
        if operation.status is OperationStatus.SKIPPED
    ]


def _interrupts(manifest: dict[str, Any] | None, facts: tuple[NodeFact, ...]) -> list[str]:
    run = (manifest or {}).get("run") or {}
    if run.get("handover") == "none" and run.get("listen") and any(fact.active for fact in facts):
        return ["handover is none: each node answers nothing between stop and start"]
    return []
