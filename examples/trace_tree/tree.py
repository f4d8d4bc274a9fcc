"""Spans of one trace as a tree of lines: when each began, how long it took, and what it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from examples.trace_tree.received import ReceivedSpan

SHOWN = (
    "stage", "module", "version", "environment", "node", "direction", "attempt", "step", "outcome", "status", "reason",
)  # fmt: skip
"""Attributes that a line tells; the rest is in the file."""
_NAME_WIDTH = 52
_LONGEST = 60


def trace_of(spans: Iterable[ReceivedSpan], trace_id: str | None) -> list[ReceivedSpan]:
    """Those of one trace, each once; without an id, of the trace that has the latest deployment, else of the latest."""
    known = {(span.trace_id, span.span_id, span.end): span for span in spans}
    if trace_id is None:
        ended = [span for span in known.values() if span.name == "deployment"] or list(known.values())
        trace_id = max(ended, key=lambda span: span.end).trace_id if ended else ""
    return [span for span in known.values() if span.trace_id == trace_id]


def lines(spans: Sequence[ReceivedSpan]) -> Iterator[str]:
    """Children below their parents, in order of their beginning. One whose parent is not there is a root."""
    if not spans:
        return
    ids = {span.span_id for span in spans}
    below: dict[str | None, list[ReceivedSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        below[span.parent_id if span.parent_id in ids else None].append(span)
    first = min(span.start for span in spans)
    processes = {(span.service, span.resource.get("pid"), span.resource.get("node")) for span in spans}
    yield f"trace {spans[0].trace_id}: {len(spans)} spans of {len(processes)} processes"
    yield f"{'':{_NAME_WIDTH}} {'start':>9} {'took':>9}  process"
    for root in below[None]:
        yield from _branch(root, below, first, "", "")


def _branch(
    span: ReceivedSpan, below: dict[str | None, list[ReceivedSpan]], first: int, before: str, indent: str
) -> Iterator[str]:
    yield _line(span, first, before)
    children = below[span.span_id]
    for number, child in enumerate(children):
        last = number == len(children) - 1
        yield from _branch(
            child, below, first, f"{indent}{'└─ ' if last else '├─ '}", f"{indent}{'   ' if last else '│  '}"
        )


def _line(span: ReceivedSpan, first: int, before: str) -> str:
    name = f"{before}{span.name}"
    start, took = (span.start - first) / 1e6, (span.end - span.start) / 1e6
    said = [f"{key}={_short(span.attributes[key])}" for key in SHOWN if key in span.attributes]
    where = f"{span.service} {span.resource['node']}" if "node" in span.resource else span.service
    failed = f"  FAILED: {_short(span.error)}" if span.error is not None else ""
    return f"{name:{_NAME_WIDTH}} {start:7.0f}ms {took:7.1f}ms  {where}  {' '.join(said)}{failed}".rstrip()


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
