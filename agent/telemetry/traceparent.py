"""The W3C `traceparent` header: https://www.w3.org/TR/trace-context/#traceparent-header"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class SpanContext:
    """A place in a trace: 32 and 16 hex digits. `span_id` is None before the first span."""

    trace_id: str
    span_id: str | None
    sampled: bool = True

    def header(self) -> str:
        """The header's text; a span id is made where there is none, as the form demands one."""
        return f"00-{self.trace_id}-{self.span_id or new_span_id()}-{'01' if self.sampled else '00'}"


def parse(header: object) -> SpanContext | None:
    """What a valid header says; None for anything else."""
    match = _FORM.fullmatch(header) if isinstance(header, str) else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if set(match[2]) == {"0"} or set(match[3]) == {"0"}:
        return None
    return SpanContext(match[2], match[3], bool(int(match[4], 16) & _SAMPLED))


def new_trace_id() -> str:
    return secrets.token_hex(16)


def new_span_id() -> str:
    return secrets.token_hex(8)


def span_id_of(work: UUID) -> str:
    """The id of the span of what has an id of its own: its last 64 bits, the random ones of a UUID version 7."""
    return work.hex[-16:]
