"""The OpenAPI document, made of the operations' declarations: whole paths, `security: []` where no token is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from apispec import APISpec
from marshmallow import Schema

from app.api.problems import CONTENT_TYPE
from app.api.routing import Body, Operation
from app.api.schemas.problem import Problem

BEARER = "bearer"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The token of a log-in (a JWT), or an API token of a user (`hs_...`) for build servers.",
}
_PLACEHOLDER = re.compile(r"<(?:(\w+):)?(\w+)>")
_PROBLEM_TEXT = {
    400: "Malformed or invalid; `errors` names every bad field",
    401: "No valid token",
    403: "The role is missing",
    404: "No such resource",
    408: "The body did not arrive in time",
    409: "The state forbids it",
    410: "It could be done until a moment that has passed",
    412: "It is not what If-Match names",
    413: "The body is over the limit",
    415: "The body is of the wrong content type",
    416: "No such range",
    422: "Well-formed, and refused",
    423: "Locked after too many failed log-ins",
    428: "An edit needs If-Match",
    429: "Too many; see Retry-After",
    503: "The database does not answer; see Retry-After",
}


def describe(spec: APISpec, operations: Iterable[Operation]) -> APISpec:
    """Add every operation to `spec`."""
    spec.components.security_scheme(BEARER, _SCHEME)
    spec.components.schema("Problem", schema=Problem)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PLACEHOLDER.sub(r"{\2}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    for path, described in sorted(paths.items()):
        spec.path(path=path, operations=described)
    return spec


def _operation(operation: Operation) -> dict[str, Any]:
    first, _, rest = (operation.handler.__doc__ or operation.handler.__name__).strip().partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.endpoint,
        "tags": [operation.tag],
        "summary": first,
        "security": [{BEARER: []}] if operation.role else [],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if rest.strip():
        described["description"] = rest.strip()
    if operation.role:
        described["x-role"] = operation.role.value
    body = _request_body(operation)
    if body:
        described["requestBody"] = body
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for converter, name in _PLACEHOLDER.findall(operation.path):
        schema = {"type": "string", "format": "uuid"} if converter == "uuid" else {"type": "string", "minLength": 1}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if operation.query is not None:
        parameters.append({"in": "query", "schema": operation.query})
    if operation.headers is not None:
        parameters.append({"in": "header", "schema": operation.headers})
    return parameters


def _request_body(operation: Operation) -> dict[str, Any] | None:
    if operation.form is not None:
        schema: dict[str, Any] = {
            "type": "object",
            "required": ["artifact", "signature", "keyId"],
            "properties": {
                "artifact": {"type": "string", "format": "binary", "description": "the .tar.gz"},
                "signature": {"type": "string"},
                "keyId": {"type": "string"},
                "metadata": {
                    "type": "string",
                    "description": "JSON: texts by name, such as commit, branch, buildUrl, notes; at most 50",
                },
                "provenance": {"type": "string", "description": "JSON: a mapping of at most 32 KiB"},
            },
        }
        return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    if operation.body is None:
        return None
    needed = any(field.required for field in operation.body().fields.values())
    return {"required": needed, "content": {"application/json": {"schema": operation.body}}}


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, body in operation.answers.items():
        responses[str(status)] = {"description": "Done as asked", **_content(body)}
    expected = {503, *operation.problems}
    if operation.body is not None or operation.query is not None or operation.form is not None:
        expected.add(400)
    if operation.body is not None:
        expected |= {408, 413, 415}
    if operation.form is not None:
        expected.add(408)
    if operation.role is not None:
        expected |= {401, 403}
    if "<" in operation.path:
        expected.add(404)
    for status in sorted(expected):
        responses.setdefault(
            str(status), {"description": _PROBLEM_TEXT[status], "content": {CONTENT_TYPE: {"schema": Problem}}}
        )
    return responses


def _content(body: Body) -> dict[str, Any]:
    if body is None:
        return {}
    if isinstance(body, str):
        return {"content": {body: {"schema": {"type": "object" if body == "application/json" else "string"}}}}
    if isinstance(body, Mapping):
        return {"content": {media: next(iter(_content(inner)["content"].values())) for media, inner in body.items()}}
    schema: type[Schema] | dict[str, Any] = {"type": "array", "items": body[0]} if isinstance(body, list) else body
    return {"content": {"application/json": {"schema": schema}}}
