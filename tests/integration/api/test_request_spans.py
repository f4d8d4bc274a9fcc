"""Which requests are spans, and what of the caller's trace is continued."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from agent.telemetry import context, spans
from agent.telemetry.spans import Span, SpanKind
from agent.telemetry.traceparent import SpanContext, new_span_id, new_trace_id
from tests.integration.api.conftest import Headers

CALLER = SpanContext(new_trace_id(), new_span_id())


@pytest.fixture
def ended() -> Iterator[list[Span]]:
    """Every span that was handed on."""
    kept: list[Span] = []
    spans.install(kept.append)
    yield kept
    spans.install(None)


def test_a_request_that_changes_something_is_a_span(client: FlaskClient, deployer: Headers, ended: list[Span]) -> None:
    ended.clear()
    body = {"moduleName": "unknown", "version": "1.0.0", "targetEnvironment": "QA"}
    answer = client.post("/api/v1/deployments", json=body, headers={**deployer, "traceparent": CALLER.header()})
    assert (answer.status_code, answer.headers["X-Trace-Id"]) == (404, CALLER.trace_id)
    (span,) = ended
    assert (span.name, span.kind) == ("POST deployments.submit", SpanKind.SERVER)
    assert (span.trace_id, span.parent_id, span.error) == (CALLER.trace_id, CALLER.span_id, None)
    assert span.attributes == {
        "method": "POST", "endpoint": "deployments.submit", "path": "/api/v1/deployments", "status": 404,
        "user": "deployer",
    }  # fmt: skip


def test_a_look_is_a_span_only_for_a_caller_that_traces(
    client: FlaskClient, viewer: Headers, ended: list[Span]
) -> None:
    ended.clear()
    unsampled = SpanContext(new_trace_id(), new_span_id(), sampled=False)
    for header, count in (("", 0), ("nonsense", 0), (unsampled.header(), 0), (CALLER.header(), 1)):
        answer = client.get("/api/v1/deployments", headers={**viewer, "traceparent": header})
        assert answer.status_code == 200 and len(answer.headers["X-Trace-Id"]) == 32
        assert len(ended) == count
    assert client.get("/metrics").status_code == 200 and len(ended) == 1


def test_an_error_of_ours_is_a_failed_span(app: Flask, ended: list[Span]) -> None:
    def broken() -> Any:
        raise RuntimeError("a defect")

    app.add_url_rule("/broken", "broken", broken, methods=["POST"])
    assert app.test_client().post("/broken").status_code == 500
    assert ended[0].error == "answered 500"


def test_nothing_is_left_behind_for_the_next_request(client: FlaskClient, ended: list[Span]) -> None:
    client.post("/api/v1/deployments", headers={"traceparent": CALLER.header()})
    assert spans.current() is None and dict(context.current()) == {}
