"""The circuit breaker of one node: pybreaker's, told of each call's outcome after it.

pybreaker holds its lock while it calls. Calls of agents wait for up to half a minute, and several modules of one node
may be under way at once, so the call itself stays outside.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pybreaker

from app.infrastructure.work_metrics import BREAKER_CHANGES, BREAKERS


class _Counted(pybreaker.CircuitBreakerListener):
    """How many breakers of this process are not closed, and how often that changed."""

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        if old_state is None or old_state.name == new_state.name:
            return
        BREAKER_CHANGES.labels(new_state.name).inc()
        if old_state.name != pybreaker.STATE_CLOSED:
            BREAKERS.labels(old_state.name).dec()
        if new_state.name != pybreaker.STATE_CLOSED:
            BREAKERS.labels(new_state.name).inc()


_COUNTED = _Counted()
MOST_FAILURES = 5
OPEN_FOR = 2.0
"""Seconds for which an open breaker refuses; then the next call is the probe."""


class NodeBreaker:
    """Safe to share between threads."""

    def __init__(self, node_id: UUID) -> None:
        self._state = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=MOST_FAILURES,
            reset_timeout=OPEN_FOR,
            state_storage=self._state,
            name=f"node {node_id}",
            throw_new_error_on_trip=False,
            listeners=[_COUNTED],
        )

    def refuses(self) -> bool:
        """Whether the node failed too often a moment ago."""
        opened = self._state.opened_at
        if self._breaker.current_state != pybreaker.STATE_OPEN or opened is None:
            return False
        return datetime.now(UTC) - opened.replace(tzinfo=UTC) < timedelta(seconds=OPEN_FOR)

    def answered(self) -> None:
        """A call was answered, whatever the answer: the breaker closes, or its count starts anew."""
        if self._breaker.current_state == pybreaker.STATE_OPEN:
            self._breaker.close()
        else:
            self._breaker.call(lambda: None)

    def failed(self, error: Exception) -> None:
        """A call got no answer."""

        def raises() -> None:
            raise error

        with contextlib.suppress(type(error), pybreaker.CircuitBreakerError):
            self._breaker.call(raises)
