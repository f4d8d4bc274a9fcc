"""The agent's spans on their way to a collector: a bounded queue, batches, and nobody who waits for them.

OpenTelemetry's SDK and exporter cost an agent 8 MB (measured), half of what it is; this costs next to nothing. What
does not fit into the queue, or finds the collector away, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from agent.metrics import Counters
from agent.telemetry import otlp, spans
from agent.telemetry.redaction import Redactor
from agent.telemetry.spans import Span, Value

log = logging.getLogger(__name__)

ROOM = 2048
BATCH = 256
EVERY = 1.0  # seconds
PATIENCE = 5.0  # seconds for one batch
FAREWELL = 1.0  # seconds for what is queued when the agent ends


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go. `endpoint` is its base address; `headers` may hold a secret."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class SpanExporter:
    """Takes spans from anywhere in the agent's loop; `run` sends them."""

    def __init__(
        self, session: aiohttp.ClientSession, collector: Collector, resource: Mapping[str, Value],
        counters: Counters, redactor: Redactor,
    ) -> None:  # fmt: skip
        self._session = session
        self._url = otlp.traces_url(collector.endpoint)
        self._headers = dict(collector.headers)
        self._resource = dict(resource)
        self._counters = counters
        self._redactor = redactor
        self._queue: deque[Span] = deque()
        self._failing = False

    def take(self, span: Span) -> None:
        """The sink: never waits."""
        if len(self._queue) >= ROOM:
            self._counters.spans("dropped", 1)
            return
        self._queue.append(span)

    async def run(self) -> None:
        """Send until cancelled; then what is left, for a moment."""
        spans.install(self.take)
        try:
            while True:
                await asyncio.sleep(EVERY)
                while self._queue:
                    await self._send(PATIENCE)
        finally:
            spans.install(None)
            if self._queue and not self._failing:
                await self._send(FAREWELL)

    async def _send(self, patience: float) -> None:
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        try:
            await self._post(batch, patience)
        except Exception as error:  # whatever it is: no span is worth the agent, which ends with any of its parts
            self._counters.spans("failed", len(batch))
            if not self._failing:
                log.warning("traces cannot be sent to %s: %s: %s", self._url, type(error).__name__, error)
            self._failing = True
            return
        self._failing = False
        self._counters.spans("sent", len(batch))

    async def _post(self, batch: list[Span], patience: float) -> None:
        body = self._redactor.whole(otlp.request(batch, self._resource))
        async with self._session.post(
            self._url, json=body, headers=self._headers, timeout=aiohttp.ClientTimeout(total=patience),
            allow_redirects=False,
        ) as response:  # fmt: skip
            await response.read()
            if response.status >= 300:
                raise ValueError(f"it answered {response.status}")
