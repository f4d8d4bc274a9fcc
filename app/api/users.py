"""Users, for Admins. No answer has a password or its hash."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask.typing import ResponseReturnValue

from app.api.preconditions import etag, expected_version
from app.api.routing import PREFIX, Call, Routes, no_content, page_answer
from app.api.schemas.preconditions import IfMatchHeader
from app.api.schemas.users import ManagedUserOutput, NewUserInput, UserChangesInput, UsersQuery
from app.api.wire import instant
from app.orchestrator import users
from app.orchestrator.roles import Role
from app.orchestrator.users import NewUser, UserChanges, UserView

routes = Routes("users")


@routes.get("/users", role=Role.ADMIN, query=UsersQuery, answers={200: [ManagedUserOutput]})
def list_users(call: Call) -> ResponseReturnValue:
    """Every user, newest first, or the one of that name."""
    page = users.list_users(call.orchestrator, call.requester, call.page, username=call.query["username"])
    return page_answer(page.map(_shown))


@routes.post("/users", role=Role.ADMIN, body=NewUserInput, answers={201: ManagedUserOutput}, problems=(409, 429))
def create(call: Call) -> ResponseReturnValue:
    """Make a user. Refused with an API token."""
    view = users.create(call.orchestrator, call.requester, NewUser(**call.body))
    return _shown(view), 201, {"Location": f"{PREFIX}/users/{view.id}", **etag(view.version)}


@routes.get("/users/<uuid:user_id>", role=Role.ADMIN, answers={200: ManagedUserOutput})
def show(call: Call, user_id: UUID) -> ResponseReturnValue:
    """One user."""
    return _answer(users.user(call.orchestrator, call.requester, user_id))


@routes.operation(
    "PATCH",
    "/users/<uuid:user_id>",
    role=Role.ADMIN,
    body=UserChangesInput,
    headers=IfMatchHeader,
    answers={200: ManagedUserOutput},
    problems=(409, 429),
)
def change(call: Call, user_id: UUID) -> ResponseReturnValue:
    """Change what is given; it counts at once, also for sessions and tokens that are open.

    The last enabled Admin stays one (409). `{"locked": false}` lifts the lock after too many failed log-ins; a new
    password does so, too. With an API token `password`, `roles`, `disabled` and `locked` are refused (403).
    """
    given = dict(call.body)
    changes = UserChanges(unlock=given.pop("locked", None) is False, **given)
    return _answer(
        users.change(call.orchestrator, call.requester, user_id, changes, expected_version=_expected(call, user_id))
    )


@routes.operation(
    "DELETE", "/users/<uuid:user_id>", role=Role.ADMIN, headers=IfMatchHeader, answers={204: None}, problems=(400, 409)
)
def remove(call: Call, user_id: UUID) -> ResponseReturnValue:
    """Remove a user with all sessions and tokens; the last enabled Admin cannot be removed (409).

    Refused with an API token.
    """
    users.remove(call.orchestrator, call.requester, user_id, expected_version=_expected(call, user_id))
    return no_content()


def _expected(call: Call, user_id: UUID) -> int | None:
    return expected_version(lambda: users.user(call.orchestrator, call.requester, user_id).version)


def _answer(view: UserView) -> ResponseReturnValue:
    return _shown(view), 200, etag(view.version)


def _shown(view: UserView) -> dict[str, Any]:
    return {
        "id": str(view.id),
        "username": view.username,
        "email": view.email,
        "fullName": view.full_name,
        "roles": list(view.roles),
        "disabled": view.disabled,
        "lockedUntil": instant(view.locked_until) if view.locked_until else None,
        "createdAt": instant(view.created_at),
        "version": view.version,
    }
