"""Executing a claimed node operation: send it, wait for the node's word, report. Or resolve it: give it up.

The same operation id is sent again by the next attempt and joins what is running; nothing starts twice. No answer is
neither success nor failure: the operation is then resolved until the node answers or counts as lost.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.telemetry import spans
from agent.telemetry.context import bound
from app.domain.deployment import Direction
from app.domain.events import OperationReported, Outcome
from app.infrastructure.metrics import count_stale
from app.infrastructure.nodes import NodeAddress, NodeRefused, Nodes, NodeUnreachable, OperationAnswer
from app.infrastructure.work_metrics import (
    ERROR_CODES,
    FAILED_HEALTH_CHECKS,
    HEALTH_FAILURES,
    NODE_FAILURES,
    NODE_OPERATION_SECONDS,
    NODE_OPERATIONS,
    STEP_SECONDS,
    STEPS,
    SWAPS,
)
from app.orchestrator import claims, outcomes
from app.orchestrator.claims import ClaimedOperation
from app.orchestrator.context import Orchestrator
from app.orchestrator.settling import settled

UNANSWERED_FOR = 20.0
"""Seconds without any answer after which a forward operation is given up: an agent is back from kill -9 long before."""
REFUSED_FOR = 45.0
"""Seconds for which `busy` is waited out. `not_ready` (no heartbeat answered: perhaps it is we who are away) says
nothing of the node, and is waited out until the operation's own limit."""
POLL = 10.0
RETRY = 0.5
RESOLVE_WAIT = 10.0
TAIL_BYTES = 4096
INTERRUPTED = "interrupted"
"""The agent's error code for what was stopped, by its own end above all, and taken back (docs/agent-protocol.md)."""


@dataclass(frozen=True, slots=True)
class Report:
    outcome: Outcome
    active: str | None
    error: str | None = None
    output_tail: str | None = None
    answer: OperationAnswer | None = None


def execute(
    orchestrator: Orchestrator, nodes: Nodes, executor_id: UUID, deployment_id: UUID, operation_id: UUID
) -> str | None:
    """Claim, perform and report one operation. Returns its outcome, None when there was nothing to claim."""
    with settled(orchestrator, executor_id, deployment_id, operation_id):
        return _execute(orchestrator, nodes, executor_id, deployment_id, operation_id)


def _execute(
    orchestrator: Orchestrator, nodes: Nodes, executor_id: UUID, deployment_id: UUID, operation_id: UUID
) -> str | None:
    began, clock = spans.now(), time.monotonic()
    work = claims.claim_operation(orchestrator, executor_id, deployment_id, operation_id)
    if work is None:
        return None
    names = _names(work)
    with bound(**names), spans.span("resolve" if work.resolving else "node operation", start=began) as span:
        span.set(deployment=str(deployment_id), work=str(operation_id), **names)
        report = _carry_out(orchestrator, nodes, work)
        span.set(outcome=report.outcome.value)
        if report.outcome in (Outcome.FAILED, Outcome.UNKNOWN):
            span.fail(report.error or report.outcome.value)
    _count(work, report, time.monotonic() - clock)
    return report.outcome.value


def _names(work: ClaimedOperation) -> dict[str, str | int | None]:
    """What log lines and spans say of it."""
    return {
        "module": work.module_name,
        "version": work.target_version,
        "environment": work.environment,
        "node": work.node_name,
        "node_id": str(work.node_id),
        "direction": work.direction.value,
        "attempt": work.attempt,
    }


def _carry_out(orchestrator: Orchestrator, nodes: Nodes, work: ClaimedOperation) -> Report:
    """Perform or resolve a claimed operation, and report it."""
    report = _resolve(nodes, work) if work.resolving else _perform(nodes, work)
    event = OperationReported(
        work.operation_id,
        work.attempt,
        report.outcome,
        active=report.active,
        error=report.error,
        output_tail=_tail(report.output_tail),
    )
    outcomes.apply(orchestrator, work.deployment_id, event, beside=_observed(work, report))
    return report


def _count(work: ClaimedOperation, report: Report, seconds: float) -> None:
    """Agents have no public port: what is to be known of them is counted here, from their results."""
    direction, outcome = work.direction.value, report.outcome.value
    NODE_OPERATIONS.labels(direction, outcome).inc()
    NODE_OPERATION_SECONDS.labels(direction, outcome).observe(seconds)
    answer = report.answer
    if answer is None or not answer.final:
        return
    for step, spent in answer.steps.items():
        if step in STEPS:
            STEP_SECONDS.labels(step).observe(spent)
    if answer.state == "succeeded" and answer.changed:
        SWAPS.labels(direction).inc()
    if answer.error_code is not None and outcome != Outcome.SUCCEEDED.value:
        NODE_FAILURES.labels(answer.error_code if answer.error_code in ERROR_CODES else "other").inc()
        if answer.error_code in HEALTH_FAILURES:
            FAILED_HEALTH_CHECKS.labels(answer.error_code).inc()


def _tail(text: str | None) -> str | None:
    return text.replace("\x00", "")[-TAIL_BYTES:] if text else None


def _observed(work: ClaimedOperation, report: Report) -> tuple[outcomes.Statement, ...]:
    """What the node's answer says runs there: with it, no read has to wait for the node's next heartbeat."""
    answer = report.answer
    if answer is None or report.outcome is Outcome.UNKNOWN:
        return ()
    values = {
        "node_id": work.node_id,
        "module_name": work.module_name,
        "digest": answer.active,
        "version": answer.active_version,
        "status": _status(work, answer),
        "endpoint": answer.endpoint,
        "fencing_token": work.fencing_token,
        "sequence": answer.state_sequence,
    }
    return (outcomes.Statement("record_observed", values),)


def _status(work: ClaimedOperation, answer: OperationAnswer) -> str:
    """As the node's next heartbeat will have it."""
    if answer.active is None:
        return "stopped"
    return "installed" if (work.manifest or {}).get("kind") == "files" else "running"


def command(work: ClaimedOperation) -> dict[str, Any]:
    """The body of the agent's `PUT /v1/operations/{id}`. The same for every attempt, or the agent would refuse it."""
    target = None
    if work.target_digest is not None:
        target = {
            "digest": work.target_digest,
            "version": work.target_version,
            "sizeBytes": work.size_bytes,
            "signature": work.signature,
            "keyId": work.key_id,
        }
        if work.attestation is not None:
            target |= {"sourceDigest": work.source_digest, "attestation": work.attestation}
    return {
        "tenant": str(work.tenant_id),
        "module": work.module_name,
        "fencingToken": work.fencing_token,
        "action": "activate",
        "target": target,
        "expectedActive": work.expected_active,
        "force": work.force and work.direction is Direction.FORWARD,
        "timeout": time_limit(work.manifest),
        "context": {
            "environment": work.environment,
            "deploymentId": str(work.deployment_id),
            "previousVersion": work.before_version,
        },
    }


def time_limit(manifest: dict[str, Any] | None) -> float:
    """Seconds that the agent may take: what the manifest itself allows for, and time to fetch and to drain a side."""
    manifest = manifest or {}
    health = manifest.get("health") or {}
    hooks = manifest.get("hooks") or {}
    drain = manifest.get("drain") or {}
    allowed = float(health.get("startTimeout") or 60) + float(drain.get("timeout") or 30)
    allowed += sum(float((hook or {}).get("timeout") or 300) for hook in hooks.values())
    return allowed + 120


def _perform(nodes: Nodes, work: ClaimedOperation) -> Report:
    if work.address is None:
        return Report(Outcome.FAILED, work.expected_active, "the node was removed")
    if work.target_digest is not None and work.signature is None:
        return Report(Outcome.FAILED, work.expected_active, f"release {work.target_version} is not known any more")
    node = NodeAddress(work.node_id, work.address)
    insist = work.direction is Direction.BACK
    body = command(work)
    deadline = time.monotonic() + time_limit(work.manifest) + UNANSWERED_FOR
    answered = refused_since = time.monotonic()
    sent = False
    while time.monotonic() < deadline:
        try:
            if sent:
                answer = nodes.operation(node, work.operation_id, wait=POLL, insist=insist)
            else:
                answer = nodes.put_operation(node, work.operation_id, body, wait=POLL, insist=insist)
            answered = refused_since = time.monotonic()
            if answer.final:
                return _final(work, answer)
            sent = True
        except NodeRefused as refusal:
            answered = time.monotonic()
            if refusal.code == "unknown":
                sent = False
            elif refusal.code == "not_ready" or (refusal.code == "busy" and answered - refused_since < REFUSED_FOR):
                time.sleep(RETRY * random.uniform(0.5, 1.5))
            else:
                return _refused(work, refusal)
        except NodeUnreachable as unreachable:
            if time.monotonic() - answered > UNANSWERED_FOR:
                return Report(Outcome.UNKNOWN, None, f"no answer for {UNANSWERED_FOR:g} s: {unreachable}")
            sent = False
            time.sleep(RETRY * random.uniform(0.5, 1.5))
    return Report(Outcome.UNKNOWN, None, "the node did not end the operation in time")


def _final(work: ClaimedOperation, answer: OperationAnswer) -> Report:
    if answer.state == "succeeded":
        return Report(Outcome.SUCCEEDED, answer.active, answer=answer)
    if answer.state == "void":
        return Report(Outcome.VOID, answer.active, "the node had recorded this operation as given up", answer=answer)
    reason = answer.error or answer.state
    if answer.error_code:
        reason = f"{answer.error_code}: {reason}"
    # Undone before it committed, by us or by the agent's own end: the release is not to blame, and is tried anew.
    interrupted = answer.state == "superseded" or answer.error_code == INTERRUPTED
    outcome = Outcome.VOID if interrupted else Outcome.FAILED
    return Report(outcome, answer.active, reason, answer.output_tail, answer)


def _refused(work: ClaimedOperation, refusal: NodeRefused) -> Report:
    text = f"{refusal.code}: {refusal}"
    if refusal.code in ("void", "stale"):
        count_stale("agent", refusal.code)
        return Report(Outcome.VOID, work.expected_active, text)
    if refusal.code == "unexpected_active":
        return Report(Outcome.FAILED, refusal.body.get("activeDigest"), text)
    return Report(Outcome.FAILED, work.expected_active, text)


def _resolve(nodes: Nodes, work: ClaimedOperation) -> Report:
    if work.address is None:
        return Report(Outcome.VOID, work.expected_active, "the node was removed")
    try:
        answer = nodes.resolve(
            NodeAddress(work.node_id, work.address),
            work.operation_id,
            tenant=work.tenant_id,
            module=work.module_name,
            token=work.fencing_token,
            wait=RESOLVE_WAIT,
        )
    except NodeUnreachable as unreachable:
        return Report(Outcome.UNKNOWN, None, work.error or str(unreachable))
    except NodeRefused as refusal:
        if refusal.code in ("void", "stale"):
            return Report(Outcome.VOID, work.expected_active, work.error or f"{refusal.code}: {refusal}")
        return Report(Outcome.UNKNOWN, None, f"{refusal.code}: {refusal}")
    if not answer.final:
        return Report(Outcome.UNKNOWN, None, work.error)
    report = _final(work, answer)
    reason = "; ".join(text for text in (work.error, report.error) if text)
    return Report(report.outcome, report.active, reason or None, report.output_tail, answer)
