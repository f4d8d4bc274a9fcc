"""Trusted publisher keys."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue

from app.api.routing import Call, Routes, no_content, page_answer
from app.api.schemas.fields import PageQuery
from app.api.schemas.releases import KeyInput, KeyOutput
from app.api.wire import instant
from app.orchestrator import keys
from app.orchestrator.keys import TrustedKey
from app.orchestrator.roles import Role

routes = Routes("keys")


@routes.get("/keys", role=Role.VIEWER, query=PageQuery, answers={200: [KeyOutput]})
def list_keys(call: Call) -> ResponseReturnValue:
    """The public keys whose signatures are believed, and where."""
    return page_answer(keys.trusted(call.orchestrator, call.requester, call.page).map(_shown))


@routes.post("/keys", role=Role.ADMIN, body=KeyInput, answers={201: KeyOutput}, problems=(409,))
def trust_key(call: Call) -> ResponseReturnValue:
    """Trust a publisher's public key, in one environment or in all."""
    key = keys.trust(
        call.orchestrator,
        call.requester,
        public_key=call.body["public_key"],
        name=call.body["name"],
        environment=call.body["environment"],
    )
    return _shown(key), 201


@routes.operation("DELETE", "/keys/<key_id>", role=Role.ADMIN, answers={204: None}, problems=(404,))
def distrust_key(call: Call, key_id: str) -> ResponseReturnValue:
    """Trust a key nowhere any more."""
    keys.distrust(call.orchestrator, call.requester, key_id)
    return no_content()


def _shown(key: TrustedKey) -> dict[str, Any]:
    return {
        "keyId": key.key_id,
        "name": key.name,
        "publicKey": key.public_key,
        "environment": key.environment,
        "createdBy": key.created_by,
        "createdAt": instant(key.created_at),
    }
