"""What one executing process holds: database, client of agents, publisher, presence. Made after the fork, once."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from uuid import UUID

import psycopg
from celery import Celery, current_app
from sqlalchemy.exc import SQLAlchemyError
from uuid6 import uuid7

from app.infrastructure.db.engine import Database
from app.infrastructure.nodes import Nodes
from app.infrastructure.presence import Presence
from app.infrastructure.publisher import BackgroundPublisher
from app.orchestrator import claims
from app.orchestrator.context import Orchestrator
from config.settings import Settings, settings_or_exit

log = logging.getLogger(__name__)

LET_GO_FOR = 300.0
"""Seconds for which a database that is away is waited for."""
LET_GO_AGAIN = 1.0


@dataclass(slots=True)
class WorkerProcess:
    pid: int
    orchestrator: Orchestrator
    nodes: Nodes
    presence: Presence
    publisher: BackgroundPublisher

    @property
    def executor_id(self) -> UUID:
        return self.presence.executor_id

    def let_go(self, work_id: UUID, error: Exception) -> None:
        """Give up the claim of a task that ended with an error, as soon as the database answers: it may be its fault.

        Without this the work would be ours until its budget is spent, as we live on and renew.
        """
        database_fault = isinstance(error, psycopg.Error | SQLAlchemyError)
        why = f"its task failed: {type(error).__name__}: {error}"[:500]
        deadline = time.monotonic() + LET_GO_FOR
        while True:
            try:
                claims.let_go(self.orchestrator, self.executor_id, work_id, poison=not database_fault, why=why)
            except (psycopg.Error, SQLAlchemyError) as unanswered:
                if time.monotonic() > deadline:
                    log.error("the claim of %s could not be given up, its budget ends it: %s", work_id, unanswered)
                    return
                time.sleep(LET_GO_AGAIN)
            else:
                return

    def stop(self) -> None:
        """Hand back what is claimed, then leave: the next attempt begins at once elsewhere."""
        claims.hand_back(self.orchestrator, self.executor_id)
        self.publisher.stop()
        self.presence.stop()
        self.nodes.close()
        self.orchestrator.database.close()


_lock = threading.Lock()
_current: WorkerProcess | None = None


def current(role: str = "worker") -> WorkerProcess:
    """This process's own, made at first use; what a fork inherited from its parent is never used."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = _make(settings_or_exit(), current_app, role)
        return _current


def leave() -> None:
    """Stop in order, if this process ever executed anything."""
    global _current
    with _lock:
        leaving, _current = _current, None
    if leaving is not None and leaving.pid == os.getpid():
        leaving.stop()


def _make(settings: Settings, celery: Celery, role: str) -> WorkerProcess:
    publisher = BackgroundPublisher(celery)
    presence = Presence(settings, uuid7(), role)
    presence.start()
    return WorkerProcess(
        pid=os.getpid(),
        orchestrator=Orchestrator(Database(settings, application=f"hotswap {role}"), settings, publisher),
        nodes=Nodes(settings),
        presence=presence,
        publisher=publisher,
    )
