"""What holds for every operation, whichever it is: roles, problems, the document, trace ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.api.application import operations
from app.api.routing import Operation
from app.orchestrator.roles import Role
from tests.integration.api.conftest import Headers, problem_of

SOME_ID = "01900000-0000-7000-8000-00000000dead"
# Every path of the contract that exists so far, with the least role for each method.
CONTRACT = {
    "GET /health/live": None,
    "GET /health/ready": None,
    "GET /health": None,
    "GET /metrics": None,
    "GET /api/v1/openapi.json": None,
    "GET /api/v1/docs": None,
    "POST /api/v1/authentication/login": None,
    "POST /api/v1/authentication/refresh": None,
    "POST /api/v1/authentication/logout": None,
    "GET /api/v1/authentication/me": Role.VIEWER,
    "POST /api/v1/authentication/password": Role.VIEWER,
    "GET /api/v1/authentication/tokens": Role.VIEWER,
    "POST /api/v1/authentication/tokens": Role.VIEWER,
    "DELETE /api/v1/authentication/tokens/{token_id}": Role.VIEWER,
    "GET /api/v1/users": Role.ADMIN,
    "POST /api/v1/users": Role.ADMIN,
    "GET /api/v1/users/{user_id}": Role.ADMIN,
    "PATCH /api/v1/users/{user_id}": Role.ADMIN,
    "DELETE /api/v1/users/{user_id}": Role.ADMIN,
    "GET /api/v1/keys": Role.VIEWER,
    "POST /api/v1/keys": Role.ADMIN,
    "DELETE /api/v1/keys/{key_id}": Role.ADMIN,
    "GET /api/v1/modules": Role.VIEWER,
    "GET /api/v1/modules/{module_name}": Role.VIEWER,
    "GET /api/v1/modules/{module_name}/environments": Role.VIEWER,
    "GET /api/v1/modules/{module_name}/policy/{environment}": Role.VIEWER,
    "PUT /api/v1/modules/{module_name}/policy/{environment}": Role.ADMIN,
    "DELETE /api/v1/modules/{module_name}/policy/{environment}": Role.ADMIN,
    "GET /api/v1/modules/{module_name}/releases": Role.VIEWER,
    "POST /api/v1/modules/{module_name}/releases": Role.DEPLOYER,
    "GET /api/v1/modules/{module_name}/releases/{version}": Role.VIEWER,
    "GET /api/v1/modules/{module_name}/releases/{version}/artifact": Role.VIEWER,
    "GET /api/v1/modules/{module_name}/releases/{version}/attestation": Role.VIEWER,
    "GET /api/v1/modules/{module_name}/releases/{version}/sbom": Role.VIEWER,
    "GET /api/v1/approvals/pending": Role.VIEWER,
    "GET /api/v1/approvals/deployments/{execution_id}": Role.VIEWER,
    # Whom the policy of the environment names; Approver by default.
    "POST /api/v1/approvals/deployments/{execution_id}/approve": Role.VIEWER,
    "POST /api/v1/approvals/deployments/{execution_id}/reject": Role.VIEWER,
    "GET /api/v1/status": Role.VIEWER,
    "GET /api/v1/deployments": Role.VIEWER,
    "POST /api/v1/deployments": Role.DEPLOYER,
    "GET /api/v1/deployments/{execution_id}": Role.VIEWER,
    "GET /api/v1/deployments/{execution_id}/nodes": Role.VIEWER,
    "GET /api/v1/deployments/{execution_id}/events": Role.VIEWER,
    "GET /api/v1/deployments/{execution_id}/stages/{stage}/log": Role.VIEWER,
    "POST /api/v1/deployments/{execution_id}/cancel": Role.DEPLOYER,
    "POST /api/v1/deployments/{execution_id}/pause": Role.DEPLOYER,
    "POST /api/v1/deployments/{execution_id}/resume": Role.DEPLOYER,
    "POST /api/v1/deployments/{execution_id}/promote": Role.DEPLOYER,
    "POST /api/v1/deployments/{execution_id}/retry": Role.DEPLOYER,
    "POST /api/v1/deployments/{execution_id}/rollback": Role.DEPLOYER,
    "GET /api/v1/environments": Role.VIEWER,
    "GET /api/v1/environments/{name}": Role.VIEWER,
    "PUT /api/v1/environments/{name}": Role.ADMIN,
    "DELETE /api/v1/environments/{name}": Role.ADMIN,
    "GET /api/v1/clusters": Role.VIEWER,
    "GET /api/v1/clusters/{environment}": Role.VIEWER,
    "GET /api/v1/clusters/{environment}/metrics": Role.VIEWER,
    "GET /api/v1/nodes": Role.VIEWER,
    "GET /api/v1/nodes/{node_id}": Role.VIEWER,
    "PATCH /api/v1/nodes/{node_id}": Role.ADMIN,
    "DELETE /api/v1/nodes/{node_id}": Role.ADMIN,
    "POST /api/v1/nodes/{node_id}/drain": Role.ADMIN,
    "POST /api/v1/nodes/{node_id}/undrain": Role.ADMIN,
    "GET /api/v1/nodes/{node_id}/modules/{module_name}/log": Role.VIEWER,
}
# Whatever its body; others refuse a token some of theirs (test_tokens.py).
PEOPLES = {"DELETE /api/v1/users/{user_id}", "DELETE /api/v1/authentication/tokens/{token_id}"}


def whole_path(rule: str) -> str:
    return re.sub(r"<(?:[^<:]+:)?([^>]+)>", r"{\1}", rule)


def call(client: FlaskClient, operation: Operation, headers: Headers) -> TestResponse:
    path = re.sub(r"<uuid:\w+>", SOME_ID, operation.path)
    path = re.sub(r"<\w+>", "something", path)
    return client.open(path, method=operation.method, headers=headers)


@pytest.fixture
def guarded() -> Iterator[list[Operation]]:
    yield [operation for operation in operations() if operation.role is not None]


def test_every_route_is_an_operation_of_the_contract_with_its_role(app: Flask) -> None:
    declared = {f"{operation.method} {whole_path(operation.path)}": operation.role for operation in operations()}
    assert declared == CONTRACT
    served = {
        f"{method} {whole_path(rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert served == CONTRACT.keys()


def test_without_a_token_every_guarded_operation_is_401(client: FlaskClient, guarded: list[Operation]) -> None:
    for operation in guarded:
        answer = call(client, operation, {})
        assert answer.status_code == 401, operation
        problem_of(answer)


def test_who_lacks_the_role_gets_403_and_who_has_it_does_not(
    client: FlaskClient, guarded: list[Operation], log_in: Callable[[str], Headers]
) -> None:
    users = {Role.VIEWER: "viewer", Role.DEPLOYER: "deployer", Role.APPROVER: "approver", Role.ADMIN: "admin"}
    for operation in guarded:
        assert operation.role is not None
        for role, username in users.items():
            answer = call(client, operation, log_in(username))
            if role.rank < operation.role.rank:
                assert answer.status_code == 403, (operation, username)
                problem_of(answer)
            else:
                assert answer.status_code not in (401, 403) and answer.status_code < 500, (operation, answer.text)


def test_a_token_may_what_its_role_may_on_every_operation(
    client: FlaskClient, guarded: list[Operation], admin: Headers, viewer: Headers
) -> None:
    """Tokens of an Admin with each role; that of a Viewer may nothing more, whatever it was made with."""
    for role in Role:
        body = {"name": f"ci-{role.value}", "roles": [role.value]}
        made = client.post("/api/v1/authentication/tokens", json=body, headers=admin)
        assert made.status_code == 201, made.text
        headers = {"Authorization": f"Bearer {made.json['token']}"}  # type: ignore[index]
        for operation in guarded:
            assert operation.role is not None
            answer = call(client, operation, headers)
            if role.rank < operation.role.rank or f"{operation.method} {whole_path(operation.path)}" in PEOPLES:
                assert answer.status_code == 403, (operation, role)
                problem_of(answer)
            else:
                assert answer.status_code not in (401, 403) and answer.status_code < 500, (operation, answer.text)
    too_much = client.post(
        "/api/v1/authentication/tokens", json={"name": "ci", "roles": ["Deployer"]}, headers=viewer
    )
    assert too_much.status_code == 400 and problem_of(too_much)["errors"].keys() == {"roles"}


def test_tokens_that_are_none_are_401_on_every_operation(client: FlaskClient, guarded: list[Operation]) -> None:
    for token in ("hs_" + "x" * 43, "hs_", "hs_" + "\u00e9" * 43):
        for operation in guarded:
            answer = call(client, operation, {"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, (operation, token)
            problem_of(answer)


def test_unknown_paths_and_methods_are_problems(client: FlaskClient, viewer: Headers) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/topics", 404),
        ("GET", "/api/v1/modules/a%00b", 404),
        ("GET", "/api/v1/modules/" + "x" * 10_000, 404),
        ("PUT", "/api/v1/deployments", 405),
        ("BREW", "/api/v1/deployments", 405),
    ):
        answer = client.open(path, method=method, headers=viewer)
        assert answer.status_code == status, path
        body = problem_of(answer)
        assert body["traceId"] == answer.headers["X-Trace-Id"]
        if status == 405:
            assert "POST" in answer.headers["Allow"]


def test_a_trace_is_taken_over_only_when_it_is_one(client: FlaskClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    for header, taken in (
        (f"00-{trace}-b7ad6b7169203331-01", True),
        (f"cc-{trace}-b7ad6b7169203331-01-more", True),
        (f"00-{trace}-b7ad6b7169203331-01-more", False),
        (f"ff-{trace}-b7ad6b7169203331-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{trace}-{'0' * 16}-01", False),
        (f"00-{trace.upper()}-b7ad6b7169203331-01", False),
        ("x" * 10_000, False),
    ):
        answer = client.get("/health/live", headers={"traceparent": header})
        assert (answer.headers["X-Trace-Id"] == trace) is taken, header
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Trace-Id"])


def test_the_document_has_every_operation_whole(client: FlaskClient) -> None:
    document: Any = client.get("/api/v1/openapi.json").json
    described = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described.keys() == CONTRACT.keys()
    for name, operation in described.items():
        assert operation["security"] == ([] if CONTRACT[name] is None else [{"bearer": []}])
        for status, response in operation["responses"].items():
            if int(status) >= 400 and "/health" not in name:
                reference = response["content"]["application/problem+json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/Problem"
    assert "errors" in document["components"]["schemas"]["Problem"]["properties"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    submission = document["components"]["schemas"]["SubmissionInput"]
    assert "moduleName" in submission["required"]
    page = client.get("/api/v1/docs")
    assert page.status_code == 200 and "/api/v1/deployments/{execution_id}/rollback" in page.text
