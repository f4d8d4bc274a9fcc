"""Log-ins and users."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas.fields import Input, Output, Text


class LoginInput(Input):
    username = Text(200, required=True)
    password = Text(1000, required=True)


class RefreshInput(Input):
    refresh_token = Text(4000, required=True)


class LogoutInput(Input):
    refresh_token = Text(4000, load_default=None, allow_none=True)


class UserOutput(Output):
    id = fields.UUID(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    full_name = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)


class SessionOutput(Output):
    token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    expires_at = fields.DateTime(required=True)
    user = fields.Nested(UserOutput, required=True)
