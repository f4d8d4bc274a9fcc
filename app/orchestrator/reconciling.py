"""The reconciler: a loop beside every worker, driven by the database alone, that takes up what was dropped.

It needs neither beat, nor Redis, nor a worker that consumes. Many may run: each step is safe to do twice, because it
goes through `decide()` under the deployment's lock, and rows that somebody holds are passed over.

What counts as lost (DESIGN 3.8): a claim whose executor's lock is free and whose renewal counter stood still for
`lease_stall` seconds, or whose lock is held and counter stood still for `lease` seconds. Spans are of this process's
monotonic clock, counted afresh after any gap in its own access to the database or a restart of PostgreSQL, so that
neither a stepped clock nor an outage expires healthy work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError

import app.infrastructure.db
from agent.telemetry.context import bound
from app.domain.durations import parse_duration
from app.domain.errors import NotFound
from app.domain.events import PROCESS_DIED, BudgetSpent, ClaimEnded, Event, NodeLost, NodeReturned, PauseExpired
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.deployment_store import Busy
from app.infrastructure.db.engine import Raw
from app.infrastructure.db.queries import load as load_queries
from app.infrastructure.outbox import Wake
from app.infrastructure.work_metrics import CLAIMS_LOST
from app.orchestrator import outcomes
from app.orchestrator.cluster_facts import Scope, manifest_and_facts
from app.orchestrator.context import Orchestrator
from app.orchestrator.dispatching import QUEUES

log = logging.getLogger(__name__)

SQL = load_queries(Path(app.infrastructure.db.__path__[0]) / "reconciler.sql")
LONGEST_GAP = 8.0
"""A longer pause between two ticks of this loop, and every span is counted afresh."""
DEEPEST_QUEUE = 2000

QueueDepth = Callable[[str], int | None]


@dataclass(slots=True)
class _Stillness:
    """Since when a counter has stood still, on the monotonic clock."""

    value: Any
    since: float


@dataclass(slots=True)
class Reconciler:
    """`queue_depth` tells how many messages wait in a queue, None where the broker does not answer."""

    orchestrator: Orchestrator
    queue_depth: QueueDepth
    monotonic: Callable[[], float] = time.monotonic
    _executors: dict[UUID, _Stillness] = field(default_factory=dict)
    _nodes: dict[tuple[UUID, UUID], _Stillness] = field(default_factory=dict)
    _last_tick: float | None = None
    _postmaster: str | None = None

    def tick(self) -> None:
        """Look once at everything. Raises what the database raises; call it again later."""
        with self.orchestrator.database.raw() as connection:
            row: Any = connection.execute(SQL["postmaster"]).fetchone()
        now = self.monotonic()
        if self._last_tick is None or now - self._last_tick > LONGEST_GAP or row[0] != self._postmaster:
            self._executors.clear()
            self._nodes.clear()
        self._postmaster = row[0]
        # From start to start: a stall within a tick is a gap, too.
        self._last_tick = now
        self._lost_claims()
        self._spent_budgets()
        self._owed_wakes()
        self._expired_pauses()
        self._silent_nodes()
        self._returned_nodes()
        with self.orchestrator.database.raw() as connection:
            connection.execute(SQL["dead_executors"])

    # --- claims

    def _lost_claims(self) -> None:
        rows = self._rows("claims")
        now = self.monotonic()
        seen: dict[UUID, _Stillness] = {}
        settings = self.orchestrator.settings
        for executor_id, work_id, deployment_id, attempt, renewals, locked in rows:
            still = seen.get(executor_id) or self._still(self._executors.get(executor_id), renewals, now)
            seen[executor_id] = still
            stood = now - still.since
            if not locked and stood >= settings.lease_stall:
                CLAIMS_LOST.labels(reason="process died").inc()
                self._happen(deployment_id, ClaimEnded(work_id, attempt, poison=True, why=PROCESS_DIED))
            elif locked and stood >= settings.lease:
                CLAIMS_LOST.labels(reason="lease expired").inc()
                self._happen(deployment_id, ClaimEnded(work_id, attempt, poison=False, why="its process stood still"))
        self._executors = seen

    @staticmethod
    def _still(before: _Stillness | None, value: Any, now: float) -> _Stillness:
        return before if before is not None and before.value == value else _Stillness(value, now)

    def _spent_budgets(self) -> None:
        for work_id, deployment_id, attempt in self._rows("spent"):
            self._happen(deployment_id, BudgetSpent(work_id, attempt))

    # --- wake-ups

    def _owed_wakes(self) -> None:
        """Publish again what is owed, bounded per tick, and not into a queue that is full of it already."""
        open_queues = []
        for queue in QUEUES:
            depth = self.queue_depth(queue)
            if depth is None:
                return
            if depth < DEEPEST_QUEUE:
                open_queues.append(queue)
        settings = self.orchestrator.settings
        values = {"backoff": settings.outbox_backoff, "batch": settings.outbox_batch, "queues": open_queues}
        wakes = tuple(Wake(*row) for row in self._rows("owed", values))
        if wakes:
            self.orchestrator.publisher.publish(wakes)

    # --- time and nodes

    def _expired_pauses(self) -> None:
        for (deployment_id,) in self._rows("pauses_expired"):
            self._happen(deployment_id, PauseExpired())

    def _silent_nodes(self) -> None:
        """A node is lost only when this loop, too, has seen it silent for so long, and not after an outage of ours.

        One that is heard from, but has not ended a resolve for as long, is as good as silent: nothing may wait for it
        for ever.
        """
        now = self.monotonic()
        seen: dict[tuple[UUID, UUID], _Stillness] = {}
        for deployment_id, node_id, sequence, silent, resolving, lost_after in self._rows("silent_nodes"):
            key = (deployment_id, node_id)
            still = seen.get(key) or self._still(self._nodes.get(key), sequence, now)
            seen[key] = still
            limit = parse_duration(lost_after).total_seconds()
            gone = sequence == -1 or (silent >= limit and now - still.since >= limit - 4)
            if gone or resolving >= limit:
                self._happen(deployment_id, NodeLost(node_id))
        self._nodes = seen

    def _returned_nodes(self) -> None:
        for deployment_id, node_id in self._rows("returned_nodes"):
            self._happen(deployment_id, partial(_returned, node_id))

    # --- how

    def _rows(self, query: str, values: dict[str, Any] | None = None) -> list[Any]:
        with self.orchestrator.database.raw() as connection:
            return connection.execute(SQL[query], values).fetchall()

    def _happen(self, deployment_id: UUID, event: Event | outcomes.EventMaker) -> None:
        with bound(deployment=str(deployment_id)):
            try:
                outcomes.apply(self.orchestrator, deployment_id, event, wait=False)
            except (Busy, NotFound):
                log.debug("passed over")
            except (psycopg.Error, SQLAlchemyError):
                raise
            except Exception:  # one deployment that cannot be decided must not keep all others waiting
                log.exception("a deployment cannot be reconciled")


def _returned(node_id: UUID, connection: Raw, loaded: Loaded) -> Event | None:
    scope = Scope.of(loaded.state, loaded.module_id, loaded.module_name, loaded.environment_id, loaded.targets)
    _manifest, facts = manifest_and_facts(connection, scope)
    fact = next((each for each in facts if each.node_id == node_id), None)
    return NodeReturned(fact) if fact is not None and fact.available else None
