"""A collector of OpenTelemetry's traces that keeps what it gets."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from examples.trace_tree.received import ReceivedSpan
from examples.trace_tree.receiver import Receiver


class Collector(AbstractContextManager["Collector"]):
    """`key` is what senders are to name in a header, and nobody is to tell."""

    def __init__(self) -> None:
        self.key = f"planted-{secrets.token_hex(12)}"
        self._spans: list[ReceivedSpan] = []
        self._lock = threading.Lock()
        self._receiver = Receiver(self._take)

    @property
    def endpoint(self) -> str:
        return self._receiver.endpoint

    def _take(self, spans: Sequence[ReceivedSpan]) -> None:
        with self._lock:
            self._spans.extend(spans)

    def spans(self) -> list[ReceivedSpan]:
        """All so far."""
        with self._lock:
            return list(self._spans)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Those of one trace."""
        return [span for span in self.spans() if span.trace_id == trace_id]

    def __enter__(self) -> Collector:
        self._receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.__exit__(kind, error, trace)
