"""Spans as OTLP/HTTP in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from agent.telemetry.spans import Span, Value

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"
_ERROR = 2  # STATUS_CODE_ERROR of trace.proto


def traces_url(endpoint: str) -> str:
    """Where traces go, of a collector's base address (as OTEL_EXPORTER_OTLP_ENDPOINT has it)."""
    return endpoint.rstrip("/") + "/v1/traces"


def parse_headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, values percent-encoded (as OTEL_EXPORTER_OTLP_HEADERS has it)."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def request(spans: Iterable[Span], resource: Mapping[str, Value]) -> dict[str, object]:
    """An ExportTraceServiceRequest."""
    scope = {"scope": {"name": "hotswap"}, "spans": [_span(each) for each in spans]}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def _span(span: Span) -> dict[str, object]:
    said: dict[str, object] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id is not None:
        said["parentSpanId"] = span.parent_id
    if span.error is not None:
        said["status"] = {"code": _ERROR, "message": span.error}
    return said


def _attributes(values: Mapping[str, Value]) -> list[dict[str, object]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Value) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
