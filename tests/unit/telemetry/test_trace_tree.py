"""Spans as a tree: children below their parents in order, orphans as roots, each span once."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from examples.trace_tree.__main__ import main
from examples.trace_tree.received import ReceivedSpan, to_line
from examples.trace_tree.tree import _NAME_WIDTH, lines, trace_of
from tests.collector import Collector


def _span(name: str, span_id: str, parent: str | None, start: int, took: int, **attributes: object) -> ReceivedSpan:
    resource = {"service.name": "hotswap-api"}
    return ReceivedSpan("t1", span_id, parent, name, start * 10**6, (start + took) * 10**6, attributes, resource)


SPANS = [
    _span("stage", "s2", "d", 50, 10, stage="Validation"),
    _span("stage", "s1", "d", 10, 30, stage="Deploy"),
    _span("node operation", "n", "s1", 11, 5, node="qa-1"),
    _span("deployment", "d", "gone", 0, 100, status="Succeeded"),
    _span("stage", "s1", "d", 10, 30, stage="Deploy"),
]


def test_a_tree_has_every_span_once_in_order() -> None:
    head, _columns, *rest = lines(trace_of(SPANS, None))
    assert head == "trace t1: 4 spans of 1 processes"
    shown = [line[:_NAME_WIDTH].rstrip() for line in rest]
    assert shown == ["deployment", "├─ stage", "│  └─ node operation", "└─ stage"]
    assert "      50ms    10.0ms  api  stage=Validation" in rest[3]
    assert list(lines([])) == []


def test_a_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text("".join(f"{to_line(span)}\n" for span in SPANS))
    assert main(["show", str(file)]) == 0
    assert "└─ node operation" in capsys.readouterr().out
    assert main(["show", str(file), "unknown"]) == 1
    file.write_text("no json")
    assert main(["show", str(file)]) == 2


def test_what_is_no_span_is_refused() -> None:
    with Collector() as collector:
        url = f"{collector.endpoint}/v1/traces"
        good: dict[str, object] = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": []}]}]}
        assert httpx.post(url, content=json.dumps(good)).status_code == 200
        for body in (b"{", b'{"resourceSpans": 1}', b"\xff"):
            assert httpx.post(url, content=body).status_code == 400
        binary = {"Content-Type": "application/x-protobuf"}
        assert httpx.post(url, content=b"\xff\xff", headers=binary).status_code == 400
        assert httpx.post(url, content=b"x", headers={"Content-Encoding": "gzip"}).status_code == 400
        assert httpx.post(f"{collector.endpoint}/other", content=b"").status_code == 404
        assert collector.spans() == []
