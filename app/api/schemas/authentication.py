"""Log-ins, and who one is."""

from __future__ import annotations

from typing import Any

from flask import g
from marshmallow import fields, validates

from app.api.schemas.fields import Flag, Input, Output, Text
from app.api.schemas.users import PASSWORD_RULE, UserOutput, complain
from app.domain.accounts import LONGEST_PASSWORD, password_faults


class LoginInput(Input):
    username = Text(200, required=True)
    password = Text(1000, required=True)


class RefreshInput(Input):
    refresh_token = Text(4000, required=True)


class LogoutInput(Input):
    refresh_token = Text(4000, load_default=None, allow_none=True)


class PasswordInput(Input):
    current_password = Text(LONGEST_PASSWORD, required=True, metadata={"writeOnly": True})
    password = fields.String(required=True, metadata={"writeOnly": True, "description": PASSWORD_RULE})
    keep_tokens = Flag(load_default=False)

    @validates("password")
    def _password(self, value: str, data_key: str, **_: Any) -> None:
        complain(password_faults(value, g.requester.username))


class UsedTokenOutput(Output):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    expires_at = fields.DateTime(required=True, allow_none=True)


class MeOutput(UserOutput):
    """`roles` are those that count for this request; `token` is there for an API token."""

    token = fields.Nested(UsedTokenOutput)


class SessionOutput(Output):
    token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    expires_at = fields.DateTime(required=True)
    user = fields.Nested(UserOutput, required=True)
