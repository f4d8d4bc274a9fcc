"""The one base class of all tasks: checks the message's signature, owns log context and metrics, never lets a task
retry by itself. What failed unexpectedly has given its claim back: the next attempt is another task.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task

from agent.telemetry import spans
from agent.telemetry.context import bound
from app.orchestrator.settling import DATABASE_TROUBLE
from workers import signing, tracing
from workers.task_metrics import TASK_SECONDS

log = logging.getLogger(__name__)


class UnsignedMessage(Exception):
    """A message that none of us published."""


class Work(Task):  # type: ignore[misc]
    """Base of every task."""

    abstract = True
    ignore_result = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        given = (request.headers or {}).get(signing.HEADER) or request.get(signing.HEADER)
        if not request.called_directly and not signing.genuine(given, self.name, str(request.id), args, kwargs):
            raise UnsignedMessage(f"{self.name} {request.id}: the message's signature does not hold")
        begun = time.monotonic()
        outcome = "failed"
        deployment, work = args if len(args) == 2 else (None, None)  # a tick has neither
        with spans.continued(tracing.place(request)), bound(task=self.name, deployment=deployment, work=work):
            try:
                result = super().__call__(*args, **kwargs)
                outcome = "done" if result is not None else "nothing to do"
                return result
            except DATABASE_TROUBLE as error:
                log.warning("a task ended: %s", str(error).strip(), extra={"error": type(error).__name__})
                raise
            except Exception as error:  # told here, where it is known whose it is; Celery is silenced for it
                log.exception("a task failed unforeseen", extra={"error": type(error).__name__})
                raise
            finally:
                TASK_SECONDS.labels(task=self.name, outcome=outcome).observe(time.monotonic() - begun)
