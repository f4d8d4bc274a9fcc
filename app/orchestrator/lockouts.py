"""Guesses of passwords: five failures lock a name for a while, whether such a user exists or not.

An Admin can lift the lock, by itself or with a new password. The name's row is locked while it is decided, so that
guesses at once have no more chances than one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.domain.errors import Locked
from app.infrastructure.db.models import DEFAULT_TENANT, LoginFailures

FAILURES_THAT_LOCK = 5
LOCKED_FOR = timedelta(minutes=15)


def failures_row(session: Session, username: str) -> LoginFailures:
    """The name's row, made where it is missing, locked until the transaction ends.

    One statement, because a row that another log-in removes between an insert and a select would be missed.
    """
    statement = insert(LoginFailures).values(tenant_id=DEFAULT_TENANT, username=username, failures=0)
    locking = statement.on_conflict_do_update(
        index_elements=["tenant_id", "username"], set_={"failures": LoginFailures.failures}
    )
    return session.scalars(locking.returning(LoginFailures), execution_options={"populate_existing": True}).one()


def refuse_locked(session: Session, username: str) -> None:
    """Raises Locked. For looking before a password is hashed; what counts is asked again behind the name's row."""
    failures = session.get(LoginFailures, (DEFAULT_TENANT, username))
    refusal = locked(session, failures) if failures else None
    if refusal:
        raise refusal


def locked(session: Session, failures: LoginFailures) -> Locked | None:
    """The refusal of a name that is locked now."""
    if failures.locked_until is None:
        return None
    left = (failures.locked_until - durable_now(session)).total_seconds()
    if left <= 0:
        return None
    return Locked("Locked after too many failed log-ins; try again later.", retry_after=int(left) + 1)


def count_failure(session: Session, failures: LoginFailures) -> None:
    """One more wrong password; the caller commits it, and refuses after that."""
    now = durable_now(session)
    over = failures.locked_until is not None or now - failures.last_at > LOCKED_FOR
    failures.failures = 1 if over else failures.failures + 1
    failures.last_at = now
    failures.locked_until = now + LOCKED_FOR if failures.failures >= FAILURES_THAT_LOCK else None
    # Names that nobody has asked for since would otherwise stay for ever.
    session.execute(delete(LoginFailures).where(LoginFailures.last_at < now - timedelta(days=1)))


def locked_until(session: Session, usernames: Sequence[str]) -> Mapping[str, datetime]:
    """Those of the names that are locked now, and until when."""
    rows = session.execute(
        select(LoginFailures.username, LoginFailures.locked_until).where(
            LoginFailures.tenant_id == DEFAULT_TENANT,
            LoginFailures.username.in_(usernames),
            LoginFailures.locked_until > func.hotswap_now(),
        )
    )
    return {name: until for name, until in rows if until is not None}


def lift(session: Session, username: str) -> None:
    """Forget a name's failures, and its lock with them. Before any row of the user is locked: a log-in locks the name
    first."""
    session.execute(
        delete(LoginFailures).where(LoginFailures.tenant_id == DEFAULT_TENANT, LoginFailures.username == username)
    )


def durable_now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.hotswap_now())).scalar_one()
    return now
