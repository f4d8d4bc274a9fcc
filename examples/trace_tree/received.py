"""A span as a collector gets it, from both encodings of OTLP/HTTP, and as a line of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_ERROR = 2  # STATUS_CODE_ERROR


@dataclass(frozen=True)
class ReceivedSpan:
    """Ids are hex digits, times nanoseconds of the epoch. `resource` says which process it comes from."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    error: str | None = None

    @property
    def service(self) -> str:
        """Which kind of process."""
        return str(self.resource.get("service.name", "?")).removeprefix("hotswap-")


def of_protobuf(body: bytes) -> list[ReceivedSpan]:
    """Raises google.protobuf's DecodeError."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        ReceivedSpan(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex() or None,
            name=span.name,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            attributes={each.key: _plain(each.value) for each in span.attributes},
            resource={each.key: _plain(each.value) for each in of.resource.attributes},
            error=(span.status.message or "error") if span.status.code == _ERROR else None,
        )
        for of in request.resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def of_json(body: bytes) -> list[ReceivedSpan]:
    """Raises ValueError, KeyError, TypeError for what is no such request."""
    return [
        ReceivedSpan(
            trace_id=str(span["traceId"]),
            span_id=str(span["spanId"]),
            parent_id=span.get("parentSpanId") or None,
            name=str(span["name"]),
            start=int(span["startTimeUnixNano"]),
            end=int(span["endTimeUnixNano"]),
            attributes=_attributes(span.get("attributes", [])),
            resource=_attributes(of["resource"].get("attributes", [])),
            error=(status.get("message") or "error") if status.get("code") == _ERROR else None,
        )
        for of in json.loads(body)["resourceSpans"]
        for scope in of["scopeSpans"]
        for span in scope["spans"]
        for status in [span.get("status", {})]
    ]


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(value: Mapping[str, Any]) -> Any:
    kind, found = next(iter(value.items()), ("", None))
    return int(found) if kind == "intValue" and found is not None else found


def to_line(span: ReceivedSpan) -> str:
    """For a file."""
    return json.dumps(asdict(span))


def of_file(file: Path) -> Iterator[ReceivedSpan]:
    """What was collected into a file; raises OSError, ValueError, TypeError."""
    for line in file.read_text("utf-8").splitlines():
        yield ReceivedSpan(**json.loads(line))
