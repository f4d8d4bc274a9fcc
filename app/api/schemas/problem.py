"""The body of every refusal and failure."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Output


class Problem(Output):
    """RFC 9457. `error` repeats `detail` for old clients, `errors` (on 400) names every bad field."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    error = fields.String(required=True)
    trace_id = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
