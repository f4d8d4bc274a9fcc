"""Approvals: what is said, and what is shown."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Input, Output, PageQuery, Several, Text


class PendingQuery(PageQuery):
    environment = Several(Text(100))


class AnswerInput(Input):
    reason = Text(1000, empty=True, load_default=None, allow_none=True)


class ApprovalOutput(Output):
    approval_id = fields.UUID(required=True)
    deployment_execution_id = fields.UUID(required=True)
    module_name = fields.String(required=True)
    version = fields.String(required=True)
    target_environment = fields.String(required=True)
    requester_email = fields.String(required=True, allow_none=True)
    requested_by = fields.String(required=True)
    status = fields.String(
        required=True, metadata={"enum": ["Pending", "Approved", "Rejected", "Expired", "Cancelled"]}
    )
    requested_at = fields.DateTime(required=True)
    responded_at = fields.DateTime(required=True, allow_none=True)
    responded_by = fields.String(required=True, allow_none=True)
    response_reason = fields.String(required=True, allow_none=True)
    timeout_at = fields.DateTime(required=True)
    time_remaining = fields.String(required=True, metadata={"example": "23:59:12.000"})
    required = fields.Integer(required=True)
    given = fields.Integer(required=True)
    approvers = fields.List(fields.String(), required=True, metadata={"description": "who has approved so far"})
    roles = fields.List(fields.String(), required=True, metadata={"description": "who may decide"})
