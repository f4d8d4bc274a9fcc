"""A short fuzz over the OpenAPI document: nothing is ever a 500, and every answer is as the document says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.api.conftest import Headers, Publisher, archive

# Random log-ins and passwords would lock names; test_authentication.py and test_users.py have them.
LEFT_OUT = tuple(f"/authentication/{name}" for name in ("login", "refresh", "logout", "password"))
EXAMPLES = 4


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_ever_a_server_error(
    method: str, app: Flask, log_in: Callable[[str], Headers], publish: Publisher
) -> None:
    assert publish(archive()).status_code == 201
    headers = log_in("admin")
    schema: Any = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    fuzzed = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.method.upper() != method or any(part in operation.path for part in LEFT_OUT):
            continue
        fuzzed += 1
        _fuzz(operation, headers)
    assert fuzzed


def _fuzz(operation: Any, headers: Headers) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        expected = 503 if "/health" in case.path else None
        response = case.call(headers=headers)
        if response.status_code == expected:
            return
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    one()
