"""Spans of the orchestrator's processes: sent after forks, dropped rather than waited for, free where not wanted."""

from __future__ import annotations

import json
import socket

from tests.collector import Collector
from tests.integration.telemetry.programs import JWT_SECRET, run

FORKING = f"""
with spans.continued(place), spans.span("parent", reason="{JWT_SECRET}"):
    pass
child = os.fork()
with spans.continued(place), spans.span("child" if child == 0 else "parent again") as span:
    span.set(attempt=2, seconds=0.5)
    if child == 0:
        span.fail("broken by planted-database")
if child == 0:
    from app.infrastructure import tracing
    tracing.farewell()
    os._exit(0)
os.waitpid(child, 0)
"""
FLOODING = """
begun = time.monotonic()
with spans.continued(place):
    for _ in range(3000):
        with spans.span("work"):
            pass
took = time.monotonic() - begun
from app.infrastructure.work_metrics import SPANS
print(took, SPANS.labels(outcome="dropped")._value.get())
sys.stdout.flush()
begun = time.monotonic()
from app.infrastructure import tracing
tracing.farewell()
print(time.monotonic() - begun)
sys.stdout.flush()
os._exit(0)
"""
AWAY = """
from app.infrastructure import tracing
from app.infrastructure.work_metrics import SPANS
tracing.PATIENCE = 0.2
tracing.EVERY = 0.05
failed = SPANS.labels(outcome="failed")._value
for number in range(1, 4):
    with spans.continued(place), spans.span("work"):
        pass
    while failed.get() < number:
        time.sleep(0.05)
"""
OFF = """
with spans.continued(place), spans.span("work"):
    pass
print(any(name.startswith(("opentelemetry", "sentry_sdk", "requests", "google.protobuf")) for name in sys.modules))
"""


def test_parent_and_child_send_their_own_without_secrets() -> None:
    with Collector() as collector:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={collector.key}"}
        run(FORKING, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **headers})
        spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"parent", "parent again", "child"} and len(collector.spans()) == 3
    child, parent = spans["child"], spans["parent"]
    assert (child.trace_id, child.parent_id, child.attributes) == ("a" * 32, "b" * 16, {"attempt": 2, "seconds": 0.5})
    assert child.error == "broken by [redacted]" and parent.attributes["reason"] == "[redacted]"
    assert child.resource["pid"] != parent.resource["pid"] == spans["parent again"].resource["pid"]
    named = ("service.name", "service", "instance")
    assert [child.resource[name] for name in named] == ["hotswap-deploy", "deploy", "of-a-test"]


def test_a_deaf_collector_costs_spans_and_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        done = run(FLOODING, {"HOTSWAP_OTLP_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}"})
    first, farewell = done.stdout.splitlines()
    took, dropped = map(float, first.split())
    assert took < 5 and 3000 - 2048 - 512 <= dropped <= 3000 - 2048
    assert float(farewell) < 10


def test_a_collector_that_is_away_is_told_of_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run(AWAY, {"HOTSWAP_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["level"] == "warning" and line["event"].startswith("traces cannot be sent to http://127.0.0.1")
    assert (line["service"], line["instance"]) == ("deploy", "of-a-test")


def test_what_the_exporter_refuses_ends_the_traces_and_not_the_work() -> None:
    program = "with spans.continued(place), spans.span('work'):\n    pass\nprint('done', spans.recording())\n"
    refused = {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "nonsense"}
    done = run(program, {"HOTSWAP_OTLP_ENDPOINT": "http://127.0.0.1:1", **refused})
    assert done.stdout == "done False\n" and done.stderr.count("this process sends no traces") == 1


def test_with_nothing_configured_nothing_is_imported() -> None:
    assert run(OFF, {}).stdout == "False\n"
