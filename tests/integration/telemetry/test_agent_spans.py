"""A real agent's spans and lines: what an operation took, below the caller's span, and never in its way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from agent.telemetry.names import Field
from agent.telemetry.traceparent import SpanContext, new_span_id, new_trace_id
from deploy.local.ports import free_ports
from examples.trace_tree.received import ReceivedSpan
from tests.collector import Collector
from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.releases import service

IN_A_SWAP = {"verify", "fetch", "unpack", "start", "health", "commit", "switch", "drain"}


def _telemetry(endpoint: str, key: str = "none") -> str:
    return f'telemetry = {{otlp_endpoint = "{endpoint}", otlp_headers = {{api-key = "{key}"}}}}\n'


def _children(spans: list[ReceivedSpan], span: ReceivedSpan) -> set[str]:
    return {each.name for each in spans if each.parent_id == span.span_id}


async def _swap(at: Bench, places: list[SpanContext]) -> None:
    """Two releases, each in a trace of its own."""
    one, two = service("1.0.0", at.key), service("2.0.0", at.key)
    at.orchestrator.serve(one, two)
    for token, (target, place) in enumerate(zip((one, two), places, strict=True), start=1):
        at.orchestrator.traceparent = place.header()
        result = await at.orchestrator.do("qa-1", target, token)
        assert result["state"] == "succeeded", result


@asynchronous
async def test_an_operation_is_a_span_with_its_steps(tmp_path: Path) -> None:
    first, second = (SpanContext(new_trace_id(), new_span_id()) for _ in range(2))
    with Collector() as collector:
        async with bench(tmp_path, more=_telemetry(collector.endpoint, collector.key)) as at:
            await _swap(at, [first, second])

            def arrived() -> bool:
                spans = collector.trace(second.trace_id)
                return {"agent operation", "drain"} <= {span.name for span in spans}

            await at.orchestrator.until(arrived, within=60)
            metrics = (await at.orchestrator.call("qa-1", "GET", "/metrics")).body["text"]
        spans = collector.trace(second.trace_id)
        (operation,) = [span for span in spans if span.name == "agent operation"]
        assert operation.parent_id == second.span_id and operation.error is None
        assert _children(spans, operation) == IN_A_SWAP
        assert operation.attributes.keys() <= set(Field)
        assert (operation.attributes["deployment"], operation.attributes["outcome"]) == ("d-1", "succeeded")
        assert (operation.resource["node_id"], operation.resource["environment"]) == ("qa-1", "QA")
        before = collector.trace(first.trace_id)
        assert "drain" not in {span.name for span in before}
        assert 'hotswap_agent_spans_total{outcome="sent"}' in metrics
        lines = [json.loads(line) for line in at.node.log().splitlines()]
        assert all(set(line) <= set(Field) for line in lines)
        told = [line for line in lines if line.get("trace_id") == second.trace_id]
        assert {(line["work"], line["deployment"], line["module"]) for line in told} == {("op-2", "d-1", "web-service")}
        assert collector.key not in at.node.log() + json.dumps([str(span) for span in collector.spans()])


@asynchronous
async def test_a_collector_that_is_away_is_nobodys_trouble(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with bench(tmp_path, more=_telemetry(f"http://127.0.0.1:{port}")) as at:
        await _swap(at, [SpanContext(new_trace_id(), None)] * 2)

        async def failed() -> bool:
            return 'outcome="failed"' in (await at.orchestrator.call("qa-1", "GET", "/metrics")).body["text"]

        while not await failed():
            assert not at.node.ended()
            await asyncio.sleep(0.1)
    assert at.node.log().count("traces cannot be sent") == 1


@asynchronous
async def test_without_a_collector_nothing_is_sent_and_lines_have_the_trace(tmp_path: Path) -> None:
    place = SpanContext(new_trace_id(), new_span_id())
    async with bench(tmp_path) as at:
        await _swap(at, [place, place])
        metrics = (await at.orchestrator.call("qa-1", "GET", "/metrics")).body["text"]
    assert "spans_total" not in metrics
    lines = [json.loads(line) for line in at.node.log().splitlines()]
    assert {line["work"] for line in lines if line.get("trace_id") == place.trace_id} == {"op-1", "op-2"}
