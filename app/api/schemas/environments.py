"""Environments. The policy itself is checked by the domain (`parse_policy`), which names every bad field."""

from __future__ import annotations

from marshmallow import INCLUDE, fields

from app.api.schemas.fields import Input, Output


class PolicyInput(Input):
    """What GET gave, plus `reason`; fields that are only shown are ignored."""

    class Meta:
        unknown = INCLUDE

    name = fields.Raw(metadata={"description": "read only"})
    version = fields.Raw(metadata={"description": "read only"})
    updated_at = fields.Raw(metadata={"description": "read only"})
    updated_by = fields.Raw(metadata={"description": "read only"})
    order = fields.Raw()
    reason = fields.Raw()


class EnvironmentOutput(Output):
    name = fields.String(required=True)
    order = fields.Integer(required=True)
    strategy = fields.String(required=True)
    max_concurrent_nodes = fields.Integer(required=True)
    version = fields.Integer(required=True)
    updated_at = fields.DateTime(required=True)
    updated_by = fields.String(required=True)
