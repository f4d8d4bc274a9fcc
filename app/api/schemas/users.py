"""Users: what Admins give, and what is shown of them."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import g, request
from marshmallow import ValidationError, fields, validate, validates, validates_schema

from app.api.dependencies import dependencies
from app.api.schemas.fields import Flag, Input, Output, PageQuery, Text, Word
from app.domain.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, password_faults, username_faults
from app.domain.errors import NotFound
from app.orchestrator import users
from app.orchestrator.roles import Role

_LONGEST_EMAIL = 254
PASSWORD_RULE = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; neither the user's name nor the product's"


def role_list(**more: Any) -> fields.List[Any]:
    """At least one role; each includes those before it."""
    return fields.List(Word(Role), validate=validate.Length(min=1, max=len(Role)), **more)


class Email(fields.Email):
    def __init__(self, **more: Any) -> None:
        super().__init__(validate=validate.Length(max=_LONGEST_EMAIL), **more)


def readable(value: str) -> None:
    """A text for people: nothing in it moves a cursor, hides, or turns the direction of writing."""
    if not value.strip() or not value.isprintable():
        raise ValidationError("must be a name that can be read")


class PersonName(fields.String):
    def __init__(self, **more: Any) -> None:
        super().__init__(validate=[validate.Length(min=1, max=200), readable], **more)


class ReadOnly(fields.Raw):
    """A field that is refused by its own sentence, which says more than "unknown field"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> NoReturn:
        raise ValidationError("cannot be changed")


class NewUserInput(Input):
    username = Text(200, required=True)
    email = Email(required=True)
    full_name = PersonName(required=True)
    roles = role_list(required=True)
    password = fields.String(required=True, metadata={"writeOnly": True, "description": PASSWORD_RULE})
    disabled = Flag(load_default=False)

    @validates("username")
    def _username(self, value: str, data_key: str, **_: Any) -> None:
        complain(username_faults(value))

    @validates_schema(skip_on_field_errors=False)
    def _password(self, data: dict[str, Any], **_: Any) -> None:
        if "password" in data:
            complain(password_faults(data["password"], data.get("username")), "password")


class UserChangesInput(Input):
    """Only what is to change. With a password every session of the user ends, and every API token unless kept."""

    username = ReadOnly(metadata={"description": "cannot be changed"}, load_only=True)
    email = Email()
    full_name = PersonName()
    roles = role_list()
    disabled = Flag()
    password = fields.String(metadata={"writeOnly": True, "description": PASSWORD_RULE})
    keep_tokens = Flag(load_default=False)
    locked = Flag(
        validate=validate.Equal(False, error="can only be false: failed log-ins lock, and nobody else does"),
        metadata={"description": "false lifts the lock that failed log-ins have brought about"},
    )

    @validates("password")
    def _password(self, value: str, data_key: str, **_: Any) -> None:
        """The user's name is asked for here, so that a bad password is named among the other bad fields."""
        complain(password_faults(value, _username_of_path()))


def complain(faults: list[str], field: str | None = None) -> None:
    """Raises ValidationError when there are any."""
    if faults:
        raise ValidationError(faults) if field is None else ValidationError({field: faults})


def _username_of_path() -> str | None:
    try:
        return users.user(dependencies().orchestrator, g.requester, (request.view_args or {})["user_id"]).username
    except NotFound:
        return None  # the use case says so


class UsersQuery(PageQuery):
    username = Text(200, load_default=None)


class UserOutput(Output):
    id = fields.UUID(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    full_name = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)


class ManagedUserOutput(UserOutput):
    disabled = fields.Boolean(required=True)
    locked_until = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "no log-in before, after too many that failed"}
    )
    created_at = fields.DateTime(required=True)
    version = fields.Integer(required=True)
