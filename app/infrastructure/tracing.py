"""Spans of this process on their way to a collector, by OpenTelemetry's exporter (OTLP over HTTP).

Nothing of OpenTelemetry is imported where no collector is configured. Where one is, that is done when the process
begins, and forks share it; exporter and thread are made by the first span of each process, never before a fork: a
child must not inherit them. Nobody waits for them: the queue is bounded, and what does not fit, or finds the
collector away, is dropped and counted.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.telemetry import otlp, spans
from agent.telemetry.redaction import Redactor
from agent.telemetry.spans import Span, Value
from app.infrastructure.secrets_known import redactor_of
from app.infrastructure.work_metrics import SPANS
from config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

ROOM = 2048
BATCH = 512
EVERY = 1.0  # seconds
PATIENCE = 5.0  # seconds for one batch, with what the exporter itself tries again
FAREWELL = 2.0  # seconds for what is queued when the process ends


_NEEDED = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.resources", "requests")
_outlet: _Outlet | None = None


def configure_tracing(settings: Settings, *, service: str) -> None:
    """Send this process's spans to the collector of the settings; without one, nothing changes and nothing costs."""
    global _outlet
    _outlet = _Outlet(settings, service) if settings.otlp_endpoint else None
    spans.install(_outlet.take if _outlet is not None else None)


def farewell() -> None:
    """A moment for what is queued, in a process that ends without the interpreter's own farewell."""
    if _outlet is not None:
        _outlet.close()


class _Outlet:
    """The sink: hands spans to the pipe of this very process."""

    def __init__(self, settings: Settings, service: str) -> None:
        for name in _NEEDED:
            importlib.import_module(name)
        self._settings = settings
        self._service = service
        self._pipe: _Pipe | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def take(self, span: Span) -> None:
        pipe = self._pipe
        if pipe is None:
            try:
                with self._lock:
                    pipe = self._pipe = self._pipe or _Pipe(self._settings, self._service)
            except Exception as error:  # a variable of the exporter's that it refuses: the work is none the worse
                spans.install(None)
                log.error("this process sends no traces: %s: %s", type(error).__name__, error)
                return
        pipe.take(span)

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()

    def _forget(self) -> None:
        """In a fork: what was inherited belongs to the parent."""
        self._pipe = None
        self._lock = threading.Lock()


class _Pipe:
    """A bounded queue and the thread behind it."""

    def __init__(self, settings: Settings, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what fails is told here, once
        self._endpoint = settings.otlp_endpoint or ""
        headers = otlp.parse_headers(settings.otlp_headers.get_secret_value()) if settings.otlp_headers else None
        url = otlp.traces_url(self._endpoint)
        self._exporter = OTLPSpanExporter(endpoint=url, headers=headers, timeout=PATIENCE)
        names: dict[str, Value] = {
            "service.name": f"hotswap-{service}",
            "service.instance.id": f"{settings.instance}-{os.getpid()}",
            "service": service,
            "instance": settings.instance,
            "pid": os.getpid(),
        }
        self._resource = Resource(names)
        self._redactor: Redactor = redactor_of(settings)
        self._queue: queue.Queue[Span] = queue.Queue(ROOM)
        self._ending = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def take(self, span: Span) -> None:
        """Never waits."""
        try:
            self._queue.put_nowait(span)
        except queue.Full:
            SPANS.labels(outcome="dropped").inc()

    def close(self) -> None:
        """A moment for what is queued."""
        self._ending.set()
        self._thread.join(FAREWELL)

    def _run(self) -> None:
        with spans.continued(None):
            last = False
            while not last:
                last = self._ending.wait(EVERY)
                deadline = time.monotonic() + FAREWELL if last else None
                while not self._queue.empty() and (deadline is None or time.monotonic() < deadline):
                    self._send()

    def _send(self) -> None:
        batch: list[Span] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH:
                batch.append(self._queue.get_nowait())
        try:
            sent = self._exporter.export(self._readable(batch)).name == "SUCCESS"
            why = "it did not take them"
        except Exception as error:  # whatever a client library makes of a collector that is away: this thread lives on
            sent, why = False, f"{type(error).__name__}: {error}"
        SPANS.labels(outcome="sent" if sent else "failed").inc(len(batch))
        if not sent and not self._failing:
            log.warning("traces cannot be sent to %s: %s", self._endpoint, why)
        self._failing = not sent

    def _readable(self, batch: list[Span]) -> Sequence[ReadableSpan]:
        """As OpenTelemetry has them."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        scope = InstrumentationScope("hotswap")
        flags = TraceFlags(TraceFlags.SAMPLED)

        def place(trace_id: str, span_id: str) -> SpanContext:
            return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

        return [
            ReadableSpan(
                name=each.name,
                context=place(each.trace_id, each.span_id),
                parent=place(each.trace_id, each.parent_id) if each.parent_id else None,
                resource=self._resource,
                attributes=self._redactor.whole(each.attributes),  # type: ignore[arg-type]
                kind=SpanKind[each.kind.name],
                status=Status(StatusCode.ERROR, self._redactor.text(each.error)) if each.error else Status(),
                start_time=each.start,
                end_time=each.end,
                instrumentation_scope=scope,
            )
            for each in batch
        ]
