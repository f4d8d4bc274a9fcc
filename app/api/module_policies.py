"""What single modules override of an environment's policy, edited with an ETag."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue

from app.api.preconditions import etag, expected_version
from app.api.routing import Call, Routes, no_content
from app.api.schemas.environments import ModulePolicyOutput, OverridesInput, RemovalQuery
from app.api.schemas.preconditions import IfMatchHeader
from app.api.wire import instant_or_none
from app.orchestrator import module_policies
from app.orchestrator.module_policies import ModulePolicyView
from app.orchestrator.roles import Role

routes = Routes("policies")
_PATH = "/modules/<module_name>/policy/<environment>"


@routes.get(_PATH, role=Role.VIEWER, answers={200: ModulePolicyOutput}, problems=(404,))
def show(call: Call, module_name: str, environment: str) -> ResponseReturnValue:
    """What the module overrides, what holds for it, and what it cannot override; the ETag is what a PUT needs."""
    return _answer(module_policies.show(call.orchestrator, call.requester, module_name, environment))


@routes.operation(
    "PUT",
    _PATH,
    role=Role.ADMIN,
    body=OverridesInput,
    headers=IfMatchHeader,
    answers={200: ModulePolicyOutput, 201: ModulePolicyOutput},
    problems=(404, 409, 428),
)
def put(call: Call, module_name: str, environment: str) -> ResponseReturnValue:
    """Let these fields be all that the module overrides. Within a section, what is left out stays the environment's."""
    body = dict(call.body)
    reason = body.pop("reason", None)
    stored = module_policies.put(
        call.orchestrator,
        call.requester,
        module_name,
        environment,
        body,
        reason=reason,
        expected_version=expected_version(lambda: _version(call, module_name, environment)),
    )
    return _answer(stored)


@routes.operation(
    "DELETE",
    _PATH,
    role=Role.ADMIN,
    query=RemovalQuery,
    headers=IfMatchHeader,
    answers={204: None},
    problems=(404, 409),
)
def delete(call: Call, module_name: str, environment: str) -> ResponseReturnValue:
    """Let the environment's policy hold for the module again."""
    module_policies.delete(
        call.orchestrator,
        call.requester,
        module_name,
        environment,
        reason=call.query["reason"],
        expected_version=expected_version(lambda: _version(call, module_name, environment)),
    )
    return no_content()


def _version(call: Call, module_name: str, environment: str) -> int:
    return module_policies.show(call.orchestrator, call.requester, module_name, environment).version


def _answer(view: ModulePolicyView) -> ResponseReturnValue:
    return _shown(view), 201 if view.created else 200, etag(view.version)


def _shown(view: ModulePolicyView) -> dict[str, Any]:
    policy = view.effective.policy
    return {
        "moduleName": view.module_name,
        "environment": view.environment,
        "overrides": dict(view.overrides),
        "effective": policy.to_json(),
        "locked": list(policy.locked),
        "ignored": list(view.effective.ignored),
        "version": view.version,
        "reason": view.reason,
        "updatedAt": instant_or_none(view.updated_at),
        "updatedBy": view.updated_by,
    }
