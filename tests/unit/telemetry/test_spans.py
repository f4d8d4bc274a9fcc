"""Spans: below whom they are, what becomes of exceptions, and that they are nothing where nobody wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent.telemetry import context, otlp, spans
from agent.telemetry.spans import Span, SpanKind
from agent.telemetry.traceparent import SpanContext

PLACE = SpanContext("a" * 32, "b" * 16)


@pytest.fixture
def ended() -> Iterator[list[Span]]:
    """What was handed on."""
    kept: list[Span] = []
    spans.install(kept.append)
    yield kept
    spans.install(None)


def test_a_span_is_below_the_one_around_it(ended: list[Span]) -> None:
    with spans.continued(PLACE):
        with spans.span("outer", kind=SpanKind.SERVER, module="m") as outer, spans.span("inner") as inner:
            inner.set(outcome="done", reason=None)
        assert spans.current() == PLACE
    assert spans.current() is None
    assert [span.name for span in ended] == ["inner", "outer"]
    assert (outer.parent_id, inner.parent_id) == (PLACE.span_id, outer.span_id)
    assert {span.trace_id for span in ended} == {PLACE.trace_id}
    assert outer.start <= inner.start <= inner.end <= outer.end
    assert inner.attributes == {"outcome": "done"} and outer.attributes == {"module": "m"}


def test_an_exception_makes_it_failed_and_goes_on(ended: list[Span]) -> None:
    with pytest.raises(ValueError, match="broken"), spans.continued(PLACE), spans.span("work"):
        raise ValueError("broken")
    assert ended[0].error == "ValueError: broken"


def test_outside_of_a_trace_nothing_is_recorded(ended: list[Span]) -> None:
    with spans.span("tick") as span:
        span.set(outcome="done")
        span.fail("not told")
    assert not ended


def test_without_a_sink_the_place_stays_what_it_was() -> None:
    with spans.continued(PLACE), spans.span("work") as span:
        assert spans.current() == PLACE and span.attributes == {}
    assert not spans.recording()


def test_tasks_know_where_they_were_begun_unless_they_are_detached(ended: list[Span]) -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append((spans.current(), dict(context.current())))

    async def scenario() -> None:
        with spans.continued(PLACE), context.bound(deployment="d"):
            task = asyncio.create_task(look())
            detached = asyncio.create_task(look(), context=context.detached())
        await asyncio.gather(task, detached)

    asyncio.run(scenario())
    assert seen == [(PLACE, {"deployment": "d"}), (None, {})]


def test_bound_fields_end_with_their_block() -> None:
    with context.bound(deployment="d", stage=None):
        with context.bound(stage="Test", deployment="other"):
            context.bind_more(attempt=1)
            assert context.current() == {"deployment": "other", "stage": "Test", "attempt": 1}
        assert context.current() == {"deployment": "d"}
    assert context.current() == {}


def test_otlp_json_is_what_the_specification_says() -> None:
    span = Span("work", "a" * 32, "c" * 16, "b" * 16, 1, 2, SpanKind.CLIENT, {"n": 1, "ok": True, "s": 0.5, "t": "x"})
    span.fail("why")
    said: Any = otlp.request([span], {"service.name": "hotswap-agent"})
    (resource,) = said["resourceSpans"]
    (sent,) = resource["scopeSpans"][0]["spans"]
    assert (sent["startTimeUnixNano"], sent["endTimeUnixNano"], sent["kind"]) == ("1", "2", 3)
    assert sent["status"] == {"code": 2, "message": "why"}
    assert [pair["value"] for pair in sent["attributes"]] == [
        {"intValue": "1"}, {"boolValue": True}, {"doubleValue": 0.5}, {"stringValue": "x"},
    ]  # fmt: skip
    assert otlp.parse_headers("api-key=a%20b, x = y,,broken") == {"api-key": "a b", "x": "y"}
    assert otlp.traces_url("http://h:4318/") == "http://h:4318/v1/traces"
