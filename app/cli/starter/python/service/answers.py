"""What this service answers. No socket is touched here, so all of it can be tested without one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from service.metrics import Metrics

_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    content_type: str = _TEXT


@dataclass
class Service:
    """`data` is the folder that outlives releases (HOTSWAP_DATA_DIR), None where nobody gave one."""

    name: str
    version: str
    data: str | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def answer(self, method: str, path: str) -> Answer:
        """The answer to a request. Health checks and metrics are not counted: they are no user's."""
        path = path.partition("?")[0]
        if path == "/healthz":
            return self._health()
        if path == "/metrics":
            return Answer(200, self.metrics.text(), _PROMETHEUS)
        began = time.monotonic()
        answer = self._answer(method, path)
        self.metrics.observe(answer.status, time.monotonic() - began)
        return answer

    def _answer(self, method: str, path: str) -> Answer:
        """Begin here."""
        if method not in ("GET", "HEAD"):
            return Answer(405, "only GET and HEAD\n")
        if path == "/":
            return Answer(200, f"{self.name} {self.version}\n")
        return Answer(404, "there is nothing here\n")

    def _health(self) -> Answer:
        """Ask here what the service cannot do without: a check that only says 200 lets a broken release in."""
        if self.data is not None and not os.access(self.data, os.W_OK):
            return Answer(503, f"cannot write to {self.data}\n")
        return Answer(200, "ok\n")
