"""Who makes a request, and may they."""

from __future__ import annotations

from flask import g, request

from app.api.dependencies import dependencies
from app.api.tokens import session_of
from app.domain.errors import NotAuthenticated, NotPermitted
from app.orchestrator import authentication
from app.orchestrator.context import Requester
from app.orchestrator.roles import Role


def bearer_token() -> str:
    """The token of the request. Raises NotAuthenticated."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Log in: this needs an Authorization header with a bearer token.")
    return token.strip()


def authenticate(role: Role) -> Requester:
    """The requester, who has at least `role`. Raises NotAuthenticated, NotPermitted."""
    requester = authentication.identify(dependencies().orchestrator, session_of(bearer_token()))
    g.username = requester.username
    g.tenant_id = requester.tenant_id
    if not role.granted_by(requester.roles):
        raise NotPermitted(f"This needs the role {role.value}.")
    return requester
