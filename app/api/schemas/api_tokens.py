"""API tokens: what is asked for, and what is shown of them. The token itself is in one answer only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import g
from marshmallow import ValidationError, fields, validates, validates_schema

from app.api.schemas.fields import Input, Moment, Output, PageQuery, Text
from app.api.schemas.users import readable, role_list
from app.domain.durations import parse_duration
from app.infrastructure.api_tokens import contains_token
from app.orchestrator import api_tokens


class Duration(fields.Field[timedelta]):
    """`90s`, `5m`, `90d`, `00:01:30`."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> timedelta:
        if not isinstance(value, str):
            raise ValidationError("must be a duration such as 90d, 12h or 30m")
        try:
            return parse_duration(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class NewTokenInput(Input):
    """Without `expiresAt` and `expiresIn` it is good until it is revoked; without `roles` it has Deployer, or less
    where its owner has less."""

    name = Text(100, required=True)
    roles = role_list(load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)
    expires_in = Duration(load_default=None, allow_none=True, metadata={"type": "string", "example": "90d"})

    @validates("name")
    def _name(self, value: str, data_key: str, **_: Any) -> None:
        readable(value)
        if contains_token(value):
            raise ValidationError("contains a token: a name is shown to everybody")

    @validates("roles")
    def _roles(self, value: list[str] | None, data_key: str, **_: Any) -> None:
        """Asked here, so that it is named among the other bad fields."""
        excess = api_tokens.excess(value or (), g.requester.roles)
        if excess:
            raise ValidationError(excess)

    @validates_schema(skip_on_field_errors=False)
    def _one_end(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("expires_in") is not None:
            if data.get("expires_at") is not None:
                one_of = ["give either expiresAt or expiresIn"]
                raise ValidationError({"expiresIn": one_of, "expiresAt": one_of})
            if not data["expires_in"]:
                raise ValidationError({"expiresIn": ["must be longer than 0"]})


class OwnerQuery(Input):
    user = Text(200, load_default=None, metadata={"description": "as an Admin: another user, by name or id"})


class TokensQuery(PageQuery, OwnerQuery):
    """A page of one's own tokens, or of another user's."""


class TokenOutput(Output):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    prefix = fields.String(required=True, metadata={"description": "how the token begins, to recognise it by"})
    user = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)
    created_at = fields.DateTime(required=True)
    expires_at = fields.DateTime(required=True, allow_none=True)
    last_used_at = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "noted at most once a minute"}
    )
    expired = fields.Boolean(required=True)


class NewTokenOutput(TokenOutput):
    token = fields.String(required=True, metadata={"description": "shown this once"})
