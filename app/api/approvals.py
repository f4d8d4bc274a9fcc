"""Approvals: what waits for people, and their yes or no."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask.typing import ResponseReturnValue

from app.api.routing import Call, Routes, page_answer
from app.api.schemas.approvals import AnswerInput, ApprovalOutput, PendingQuery
from app.api.wire import instant, instant_or_none
from app.domain.durations import wire_duration
from app.orchestrator import approvals
from app.orchestrator.approvals import ApprovalView
from app.orchestrator.roles import Role

routes = Routes("approvals")


@routes.get("/approvals/pending", role=Role.VIEWER, query=PendingQuery, answers={200: [ApprovalOutput]})
def list_pending(call: Call) -> ResponseReturnValue:
    """What waits for people, newest first, by environment."""
    environments = call.query["environment"]
    return page_answer(approvals.pending(call.orchestrator, call.requester, environments, call.page).map(_shown))


@routes.get(
    "/approvals/deployments/<uuid:execution_id>", role=Role.VIEWER, answers={200: ApprovalOutput}, problems=(404,)
)
def show_approval(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """The approval of one deployment, also after it was decided."""
    return _shown(approvals.of_deployment(call.orchestrator, call.requester, execution_id))


@routes.post(
    "/approvals/deployments/<uuid:execution_id>/approve",
    role=Role.VIEWER,  # the policy of the environment names the roles that decide
    body=AnswerInput,
    answers={200: ApprovalOutput},
    problems=(404, 409, 410),
)
def approve(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """One more approval; with the last one that is required the rollout begins."""
    return _shown(approvals.approve(call.orchestrator, call.requester, execution_id, call.body["reason"]))


@routes.post(
    "/approvals/deployments/<uuid:execution_id>/reject",
    role=Role.VIEWER,
    body=AnswerInput,
    answers={200: ApprovalOutput},
    problems=(404, 409, 410),
)
def reject(call: Call, execution_id: UUID) -> ResponseReturnValue:
    """No: the deployment ends Rejected, and no node was touched."""
    return _shown(approvals.reject(call.orchestrator, call.requester, execution_id, call.body["reason"]))


def _shown(view: ApprovalView) -> dict[str, Any]:
    response = view.response
    return {
        "approvalId": str(view.approval_id),
        "deploymentExecutionId": str(view.deployment.id),
        "moduleName": view.deployment.module_name,
        "version": view.deployment.version,
        "targetEnvironment": view.deployment.environment_name,
        "requesterEmail": view.deployment.requester_email,
        "requestedBy": view.deployment.requested_by,
        "status": view.status,
        "requestedAt": instant(view.requested_at),
        "respondedAt": instant_or_none(response.at if response else None),
        "respondedBy": response.by if response else None,
        "responseReason": response.reason if response else None,
        "timeoutAt": instant(view.timeout_at),
        "timeRemaining": wire_duration(view.remaining),
        "required": view.required,
        "given": len(view.given),
        "approvers": list(view.given),
        "roles": list(view.roles),
    }
