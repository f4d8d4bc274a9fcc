"""Whether a stage's long work is still wanted, asked from the side while it runs.

It is not when the stage is not this attempt's any more (cancelled, or taken over after a pause), when this process is
to end, or when its time is over: on a pool of threads no limit of Celery's holds, so this one counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_commands import LOOK_EVERY, Abandoned, Stopped

log = logging.getLogger(__name__)

_HELD = """
select count(*) from stages
 where id = %(stage_id)s and attempt = %(attempt)s and status = 'Running' and not claimable
"""


class TookTooLong(Exception):
    """The work's time is over; one sentence."""


@contextmanager
def watched(orchestrator: Orchestrator, claimed: ClaimedStage, limit: float) -> Iterator[threading.Event]:
    """To be put around the work, which ends early once the event is set; then its end, whatever it was, is none.

    `limit` in seconds. Raises Abandoned, Stopped, TookTooLong in place of what the work broken off raised or returned.
    """
    watch = _Watch(orchestrator, claimed, limit)
    watch.start()
    try:
        yield watch.end
    except Exception as error:
        if watch.reason is not None:
            raise watch.reason from error
        raise
    finally:
        watch.finish()
    if watch.reason is not None:
        raise watch.reason


class _Watch(threading.Thread):
    """A database that is away is asked again; the work goes on meanwhile."""

    def __init__(self, orchestrator: Orchestrator, claimed: ClaimedStage, limit: float) -> None:
        super().__init__(name="stage-watch", daemon=True)
        self._orchestrator = orchestrator
        self._claimed = claimed
        self._limit = limit
        self._deadline = time.monotonic() + limit
        self._finished = threading.Event()
        self.end = threading.Event()
        self.reason: Exception | None = None

    def run(self) -> None:
        while not self._finished.wait(LOOK_EVERY):
            self.reason = self._reason()
            if self.reason is not None:
                self.end.set()
                return

    def finish(self) -> None:
        self._finished.set()
        self.join()

    def _reason(self) -> Exception | None:
        if self._orchestrator.stopping.is_set():
            return Stopped()
        if time.monotonic() > self._deadline:
            return TookTooLong(f"it was not done after {self._limit:.0f} s")
        return None if self._is_held() else Abandoned()

    def _is_held(self) -> bool:
        values = {"stage_id": self._claimed.stage_id, "attempt": self._claimed.attempt}
        try:
            with self._orchestrator.database.single() as connection:
                row: Any = connection.execute(_HELD, values).fetchone()
        except (psycopg.Error, SQLAlchemyError) as error:
            log.warning("whether a stage is still wanted cannot be asked: %s", str(error).strip().splitlines()[0])
            return True
        return bool(row[0])
