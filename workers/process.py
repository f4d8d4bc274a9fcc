"""What one executing process holds: database, client of agents, publisher, presence. Made after the fork, once."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from uuid import UUID

from uuid6 import uuid7

from app.infrastructure.db.engine import Database
from app.infrastructure.nodes import Nodes
from app.infrastructure.presence import Presence
from app.infrastructure.publisher import BackgroundPublisher
from app.orchestrator import claims
from app.orchestrator.context import Orchestrator
from config.settings import Settings, settings_or_exit


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
            _current = _make(settings_or_exit(), role)
        return _current


def stop_long_work() -> None:
    """Callable from a signal handler: takes no lock."""
    here = _current
    if here is not None and here.pid == os.getpid():
        here.orchestrator.stopping.set()


def leave() -> None:
    """Stop in order, if this process ever executed anything."""
    global _current
    with _lock:
        leaving, _current = _current, None
    if leaving is not None and leaving.pid == os.getpid():
        leaving.stop()


def _make(settings: Settings, role: str) -> WorkerProcess:
    from workers.celery_app import publishing  # which imports this module

    publisher = BackgroundPublisher(publishing)
    presence = Presence(settings, uuid7(), role)
    presence.start()
    return WorkerProcess(
        pid=os.getpid(),
        orchestrator=Orchestrator(Database(settings, application=f"hotswap {role}"), settings, publisher),
        nodes=Nodes(settings),
        presence=presence,
        publisher=publisher,
    )
