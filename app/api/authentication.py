"""Log in, refresh, log out, who am I."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from app.api.authorization import bearer_token
from app.api.routing import Call, Routes, no_content
from app.api.schemas.authentication import (
    LoginInput,
    LogoutInput,
    MeOutput,
    PasswordInput,
    RefreshInput,
    SessionOutput,
)
from app.api.tokens import issue, refresh_of, session_of
from app.api.wire import instant, instant_or_none
from app.orchestrator import authentication
from app.orchestrator.authentication import Account, OpenSession
from app.orchestrator.roles import Role, ordered

routes = Routes("authentication")


@routes.post(
    "/authentication/login", role=None, body=LoginInput, answers={200: SessionOutput}, problems=(401, 423, 429)
)
def login(call: Call) -> ResponseReturnValue:
    """Log in with name and password. Five failures lock the name for a while."""
    return _session(authentication.log_in(call.orchestrator, call.body["username"], call.body["password"]))


@routes.post("/authentication/refresh", role=None, body=RefreshInput, answers={200: SessionOutput}, problems=(401,))
def refresh(call: Call) -> ResponseReturnValue:
    """Exchange a refresh token, which is good once, for new tokens."""
    session_id, refresh_id = refresh_of(call.body["refresh_token"])
    return _session(authentication.refresh(call.orchestrator, session_id, refresh_id))


@routes.post("/authentication/logout", role=None, body=LogoutInput, answers={204: None}, problems=(401,))
def logout(call: Call) -> ResponseReturnValue:
    """End the session of the refresh token in the body or, without one, of the bearer token."""
    given: str | None = call.body["refresh_token"]
    session_id = refresh_of(given)[0] if given else session_of(bearer_token())
    authentication.log_out(call.orchestrator, session_id)
    return no_content()


@routes.get("/authentication/me", role=Role.VIEWER, answers={200: MeOutput})
def me(call: Call) -> ResponseReturnValue:
    """The user whose token this is; with an API token also which one, and the roles that are left with it."""
    shown = _user(authentication.account(call.orchestrator, call.requester))
    used = call.requester.token
    if used is None:
        return shown
    return {
        **shown,
        "roles": ordered(call.requester.roles),
        "token": {"id": str(used.id), "name": used.name, "expiresAt": instant_or_none(used.expires_at)},
    }


@routes.post(
    "/authentication/password", role=Role.VIEWER, body=PasswordInput, answers={204: None}, problems=(423, 429)
)
def change_password(call: Call) -> ResponseReturnValue:
    """Give yourself another password. It ends your other sessions and, unless they are kept, your API tokens.

    A wrong current password counts as a failed log-in. Refused with an API token.
    """
    body = call.body
    authentication.change_password(
        call.orchestrator,
        call.requester,
        body["current_password"],
        body["password"],
        keep_tokens=body["keep_tokens"],
    )
    return no_content()


def _session(session: OpenSession) -> ResponseReturnValue:
    access, refresh_token, expires_at = issue(session)
    return {
        "token": access,
        "refreshToken": refresh_token,
        "expiresAt": instant(expires_at),
        "user": _user(session.account),
    }


def _user(account: Account) -> dict[str, object]:
    return {
        "id": str(account.id),
        "username": account.username,
        "email": account.email,
        "fullName": account.full_name,
        "roles": list(account.roles),
    }
