"""Environments and their policies, edited with an ETag."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue

from app.api.preconditions import etag, expected_version
from app.api.routing import Call, Routes, no_content
from app.api.schemas.environments import EnvironmentOutput, PolicyInput
from app.api.schemas.preconditions import IfMatchHeader
from app.api.wire import instant
from app.orchestrator import environments
from app.orchestrator.environments import EnvironmentView
from app.orchestrator.roles import Role

routes = Routes("environments")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,61}")
_READ_ONLY = ("name", "version", "updatedAt", "updatedBy")


@routes.get("/environments", role=Role.VIEWER, answers={200: [EnvironmentOutput]})
def list_environments(call: Call) -> ResponseReturnValue:
    """Every environment with its policy, in their order."""
    return [_shown(found) for found in environments.list_environments(call.orchestrator, call.requester)]


@routes.get("/environments/<name>", role=Role.VIEWER, answers={200: EnvironmentOutput, 304: None}, problems=(404,))
def show(call: Call, name: str) -> ResponseReturnValue:
    """One environment with its policy; the ETag is what a PUT needs."""
    view = environments.environment(call.orchestrator, call.requester, name)
    if request.if_none_match.contains_weak(str(view.version)):
        return Response(status=304, headers=etag(view.version))
    return _answer(view)


@routes.operation(
    "PUT",
    "/environments/<name>",
    role=Role.ADMIN,
    body=PolicyInput,
    headers=IfMatchHeader,
    answers={200: EnvironmentOutput, 201: EnvironmentOutput},
    problems=(409, 428),
)
def put(call: Call, name: str) -> ResponseReturnValue:
    """Create an environment, or change its policy as a whole. What is left out takes its default."""
    body = dict(call.body)
    given_name = body.get("name")
    for field in _READ_ONLY:
        body.pop(field, None)
    stored = environments.put(
        call.orchestrator,
        call.requester,
        name,
        {key: value for key, value in body.items() if key not in ("order", "reason")},
        order=body.get("order"),
        reason=body.get("reason"),
        expected_version=expected_version(
            lambda: environments.environment(call.orchestrator, call.requester, name).version
        ),
        complaints=_about_name(name, given_name),
    )
    return _answer(stored)


@routes.operation("DELETE", "/environments/<name>", role=Role.ADMIN, answers={204: None}, problems=(404, 409))
def delete(call: Call, name: str) -> ResponseReturnValue:
    """Remove an environment that has neither nodes nor deployments."""
    environments.delete(call.orchestrator, call.requester, name)
    return no_content()


def _about_name(name: str, given: object) -> dict[str, list[str]]:
    if not _NAME.fullmatch(name):
        return {"name": ["must be 1 to 62 letters, digits, spaces, _ or -, and start with a letter or digit"]}
    if given is not None and not (isinstance(given, str) and given.lower() == name.lower()):
        return {"name": ["differs from the URL's"]}
    return {}


def _answer(view: EnvironmentView) -> ResponseReturnValue:
    return _shown(view), 201 if view.created else 200, etag(view.version)


def _shown(view: EnvironmentView) -> dict[str, Any]:
    return {
        "name": view.name,
        "order": view.order,
        **view.policy,
        "version": view.version,
        "updatedAt": instant(view.updated_at),
        "updatedBy": view.updated_by,
    }
