"""Who makes a request, and may they."""

from __future__ import annotations

from flask import g, request

from app.api.dependencies import dependencies
from app.api.tokens import session_of
from app.domain.errors import NotAuthenticated, NotPermitted
from app.infrastructure.api_tokens import is_meant_as_token
from app.orchestrator import api_tokens, authentication
from app.orchestrator.context import Requester
from app.orchestrator.roles import Role


def bearer_token() -> str:
    """The token of the request. Raises NotAuthenticated."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Log in: this needs an Authorization header with a bearer token.")
    return token.strip()


def _requester(token: str) -> Requester:
    shared = dependencies()
    if not is_meant_as_token(token):
        return authentication.identify(shared.orchestrator, session_of(token))
    identified = api_tokens.identify(shared.orchestrator, token)
    if identified.use_is_old:
        shared.token_use.note(identified.token_id)
    return identified.requester


def authenticate(role: Role) -> Requester:
    """The requester, who has at least `role`. Raises NotAuthenticated, NotPermitted."""
    requester = _requester(bearer_token())
    g.requester = requester
    g.username = requester.username
    g.tenant_id = requester.tenant_id
    if not role.granted_by(requester.roles):
        raise NotPermitted(f"This needs the role {role.value}.")
    return requester
