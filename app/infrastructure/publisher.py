"""Publishes wake-ups from a bounded background thread: a request or a worker never waits for Redis.

What does not fit into the queue, or finds Redis away, is dropped here on purpose: its outbox row stays, and a
reconciler publishes it again. One per process, made after the fork.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

from celery import Celery

from agent.telemetry.traceparent import HEADER
from app.infrastructure.outbox import Wake
from app.infrastructure.work_metrics import PUBLISHED

log = logging.getLogger(__name__)

ROOM = 10_000


class BackgroundPublisher:
    """`publish()` returns at once; `stop()` gives what is queued a few seconds.

    `celery` is an application without a result backend: asking for results costs a subscription for each message, and
    ends the thread when Redis stays away.
    """

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._queue: queue.Queue[Wake | None] = queue.Queue(ROOM)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._started = threading.Lock()

    def publish(self, wakes: tuple[Wake, ...]) -> None:
        if not wakes:
            return
        with self._started:
            if not self._thread.is_alive() and self._thread.ident is None:
                self._thread.start()
        for wake in wakes:
            try:
                self._queue.put_nowait(wake)
            except queue.Full:
                PUBLISHED.labels(outcome="dropped").inc()

    def stop(self, timeout: float = 3) -> None:
        if self._thread.ident is None:
            return
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            log.warning("the publisher's queue is full at the end: the outbox keeps what is owed")
        self._thread.join(timeout)

    def _run(self) -> None:
        while (wake := self._queue.get()) is not None:
            try:
                send(self._celery, wake)
                PUBLISHED.labels(outcome="sent").inc()
            except Exception as error:  # whatever a client library makes of a broker that is away: this thread lives on
                PUBLISHED.labels(outcome="failed").inc()
                log.warning("a wake-up could not be published, the outbox repeats it: %r", error, extra={
                    "deployment": str(wake.deployment_id), "work": str(wake.work_id), "task": wake.task,
                    "trace_id": wake.trace_id})  # fmt: skip


def send(celery: Celery, wake: Wake) -> None:
    """Publish one wake-up. The task's id is the work's: Flower shows a deployment as one chain of them."""
    options: dict[str, Any] = {"retry": False, "headers": {HEADER: wake.place.header()}}
    celery.send_task(
        wake.task,
        args=[str(wake.deployment_id), str(wake.work_id)],
        task_id=str(wake.work_id),
        queue=wake.queue,
        root_id=str(wake.root_id),
        parent_id=str(wake.parent_id) if wake.parent_id else None,
        **options,
    )
