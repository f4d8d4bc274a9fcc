"""What is told after each commit: spans that hang together by ids of the database, and metrics of what has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from agent.telemetry import context, spans
from agent.telemetry.context import bound
from agent.telemetry.names import Field
from agent.telemetry.spans import Span
from agent.telemetry.traceparent import SpanContext, new_span_id, new_trace_id, span_id_of
from app.domain.deployment import DeploymentStatus, StageKind
from app.domain.events import Outcome, StageReported
from app.infrastructure.outbox import Wake
from app.orchestrator import claims, deployments, telling
from app.orchestrator.deployments import Submission
from tests.integration.engine.conftest import Lab


@pytest.fixture
def ended() -> Iterator[list[Span]]:
    """Every span that was handed on."""
    kept: list[Span] = []
    spans.install(kept.append)
    yield kept
    spans.install(None)


class _Lines(logging.Handler):
    """What a line would say: its event, and what is bound where it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append({"event": record.getMessage(), "level": record.levelname, **context.current()})

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.told if line["event"] == event]


@pytest.fixture
def lines() -> Iterator[_Lines]:
    handler = _Lines()
    telling.log.addHandler(handler)
    level = telling.log.level
    telling.log.setLevel(logging.INFO)
    yield handler
    telling.log.setLevel(level)
    telling.log.removeHandler(handler)


def _counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _named(ended: list[Span], name: str) -> list[Span]:
    return [span for span in ended if span.name == name]


def test_a_rollout_leaves_spans_that_hang_together(lab: Lab, ended: list[Span]) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    caller = SpanContext(new_trace_id(), new_span_id())
    labels = {"environment": "QA", "status": "Succeeded"}
    before = _counted("hotswap_deployments_ended_total", **labels)
    scans = _counted("hotswap_stage_duration_seconds_count", stage="Security Scan", outcome="Succeeded")
    with spans.continued(caller):
        submission = Submission("greeter", "1.0.0", "QA")
        accepted = deployments.submit(lab.orchestrator, lab.requester, submission, trace_id=caller.trace_id)
    lab.enter(accepted.execution_id)
    lab.finish(accepted.execution_id)
    assert lab.status(accepted.execution_id) is DeploymentStatus.SUCCEEDED

    (submitted,), (deployment,) = _named(ended, "submit"), _named(ended, "deployment")
    assert (submitted.parent_id, deployment.parent_id) == (caller.span_id, submitted.span_id)
    assert deployment.span_id == span_id_of(accepted.execution_id) and deployment.error is None
    stages = {str(span.attributes["stage"]): span for span in _named(ended, "stage")}
    assert set(stages) == {kind.value for kind in StageKind} and len(_named(ended, "stage")) == 6
    assert {span.parent_id for span in stages.values()} == {deployment.span_id}
    assert {span.trace_id for span in ended} == {caller.trace_id}
    assert deployment.start <= stages["Security Scan"].start <= stages["Deploy"].start <= stages["Deploy"].end
    assert stages["Deploy"].end <= stages["Validation"].end <= deployment.end
    assert stages["Test"].attributes["status"] == "Skipped" and stages["Test"].start == stages["Test"].end
    assert _counted("hotswap_deployments_ended_total", **labels) == before + 1
    again = _counted("hotswap_stage_duration_seconds_count", stage="Security Scan", outcome="Succeeded")
    assert again == scans + 1


def test_a_failure_is_told_once_and_nothing_is_told_of_what_changes_nothing(lab: Lab, ended: list[Span]) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    stage = lab.stage(deployment, StageKind.SCAN)
    claimed = claims.claim_stage(lab.orchestrator, lab.executor, deployment, stage)
    assert claimed is not None
    told = StageReported(stage, claimed.attempt, succeeded=False, message="a finding of high severity")
    lab.happen(deployment, told)
    lab.happen(deployment, told)  # stale: it changes nothing
    lab.happen(deployment, replace(told, attempt=0))
    assert [(span.name, span.error) for span in ended if span.error] == [
        ("stage", "a finding of high severity"), ("deployment", _named(ended, "deployment")[0].error),
    ]  # fmt: skip


def test_going_back_is_told_as_what_it_is(lab: Lab, ended: list[Span]) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    lab.release("2.0.0")
    ended.clear()
    deployment = lab.submit("2.0.0")
    lab.enter(deployment)
    first, *_ = lab.claimable_operations(deployment)
    lab.operate(deployment, first, Outcome.FAILED, "never_healthy: 503")
    lab.run_operations(deployment)
    (span,) = _named(ended, "deployment")
    assert span.attributes["status"] == lab.status(deployment).value == "RolledBack" and span.error


def test_messages_carry_the_stage_as_parent(lab: Lab) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    (scan,) = lab.published.take()
    assert scan.place == SpanContext("t", span_id_of(lab.stage(deployment, StageKind.SCAN)))
    lab.enter(deployment)
    wakes: list[Wake] = [wake for wake in lab.published.take() if wake.task == "deploy.node_operation"]
    deploy = span_id_of(lab.stage(deployment, StageKind.DEPLOY))
    assert wakes and {wake.place.span_id for wake in wakes} == {deploy}


def test_a_rollout_is_told_line_by_line(lab: Lab, lines: _Lines) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    deployment = lab.submit("1.0.0")
    with bound(task="deploy.node_operation", node="another", attempt=77):
        lab.enter(deployment)
        lab.finish(deployment)
    assert lab.status(deployment) is DeploymentStatus.SUCCEEDED

    (submitted,), (ended) = lines.named("deployment submitted"), lines.named("deployment ended")
    assert submitted.items() >= {"module": "greeter", "version": "1.0.0", "environment": "QA", "kind": "deploy"}.items()
    assert [(line["status"], line["seconds"] >= 0) for line in ended] == [("Succeeded", True)]
    # What was skipped from the start neither starts nor ends.
    stages = ["Security Scan", "Deploy", "Validation"]
    assert [line["stage"] for line in lines.named("stage started")] == stages
    assert [(line["stage"], line["status"]) for line in lines.named("stage ended")] == [
        (stage, "Succeeded") for stage in stages
    ]
    assert all(line["attempt"] == 1 and "node" not in line for line in lines.named("stage ended"))
    operations = lines.named("node operation ended")
    assert sorted((line["node"], line["outcome"], line["direction"]) for line in operations) == [
        (node, "succeeded", "forward") for node in sorted(line["node"] for line in operations)
    ]
    assert len(operations) == 2
    for line in lines.told:
        assert line["deployment"] == str(deployment) and line["level"] == "INFO" and "task" not in line
        assert line.keys() - {field.value for field in Field} == set()


def test_what_fails_is_told_with_its_reason_and_not_twice(lab: Lab, lines: _Lines) -> None:
    lab.nodes(lab.environment(), 2)
    lab.release("1.0.0")
    lab.roll_out("1.0.0")
    lab.release("2.0.0")
    lines.told.clear()
    deployment = lab.submit("2.0.0")
    lab.enter(deployment)
    first, *_ = lab.claimable_operations(deployment)
    lab.operate(deployment, first, Outcome.FAILED, "never_healthy: 503")
    lab.run_operations(deployment)
    (failed,) = [line for line in lines.named("node operation ended") if line["outcome"] == "failed"]
    assert failed["reason"] == "never_healthy: 503" and failed["work"] == str(first)
    assert {line["direction"] for line in lines.named("node operation ended")} >= {"forward"}
    (ended,) = lines.named("deployment ended")
    assert ended["status"] == "RolledBack" and "never_healthy" in ended["reason"]
    told = [(line["event"], line.get("work")) for line in lines.told]
    assert len(told) == len(set(told))


def test_what_waits_is_told_once_however_often_it_asks(lab: Lab, lines: _Lines) -> None:
    lab.nodes(lab.environment(), 1)
    lab.release("1.0.0")
    lab.release("2.0.0")
    holder, waiting = lab.submit("1.0.0"), lab.submit("2.0.0")
    lab.enter(holder)
    lab.enter(waiting)
    lab.enter(waiting)
    deploy = lab.stage(waiting, StageKind.DEPLOY)
    (waits,) = [line for line in lines.named("stage waits") if line["deployment"] == str(waiting)]
    assert waits["stage"] == "Deploy" and waits["status"] == "Waiting" and waits["reason"]
    started = [line for line in lines.named("stage started") if line["work"] == str(deploy)]
    assert len(started) == 1
