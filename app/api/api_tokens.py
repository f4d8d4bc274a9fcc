"""API tokens for build servers: one's own, and for Admins those of others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask.typing import ResponseReturnValue

from app.api.routing import PREFIX, Call, Routes, no_content, page_answer
from app.api.schemas.api_tokens import NewTokenInput, NewTokenOutput, OwnerQuery, TokenOutput, TokensQuery
from app.api.wire import instant, instant_or_none
from app.orchestrator import api_tokens
from app.orchestrator.api_tokens import TokenView
from app.orchestrator.roles import Role

routes = Routes("tokens")
PATH = "/authentication/tokens"


@routes.get(PATH, role=Role.VIEWER, query=TokensQuery, answers={200: [TokenOutput]}, problems=(404,))
def list_tokens(call: Call) -> ResponseReturnValue:
    """One's own tokens, newest first; with `user`, as an Admin, those of another user. Revoked ones are left out."""
    page = api_tokens.tokens(call.orchestrator, call.requester, call.page, owner=call.query["user"])
    return page_answer(page.map(_shown))


@routes.post(PATH, role=Role.VIEWER, body=NewTokenInput, answers={201: NewTokenOutput}, problems=(409,))
def create_token(call: Call) -> ResponseReturnValue:
    """Make a token of one's own. The answer is the only place that shows it. Refused with an API token."""
    body = call.body
    view, text = api_tokens.create(
        call.orchestrator,
        call.requester,
        name=body["name"],
        roles=body["roles"],
        expires_at=body["expires_at"],
        expires_in=body["expires_in"],
    )
    return {**_shown(view), "token": text}, 201, {"Location": f"{PREFIX}{PATH}/{view.id}"}


@routes.operation("DELETE", f"{PATH}/<uuid:token_id>", role=Role.VIEWER, query=OwnerQuery, answers={204: None})
def revoke_token(call: Call, token_id: UUID) -> ResponseReturnValue:
    """Revoke a token of one's own or, with `user`, as an Admin, of another user. It counts at once."""
    api_tokens.revoke(call.orchestrator, call.requester, token_id, owner=call.query["user"])
    return no_content()


def _shown(view: TokenView) -> dict[str, Any]:
    return {
        "id": str(view.id),
        "name": view.name,
        "prefix": view.prefix,
        "user": view.username,
        "roles": list(view.roles),
        "createdAt": instant(view.created_at),
        "expiresAt": instant_or_none(view.expires_at),
        "lastUsedAt": instant_or_none(view.last_used_at),
        "expired": view.expired,
    }
