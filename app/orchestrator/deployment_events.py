"""The events of a deployment: pages of them, and waiting for the next without a query for each stream.

Events are numbered without gaps under the deployment's lock, so the number of the last one that a reader has is all it
needs to go on. Readers who wait are served by one thread of the process: it asks, a few times a second and in one query
for all of them, how far each deployment has come. No thread runs while nobody waits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.domain.deployment import TERMINAL
from app.infrastructure.db.models import Deployment, DeploymentEvent
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployment_queries import find

_TERMINAL = frozenset(status.value for status in TERMINAL)
_LOOK_EVERY = 0.25
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.events")


@dataclass(frozen=True, slots=True)
class EventPage:
    """`complete`: the deployment has ended and no event follows the last one here."""

    events: Sequence[DeploymentEvent]
    complete: bool


def after(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, number: int, limit: int) -> EventPage:
    """At most `limit` events with a higher number, in order. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        events = session.scalars(
            select(DeploymentEvent)
            .where(DeploymentEvent.deployment_id == row.id, DeploymentEvent.seq > number)
            .order_by(DeploymentEvent.seq)
            .limit(limit)
        ).all()
        last = events[-1].seq if events else number
        return EventPage(events, row.status in _TERMINAL and last >= row.event_seq)


def newest(
    orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, before: int | None, limit: int
) -> Sequence[DeploymentEvent]:
    """At most `limit` events, newest first, of those with a number below `before`. Raises NotFound."""
    with orchestrator.database.session() as session:
        row = find(session, requester, deployment_id)
        statement = select(DeploymentEvent).where(DeploymentEvent.deployment_id == row.id)
        if before is not None:
            statement = statement.where(DeploymentEvent.seq < before)
        return session.scalars(statement.order_by(DeploymentEvent.seq.desc()).limit(limit)).all()


class EventWatch:
    """Lets many readers of one process wait for events at the price of one query."""

    def __init__(self, orchestrator: Orchestrator, look_every: float = _LOOK_EVERY) -> None:
        self._orchestrator = orchestrator
        self._look_every = look_every
        self._changed = threading.Condition()
        self._waiting: Counter[UUID] = Counter()
        self._last: dict[UUID, int] = {}
        self._looking = False

    def wait(self, deployment_id: UUID, number: int, timeout: float) -> None:
        """Return when the deployment has an event after `number`, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._waiting[deployment_id] += 1
            # Whatever was seen before nobody waited is old.
            if self._waiting[deployment_id] == 1:
                self._last.pop(deployment_id, None)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="event-watch", daemon=True).start()
            try:
                while self._last.get(deployment_id, 0) <= number:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return
                    self._changed.wait(left)
            finally:
                self._waiting[deployment_id] -= 1
                if not self._waiting[deployment_id]:
                    del self._waiting[deployment_id]

    def _look(self) -> None:
        while True:
            with self._changed:
                wanted = list(self._waiting)
                if not wanted:
                    self._looking = False
                    self._last.clear()
                    return
            try:
                seen = self._numbers(wanted)
            except SQLAlchemyError as error:
                # Readers go on waiting until their own timeout, ask themselves, and then learn what is wrong.
                _log.warning("events.away", error=str(error).splitlines()[0])
                seen = {}
            with self._changed:
                self._last.update(seen)
                self._changed.notify_all()
            time.sleep(self._look_every)

    def _numbers(self, wanted: Sequence[UUID]) -> dict[UUID, int]:
        with self._orchestrator.database.session() as session:
            rows = session.execute(select(Deployment.id, Deployment.event_seq).where(Deployment.id.in_(wanted)))
            return {row.id: row.event_seq for row in rows}
