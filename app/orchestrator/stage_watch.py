"""Whether a stage's long work is still wanted, asked while it is done.

It is not when the stage is not this attempt's any more (cancelled, or taken over after a pause), when this process is
to end, or when its time is over: on a pool of threads no limit of Celery's holds, so this one counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent import futures
from threading import Event
from typing import TypeVar

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from app.orchestrator.claims import STAGE_BUDGET, ClaimedStage
from app.orchestrator.context import Orchestrator

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5
LAST_MINUTE = 60.0
"""Seconds before the end of the stage's budget in which nothing is begun: so the stage says itself what took long."""
_HELD = """
select from stages
 where id = %(stage_id)s and attempt = %(attempt)s and status = 'Running' and not claimable
"""

Result = TypeVar("Result")


class Abandoned(Exception):
    """The stage is not this attempt's any more: what was made is thrown away, and nothing is reported."""


class Stopped(Exception):
    """This process is to end: the stage is to be handed back, and its next attempt begins elsewhere."""


class TookTooLong(Exception):
    """The work's time is over; one sentence."""


class StageWatch:
    """From where the claim was taken on; for one thread. `limit` in seconds; what the claim allows without."""

    def __init__(self, orchestrator: Orchestrator, claimed: ClaimedStage, limit: float | None = None) -> None:
        self._database = orchestrator.database
        self._stopping = orchestrator.stopping
        self._values = {"stage_id": claimed.stage_id, "attempt": claimed.attempt}
        self._limit = STAGE_BUDGET - LAST_MINUTE if limit is None else limit
        self._deadline = time.monotonic() + self._limit
        self._next = 0.0

    def look(self) -> None:
        """To be called between pieces of work, as often as one likes. Raises Abandoned, Stopped, TookTooLong."""
        if self._stopping.is_set():
            raise Stopped
        now = time.monotonic()
        if now > self._deadline:
            raise TookTooLong(f"the stage's {self._limit:.0f} s are used up")
        if now < self._next:
            return
        if not self._is_held():
            raise Abandoned
        self._next = time.monotonic() + LOOK_EVERY

    def _is_held(self) -> bool:
        """A database that is away is asked again; the work goes on meanwhile."""
        try:
            with self._database.single() as connection:
                return connection.execute(_HELD, self._values).fetchone() is not None
        except (psycopg.Error, SQLAlchemyError) as error:
            log.warning("it cannot be asked who holds a stage: %s", str(error).strip().splitlines()[0])
            return True


def watched(watch: StageWatch, work: Callable[[Event], Result]) -> Result:
    """What `work` returns, which looks at nothing itself: it is given an event that says when it is to end early, and
    must do so soon then.

    Raises what `work` raises; what `watch` raises, whatever the work made of the event.
    """
    end = Event()
    with futures.ThreadPoolExecutor(1, thread_name_prefix="watched-work") as pool:
        doing = pool.submit(work, end)
        try:
            while not futures.wait((doing,), timeout=LOOK_EVERY).done:
                watch.look()
        except BaseException:
            end.set()
            raise
    return doing.result()
