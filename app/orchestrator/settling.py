"""A claim does not outlive the work under it while its process lives on.

The reconciler takes a claim from a process that died or stands still. One whose work ended in an exception belongs to a
process that is well and renews: nobody else would ever take it. So whoever worked gives it back, as soon as the
database answers; that also settles a claim of which the answer was lost and nobody knows whether it was committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy.exc

from app.domain.events import ClaimEnded
from app.infrastructure.db.deployment_store import SQL
from app.orchestrator import outcomes
from app.orchestrator.context import Orchestrator

log = logging.getLogger(__name__)

DATABASE_TROUBLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,  # the server ended a transaction that stood still: we were stopped, or cut off
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InternalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
)
"""What says nothing about the work: the database is away, restarts, or is overloaded."""
LONGEST_OUTAGE = 900.0
"""Seconds for which it is tried; then the claim's own budget ends it."""
RETRY = 1.0


@contextmanager
def settled(orchestrator: Orchestrator, executor_id: UUID, deployment_id: UUID, work_id: UUID) -> Iterator[None]:
    """To be put around claim, work and report. An exception goes on, after the claim has been given back.

    Trouble with the database does not count against the work; any other exception does, like the death of its process.
    """
    with _under_way(work_id) as alone:
        try:
            yield
        except Exception as error:
            # A second message for what another thread of ours works on may fail without having claimed anything.
            if alone:
                poison = not isinstance(error, DATABASE_TROUBLE)
                why = _told(error) if poison else "the database was away or overloaded"
                log.warning("work ended in an error: %s", _told(error), extra={"work": str(work_id)})
                _give_back(orchestrator, executor_id, deployment_id, work_id, poison=poison, why=why)
            raise


_working: set[UUID] = set()
_working_lock = threading.Lock()


@contextmanager
def _under_way(work_id: UUID) -> Iterator[bool]:
    """Whether no other thread of this process is at the same work. (No lock: claims are what exclude.)"""
    with _working_lock:
        alone = work_id not in _working
        _working.add(work_id)
    try:
        yield alone
    finally:
        if alone:
            with _working_lock:
                _working.discard(work_id)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def _give_back(
    orchestrator: Orchestrator, executor_id: UUID, deployment_id: UUID, work_id: UUID, *, poison: bool, why: str
) -> None:
    deadline = time.monotonic() + LONGEST_OUTAGE
    while time.monotonic() < deadline:
        try:
            attempt = _held_attempt(orchestrator, executor_id, work_id)
            if attempt is not None:
                outcomes.apply(orchestrator, deployment_id, ClaimEnded(work_id, attempt, poison=poison, why=why))
            return
        except DATABASE_TROUBLE as trouble:
            log.warning("a claim cannot be given back yet: %s", _told(trouble))
            time.sleep(RETRY)


def _held_attempt(orchestrator: Orchestrator, executor_id: UUID, work_id: UUID) -> int | None:
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(SQL["held_claim"], {"executor_id": executor_id, "work_id": work_id}).fetchone()
    return None if row is None else int(row[0])
