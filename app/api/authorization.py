"""Who makes a request, and may they."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import sqlalchemy.exc
from flask import g, request

from app.api.dependencies import dependencies
from app.api.tokens import session_of
from app.domain.errors import NotAuthenticated, NotPermitted
from app.infrastructure.api_tokens import is_meant_as_token
from app.orchestrator import api_tokens, authentication
from app.orchestrator.context import Orchestrator, Requester
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


def _asking_again(orchestrator: Orchestrator, requester: Requester, token: str) -> Callable[[], bool]:
    """Whether the session or API token is good still; for streams, which ask without a request's context."""

    def still() -> bool:
        try:
            if requester.session_id is not None:
                authentication.identify(orchestrator, requester.session_id)
            else:
                api_tokens.identify(orchestrator, token)
        except NotAuthenticated:
            return False
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError):
            return True  # it cannot be asked now, and nothing new can be read now either
        return True

    return still


def authenticate(role: Role) -> Requester:
    """The requester, who has at least `role`. Raises NotAuthenticated, NotPermitted."""
    token = bearer_token()
    requester = _requester(token)
    g.requester = requester
    g.still_authenticated = _asking_again(dependencies().orchestrator, requester, token)
    g.username = requester.username
    g.tenant_id = requester.tenant_id
    if not role.granted_by(requester.roles):
        raise NotPermitted(f"This needs the role {role.value}.")
    return requester
