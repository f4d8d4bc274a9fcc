"""One trace for each deployment, from the request to the agents and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.telemetry.traceparent import SpanContext, new_span_id, new_trace_id
from examples.trace_tree.received import ReceivedSpan
from examples.trace_tree.tree import lines
from tests.collector import Collector
from tests.e2e.api import Api
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.source_module import SourceModule
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

STAGES = ["Build", "Security Scan", "Test", "Approval", "Deploy", "Validation"]
AFTER_ANOTHER = [
    *(("Build", "Test"), ("Test", "Approval"), ("Security Scan", "Approval"), ("Approval", "Deploy")),
    ("Deploy", "Validation"),
]
SAME_MOMENT = 5_000_000
"""Nanoseconds by which clocks of processes that tell of the same moment may differ."""
IN_AGENTS = {"verify", "fetch", "unpack", "start", "health", "commit", "switch", "drain"}

Spans = Sequence[ReceivedSpan]


def collected(collector: Collector, trace_id: str, complete: Callable[[Spans], object]) -> list[ReceivedSpan]:
    """The spans of a trace once all that is waited for is there, in order of their beginning."""

    def found() -> list[ReceivedSpan] | None:
        spans = collector.trace(trace_id)
        return spans if named(spans, "deployment") and complete(spans) else None

    spans = until(found, f"the trace {trace_id} is complete: {collector.trace(trace_id)}")
    return sorted(spans, key=lambda span: span.start)


def named(spans: Spans, name: str) -> list[ReceivedSpan]:
    return [span for span in spans if span.name == name]


def parents(spans: Spans, span: ReceivedSpan) -> list[str]:
    """The names of what it is in, from the inside out."""
    by_id = {each.span_id: each for each in spans}
    names = []
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names


def test_a_release_from_its_source_to_its_nodes_is_one_trace(
    source: SourceModule, api: Api, stack: Stack, collector: Collector
) -> None:
    """Built, tested, scanned twice, approved, rolled out in waves: every stage and node is in it, in order."""
    source.publish("1.0.0")
    source.deployed("1.0.0", "QA")
    source.publish("1.1.0")
    caller = SpanContext(new_trace_id(), new_span_id())
    body = {"moduleName": source.name, "version": "1.1.0", "targetEnvironment": "QA", "requireApproval": True}
    accepted = api.post("/deployments", body, headers={"traceparent": caller.header()})
    assert accepted["traceId"] == caller.trace_id
    assert accepted["links"]["trace"] == f"http://traces.example/trace/{caller.trace_id}"
    api.until(accepted["executionId"], "PendingApproval")
    stack.api("approver").post(f"/approvals/deployments/{accepted['executionId']}/approve", {"reason": "fine"})
    ended = api.finished(accepted["executionId"])
    assert (ended["status"], ended["traceId"], ended["links"]) == ("Succeeded", caller.trace_id, accepted["links"])

    spans = collected(collector, caller.trace_id, lambda spans: len(named(spans, "drain")) == 5)
    (root,) = [span for span in spans if span.parent_id not in {each.span_id for each in spans}]
    assert (root.name, root.parent_id) == ("POST deployments.submit", caller.span_id)
    (deployment,) = named(spans, "deployment")
    assert parents(spans, deployment) == ["submit", "POST deployments.submit"]
    assert deployment.attributes["deployment"] == ended["executionId"]
    assert deployment.attributes["status"] == "Succeeded" and deployment.error is None

    stages = {span.attributes["stage"]: span for span in named(spans, "stage")}
    assert sorted(stages) == sorted(STAGES) and len(named(spans, "stage")) == len(STAGES)
    assert {span.attributes["status"] for span in stages.values()} == {"Succeeded"}
    assert all(parents(spans, span)[0] == "deployment" for span in stages.values())
    for earlier, later in AFTER_ANOTHER:
        assert stages[earlier].end <= stages[later].start + SAME_MOMENT, (earlier, later)
    attempts = named(spans, "stage attempt")
    worked = ["Build", "Deploy", "Security Scan", "Security Scan", "Test", "Validation"]
    assert sorted(span.attributes["stage"] for span in attempts) == worked, "nobody worked on the approval"
    for attempt in attempts:
        assert attempt.parent_id == stages[attempt.attributes["stage"]].span_id
    assert [parents(spans, span)[:2] for span in named(spans, "run command")] == [["stage attempt", "stage"]] * 2
    assert parents(spans, named(spans, "lane entry")[-1])[:2] == ["stage attempt", "stage"]

    operations = named(spans, "node operation")
    nodes = {f"qa-{number}" for number in range(1, 6)}
    assert {span.attributes["node"] for span in operations} == nodes and len(operations) == 5
    wave_of = {node["hostname"]: node["wave"] for node in api.operations(ended["executionId"])}
    assert sorted(wave_of.values()) == [0, 0, 1, 1, 2]
    assert [wave_of[str(span.attributes["node"])] for span in operations] == sorted(wave_of.values()), "wave by wave"
    for span in operations:
        assert stages["Deploy"].start <= span.start + SAME_MOMENT and span.start <= stages["Deploy"].end
    by_agents = named(spans, "agent operation")
    assert {span.resource["node"] for span in by_agents} == nodes and len(by_agents) == 5
    for span in by_agents:
        assert parents(spans, span)[:4] == ["call agent", "node operation", "stage", "deployment"]
        inside = {each.name for each in spans if each.parent_id == span.span_id}
        assert inside == IN_AGENTS
    assert {span.service for span in spans} == {"api", "build", "scan", "pipeline", "deploy", "agent"}
    assert all(span.start <= span.end for span in spans)
    shown = list(lines(spans))
    assert len(shown) == len(spans) + 2 and all(any(stage in line for line in shown) for stage in STAGES)


def test_what_goes_back_is_in_the_trace_too(module: ProbeModule, api: Api, collector: Collector) -> None:
    module.served("Staging")
    ended = api.finished(module.deploy(module.release(Manner.EXITS), "Staging"))
    assert ended["status"] == "RolledBack"
    spans = collected(collector, ended["traceId"], lambda spans: named(spans, "agent operation"))
    failed = [span for span in named(spans, "node operation") if span.error is not None]
    assert failed and all("exited" in str(span.error) for span in failed)
    (deployment,) = named(spans, "deployment")
    assert deployment.attributes["status"] == "RolledBack" and deployment.error is not None
    skipped = {span.attributes["stage"] for span in named(spans, "stage") if span.attributes["status"] == "Skipped"}
    assert skipped == {"Build", "Test", "Approval", "Validation"}
    assert any(span.error is not None and "exited" in span.error for span in named(spans, "agent operation"))


def test_a_rollback_is_a_trace_of_its_own(module: ProbeModule, api: Api, collector: Collector) -> None:
    module.served("Development")
    newer = module.deployed(module.release(), "Development")
    accepted = api.post(f"/deployments/{newer['executionId']}/rollback")
    ended = api.finished(accepted["rollbackId"])
    assert ended["traceId"] != newer["traceId"]
    spans = collected(collector, ended["traceId"], lambda spans: named(spans, "agent operation"))
    (submitted,) = named(spans, "submit")
    assert submitted.attributes["rollback_of"] == newer["executionId"]
    assert parents(spans, submitted) == ["POST deployments.rollback"]
    assert {span.service for span in spans} == {"api", "urgent", "agent"}
