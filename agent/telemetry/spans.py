"""Spans of a trace: what took how long, within what. No library: an agent must stay small, and the orchestrator hands
the same spans to OpenTelemetry's exporter.

Without a sink (`install`) nothing is recorded, and `span()` costs a look at one variable. With one, only what happens
within a trace (`continued`, or a span that was begun by `begin`) is recorded; a sink must never block.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType

from agent.telemetry.traceparent import SpanContext, new_span_id

Value = str | int | float | bool


class SpanKind(IntEnum):
    """The numbers are those of OTLP (trace.proto)."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(slots=True)
class Span:
    """Times are nanoseconds of the Unix epoch. `error` is the text of a failure, None of what went well."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int = 0
    kind: SpanKind = SpanKind.INTERNAL
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str | None = None

    def set(self, **attributes: Value | None) -> None:
        """Attributes (of `names.Field`) that became known; None says nothing."""
        self.attributes.update({name: value for name, value in attributes.items() if value is not None})

    def fail(self, error: str) -> None:
        """It did not go well."""
        self.error = error

    @property
    def context(self) -> SpanContext:
        """Itself as the place of what follows."""
        return SpanContext(self.trace_id, self.span_id)


Sink = Callable[[Span], None]

_current: contextvars.ContextVar[SpanContext | None] = contextvars.ContextVar("hotswap_span", default=None)
_sink: Sink | None = None


def install(sink: Sink | None) -> None:
    """From now on ended spans of this process go to `sink`; None: nowhere."""
    global _sink
    _sink = sink


def recording() -> bool:
    """Whether anybody wants spans."""
    return _sink is not None


def now() -> int:
    """Nanoseconds of the epoch."""
    return time.time_ns()


def current() -> SpanContext | None:
    """The place in a trace where we are."""
    return _current.get()


def place(context: SpanContext | None) -> None:
    """Be at this place from now on: for a thread that serves one request after the other."""
    _current.set(context)


@contextmanager
def continued(context: SpanContext | None) -> Iterator[None]:
    """Within: at the place that somebody else told (a header); None: in no trace."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


class _Off:
    """What `span` gives where nothing is recorded."""

    def __enter__(self) -> Span:
        return _NOWHERE

    def __exit__(self, *_: object) -> None:
        return None


class _Nowhere(Span):
    """Takes what is said and keeps nothing."""

    def set(self, **attributes: Value | None) -> None:
        return None

    def fail(self, error: str) -> None:
        return None


_NOWHERE = _Nowhere("", "", "", None, 0)
_OFF = _Off()


class _Running:
    def __init__(self, made: Span) -> None:
        self._span = made
        self._token: contextvars.Token[SpanContext | None] | None = None

    def __enter__(self) -> Span:
        self._token = _current.set(self._span.context)
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._token is not None
        _current.reset(self._token)
        if error is not None and self._span.error is None:
            self._span.fail(f"{type(error).__name__}: {error}"[:300])
        finish(self._span)


def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, start: int | None = None, **attributes: Value | None
) -> AbstractContextManager[Span]:
    """A span around what is within, below the current one; an exception makes it failed and goes on."""
    parent = _current.get()
    if _sink is None or parent is None:
        return _OFF
    return _Running(begin(name, parent, kind=kind, start=start, **attributes))


def begin(
    name: str,
    parent: SpanContext,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    start: int | None = None,
    **attributes: Value | None,
) -> Span:
    """A span that is ended by `finish`. The caller sees to it that what follows knows its place."""
    made = Span(name, parent.trace_id, new_span_id(), parent.span_id, start or now(), kind=kind)
    made.set(**attributes)
    return made


def finish(ended: Span) -> None:
    """Hand a span on. One that has an end already keeps it."""
    ended.end = ended.end or now()
    if _sink is not None:
        _sink(ended)
