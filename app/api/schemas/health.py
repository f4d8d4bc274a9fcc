"""Health."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Output


class CheckOutput(Output):
    status = fields.String(required=True)
    latency_ms = fields.Float(required=True)
    detail = fields.String(required=True)


class ChecksOutput(Output):
    postgresql = fields.Nested(CheckOutput, required=True)
    redis = fields.Nested(CheckOutput, required=True)
    broker = fields.Nested(CheckOutput, required=True)
    workers = fields.Nested(CheckOutput, required=True)
    beat = fields.Nested(CheckOutput, required=True)
    artifacts = fields.Nested(CheckOutput, required=True)
    nodes = fields.Nested(CheckOutput, required=True)


class HealthOutput(Output):
    status = fields.String(required=True, metadata={"enum": ["ok", "degraded", "unavailable"]})
    checks = fields.Nested(ChecksOutput, required=True)


class LiveOutput(Output):
    status = fields.String(required=True)
