"""Validation: on every node that was switched, the agent reports the right digest, and the manifest's checks pass.

The agent of each node asks the module's own endpoint; the orchestrator asks at most `maxConcurrentNodes` at a time.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.infrastructure.nodes import NodeAddress, NodeRefused, Nodes, NodeUnreachable
from app.orchestrator.context import Orchestrator
from app.orchestrator.verdict import Verdict

_NODES = """
select distinct on (o.node_id) o.node_id, o.node_name, n.address, o.target_digest, d.module_name, d.tenant_id,
       r.manifest, o.status, (d.policy->>'maxConcurrentNodes')::int
  from node_operations o
  join deployments d on d.id = o.deployment_id
  left join nodes n on n.id = o.node_id
  left join runnable_releases r
         on r.module_id = d.module_id and r.version = o.target_version and r.digest = o.target_digest
 where o.deployment_id = %(deployment_id)s and o.direction = 'forward'
 order by o.node_id, o.position desc
"""
CHECKS_TIMEOUT = 10.0
SETTLE_FOR = 10.0
"""Seconds for which a check that fails is asked again: a module may need a moment after its switch."""
RETRY = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    node: NodeAddress
    name: str
    tenant_id: UUID
    module: str
    digest: str
    checks: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong on one node; None as `problem` when nothing is."""

    name: str
    problem: str | None
    output_tail: str | None = None


def validate(orchestrator: Orchestrator, nodes: Nodes, deployment_id: UUID) -> Verdict:
    """Ask every node that the deployment brought to its target. A node that was lost or passed over is not asked."""
    with orchestrator.database.raw() as connection:
        rows: list[Any] = connection.execute(_NODES, {"deployment_id": deployment_id}).fetchall()
    subjects = [
        Subject(NodeAddress(node_id, address), name, tenant_id, module, digest, (manifest or {}).get("validate") or [])
        for node_id, name, address, digest, module, tenant_id, manifest, status, _most in rows
        if status == "Succeeded" and digest is not None and address is not None
    ]
    if not subjects:
        return Verdict(True, "no node was changed")
    with ThreadPoolExecutor(max_workers=max(1, min(rows[0][8], len(subjects))), thread_name_prefix="validate") as pool:
        ask = _asker(nodes)
        # Each thread goes on at our place in the trace, and a context can be entered only once at a time.
        asked = [pool.submit(contextvars.copy_context().run, ask, subject) for subject in subjects]
        findings = [each.result() for each in asked]
    wrong = [finding for finding in findings if finding.problem]
    if wrong:
        text = "; ".join(f"{finding.name}: {finding.problem}" for finding in wrong[:5])
        return Verdict(False, f"{len(wrong)} of {len(findings)} nodes: {text}", wrong[0].output_tail)
    checks = max(len(subject.checks) for subject in subjects)
    passed = "1 check" if checks == 1 else f"{checks} checks"
    return Verdict(True, f"{_nodes(len(findings))} the right digest, {passed} passed on each")


def _asker(nodes: Nodes) -> Callable[[Subject], Finding]:
    def ask(subject: Subject) -> Finding:
        deadline = time.monotonic() + SETTLE_FOR
        while True:
            finding = _ask(nodes, subject)
            if finding.problem is None or time.monotonic() > deadline:
                return finding
            time.sleep(RETRY)

    return ask


def _ask(nodes: Nodes, subject: Subject) -> Finding:
    try:
        answer = nodes.validate(
            subject.node,
            tenant=subject.tenant_id,
            module=subject.module,
            digest=subject.digest,
            checks=subject.checks,
            timeout=CHECKS_TIMEOUT,
        )
    except NodeUnreachable as error:
        return Finding(subject.name, f"no answer: {error}")
    except NodeRefused as error:
        return Finding(subject.name, f"{error.code}: {error}")
    active = answer.get("activeDigest")
    if active != subject.digest:
        return Finding(subject.name, f"{active or 'nothing'} is active instead of {subject.digest}")
    if answer.get("ok") is not True:
        failed = [
            f"{result.get('path')}: {result.get('message')}"
            for result in answer.get("results", [])
            if not result.get("ok")
        ]
        return Finding(subject.name, "; ".join(failed) or "the checks failed", answer.get("outputTail"))
    return Finding(subject.name, None)


def _nodes(count: int) -> str:
    return "1 node runs" if count == 1 else f"{count} nodes run"
