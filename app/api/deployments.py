"""Deployments: submit, look at, and what people may ask of one under way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue

from app.api import deployment_views
from app.api.routing import PREFIX, Call, Routes, page_answer
from app.api.schemas.deployments import (
    AcceptedOutput,
    CancelInput,
    ChangedOutput,
    DeploymentOutput,
    DeploymentsQuery,
    NothingInput,
    OperationOutput,
    PlanOutput,
    RollbackInput,
    RollbackOutput,
    SubmissionHeaders,
    SubmissionInput,
    SubmissionQuery,
    SummaryOutput,
)
from app.api.schemas.fields import PageQuery
from app.api.wire import instant
from app.domain.durations import wire_duration
from app.domain.errors import Invalid
from app.orchestrator import deployment_lists, deployment_queries, deployments, succession
from app.orchestrator.deployment_lists import Filters
from app.orchestrator.deployments import Accepted, Submission
from app.orchestrator.roles import Role

routes = Routes("deployments")
_LONGEST_KEY = 255


@routes.post(
    "/deployments",
    role=Role.DEPLOYER,
    body=SubmissionInput,
    query=SubmissionQuery,
    headers=SubmissionHeaders,
    answers={202: AcceptedOutput, 200: PlanOutput},
    problems=(404, 409, 422, 429),
)
def submit(call: Call) -> ResponseReturnValue:
    """Bring a release to an environment. With `dryRun=true` only the plan is answered, and nothing changes."""
    submission = Submission(**call.body)
    idempotency_key = _idempotency_key()
    if call.query["dry_run"]:
        return deployments.dry_run(call.orchestrator, call.requester, submission)
    accepted = deployments.submit(
        call.orchestrator,
        call.requester,
        submission,
        trace_id=call.trace_id,
        idempotency_key=idempotency_key,
        body_hash=_hash(request.get_json()),
    )
    return _accepted(accepted)


def _idempotency_key() -> str | None:
    """Raises Invalid for one that is empty, too long, or not printable."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Invalid({"Idempotency-Key": [f"must be 1 to {_LONGEST_KEY} printable ASCII characters"]})
    return key


def _hash(body: Mapping[str, Any]) -> str:
    """The same for bodies that say the same, whatever their spacing and order."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _accepted(accepted: Accepted) -> ResponseReturnValue:
    location = f"{PREFIX}/deployments/{accepted.execution_id}"
    body = {
        "executionId": str(accepted.execution_id),
        "status": accepted.status,
        "startTime": instant(accepted.start_time),
        "estimatedDuration": wire_duration(accepted.estimated_duration),
        "traceId": accepted.trace_id,
        "links": deployment_views.links(accepted.execution_id, accepted.trace_id),
    }
    return body, 202, {"Location": location}


@routes.get("/deployments", role=Role.VIEWER, query=DeploymentsQuery, answers={200: [SummaryOutput]})
def list_deployments(call: Call) -> ResponseReturnValue:
    """Deployments, newest first, by status, environment, module, requester: each may have several values."""
    asked = call.query
    filters = Filters(asked["status"], asked["environment"], asked["module"], asked["requester"])
    listed = deployment_lists.list_deployments(call.orchestrator, call.requester, filters, call.page)
    return page_answer(listed.rows.map(lambda row: deployment_views.summary(row, listed.now)))


@routes.get("/deployments/<uuid:execution_id>", role=Role.VIEWER, answers={200: DeploymentOutput}, problems=(404,))
def show(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """One deployment: all six stages in order, live node counts, what it waits for."""
    return deployment_views.whole(deployment_queries.view(call.orchestrator, call.requester, execution_id))


@routes.get(
    "/deployments/<uuid:execution_id>/nodes",
    role=Role.VIEWER,
    query=PageQuery,
    answers={200: [OperationOutput]},
    problems=(404,),
)
def list_operations(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """The node operations of a deployment."""
    page = deployment_queries.operations(call.orchestrator, call.requester, execution_id, call.page)
    return page_answer(page.map(deployment_views.operation))


@routes.post(
    "/deployments/<uuid:execution_id>/cancel",
    role=Role.DEPLOYER,
    body=CancelInput,
    answers={202: ChangedOutput},
    problems=(404, 409),
)
def cancel(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Cancel; what was switched goes back unless `rollback` is false."""
    rollback = call.body["rollback"]
    status = deployments.cancel(call.orchestrator, call.requester, execution_id, rollback=rollback)
    return _changed(execution_id, status)


@routes.post(
    "/deployments/<uuid:execution_id>/pause",
    role=Role.DEPLOYER,
    body=NothingInput,
    answers={202: ChangedOutput},
    problems=(404, 409),
)
def pause(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Let what is in flight end, and start nothing more."""
    return _changed(execution_id, deployments.pause(call.orchestrator, call.requester, execution_id))


@routes.post(
    "/deployments/<uuid:execution_id>/resume",
    role=Role.DEPLOYER,
    body=NothingInput,
    answers={202: ChangedOutput},
    problems=(404, 409),
)
def resume(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Go on without what failed or was lost."""
    return _changed(execution_id, deployments.resume(call.orchestrator, call.requester, execution_id))


@routes.post(
    "/deployments/<uuid:execution_id>/promote",
    role=Role.DEPLOYER,
    body=NothingInput,
    answers={202: ChangedOutput},
    problems=(404, 409),
)
def promote(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Skip the current soak, and no more."""
    return _changed(execution_id, deployments.promote(call.orchestrator, call.requester, execution_id))


def _changed(execution_id: UUID, status: str) -> ResponseReturnValue:
    return {"executionId": str(execution_id), "status": status}, 202


@routes.post(
    "/deployments/<uuid:execution_id>/retry",
    role=Role.DEPLOYER,
    body=NothingInput,
    answers={202: AcceptedOutput},
    problems=(404, 409),
)
def retry(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """Of an ended one a new deployment; of a paused one, try again in place what failed."""
    return _accepted(succession.retry(call.orchestrator, call.requester, execution_id, trace_id=call.trace_id))


@routes.post(
    "/deployments/<uuid:execution_id>/rollback",
    role=Role.DEPLOYER,
    body=RollbackInput,
    answers={202: RollbackOutput},
    problems=(404, 409),
)
def rollback(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """A new deployment of what ran before this one. With `preempt` it also cancels who holds the lane."""
    accepted = succession.rollback(
        call.orchestrator, call.requester, execution_id, preempt=call.body["preempt"], trace_id=call.trace_id
    )
    body = {
        "rollbackId": str(accepted.rollback_id),
        "status": accepted.status,
        "nodesAffected": accepted.nodes_affected,
    }
    return body, 202, {"Location": f"{PREFIX}/deployments/{accepted.rollback_id}"}
