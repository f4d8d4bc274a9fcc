"""Health."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Output


class CheckOutput(Output):
    status = fields.String(required=True)
    latency_ms = fields.Float(required=True)
    detail = fields.String(required=True)


class HealthOutput(Output):
    status = fields.String(required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.Nested(CheckOutput), required=True)


class LiveOutput(Output):
    status = fields.String(required=True)
