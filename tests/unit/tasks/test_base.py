"""The tasks' base class: only messages that one of us signed are executed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from agent.telemetry import context, spans, traceparent
from agent.telemetry.traceparent import SpanContext, new_span_id, new_trace_id
from app.orchestrator.standing import message_age
from tasks.base import UnsignedMessage, Work
from workers import signing, tracing


def _task() -> Work:
    def run(*ids: str) -> str:
        return "done " + " ".join(ids)

    task: Work = Celery("test").task(run, base=Work, name="test.run")
    return task


@contextmanager
def _delivered(task: Work, task_id: str, headers: dict[str, Any]) -> Iterator[None]:
    """The task as a worker calls it for a message."""
    task.push_request(id=task_id, called_directly=False, headers=headers, root_id=task_id)
    try:
        yield
    finally:
        task.pop_request()


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_secret", b"a secret of the test")


def test_a_signed_message_is_executed() -> None:
    task, task_id, args = _task(), str(uuid4()), [str(uuid4()), str(uuid4())]
    headers = {signing.HEADER: signing.signature("test.run", task_id, args, {})}
    with _delivered(task, task_id, headers):
        assert task(*args) == "done " + " ".join(args)


@pytest.mark.parametrize("change", ["unsigned", "other arguments", "other task", "other id"])
def test_any_other_message_is_refused(change: str) -> None:
    task, task_id, args = _task(), str(uuid4()), [str(uuid4()), str(uuid4())]
    name = "test.other" if change == "other task" else "test.run"
    signed_id = str(uuid4()) if change == "other id" else task_id
    signed = signing.signature(name, signed_id, [] if change == "other arguments" else args, {})
    headers = {} if change == "unsigned" else {signing.HEADER: signed}
    with _delivered(task, task_id, headers), pytest.raises(UnsignedMessage):
        task(*args)


def test_what_a_task_knows_is_bound_while_it_runs_and_told_of_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    place = SpanContext(new_trace_id(), new_span_id())
    seen: list[object] = []

    def run(*ids: str) -> str:
        seen.append((dict(context.current()), spans.current()))
        raise ValueError("broken")

    task: Work = Celery("test").task(run, base=Work, name="test.run")
    task_id, args = str(uuid4()), [str(uuid4()), str(uuid4())]
    headers = {signing.HEADER: signing.signature("test.run", task_id, args, {}), traceparent.HEADER: place.header()}
    with _delivered(task, task_id, headers), pytest.raises(ValueError, match="broken"):
        task(*args)
    assert seen == [({"task": "test.run", "deployment": args[0], "work": args[1]}, place)]
    assert dict(context.current()) == {} and spans.current() is None
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "a task failed unforeseen") and line.exc_info


def test_what_we_publish_is_signed_and_says_when() -> None:
    headers = {"task": "test.run", "id": "1"}
    signing._sign(headers, (["a"], {}, {}))
    assert signing.genuine(headers[signing.HEADER], "test.run", "1", ["a"], {})
    stamped: dict[str, Any] = {}
    tracing._stamp(stamped)
    assert message_age(json.dumps({"headers": stamped}).encode(), time.time() + 60) == pytest.approx(60, abs=30)
