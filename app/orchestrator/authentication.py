"""Log-ins: who is it, may they still, and what became of their session.

A session is a row. Its refresh token is good once: each use names the next one, and a second use of an old one (it was
stolen, or the thief's came first) revokes the whole session. Access tokens carry the session's id, which every request
looks up, so that a revoked session, a disabled user or a changed role counts at once.

Five failures lock a name for a while, whether such a user exists or not. A right password given while the name is
locked is answered like a wrong one: what is decided is decided in one transaction at the end, behind the name's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.domain.errors import HotSwapError, Locked, NotAuthenticated
from app.infrastructure.db.models import DEFAULT_TENANT, LoginFailures, LoginSession, User
from app.infrastructure.db.reading import read
from app.infrastructure.passwords import verify_password
from app.orchestrator.context import Orchestrator, Requester

FAILURES_THAT_LOCK = 5
LOCKED_FOR = timedelta(minutes=15)
_WRONG = "The username or the password is wrong."
_ENDED = "This session has ended: log in again."
_IDENTIFY: LiteralString = """
select u.username, u.roles, u.id, u.email, u.tenant_id from login_sessions s join users u on u.id = s.user_id
 where s.id = %(session)s and s.revoked_at is null and not u.disabled
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A user, for people."""

    id: UUID
    username: str
    email: str
    full_name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A log-in: `refresh_id` is the id of the one refresh token that is good now."""

    id: UUID
    refresh_id: UUID
    account: Account


def log_in(orchestrator: Orchestrator, username: str, password: str) -> OpenSession:
    """Open a session. Raises NotAuthenticated, Locked (whatever the password), TooMany."""
    with orchestrator.database.session() as session:
        _refuse_locked(session, username)
        user = session.scalar(
            select(User).where(User.tenant_id == DEFAULT_TENANT, User.username == username, ~User.disabled)
        )
    right = verify_password(user.password_hash if user else None, password)
    refusal: HotSwapError | None = None
    with orchestrator.database.session() as session:
        failures = _failures_row(session, username)
        refusal = _locked(session, failures)
        if refusal is None and user is not None and right:
            session.delete(failures)
            return _open(orchestrator, session, user)
        if refusal is None:
            refusal = _count_failure(session, failures)
    # Raised after the commit: a failure that is rolled back would not count.
    raise refusal


def _failures_row(session: Session, username: str) -> LoginFailures:
    """The name's row, made where it is missing, locked until the transaction ends.

    One statement, because a row that another log-in removes between an insert and a select would be missed.
    """
    statement = insert(LoginFailures).values(tenant_id=DEFAULT_TENANT, username=username, failures=0)
    locking = statement.on_conflict_do_update(
        index_elements=["tenant_id", "username"], set_={"failures": LoginFailures.failures}
    )
    return session.scalars(locking.returning(LoginFailures), execution_options={"populate_existing": True}).one()


def _refuse_locked(session: Session, username: str) -> None:
    failures = session.get(LoginFailures, (DEFAULT_TENANT, username))
    refusal = _locked(session, failures) if failures else None
    if refusal:
        raise refusal


def _now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.hotswap_now())).scalar_one()
    return now


def _locked(session: Session, failures: LoginFailures) -> Locked | None:
    if failures.locked_until is None:
        return None
    left = (failures.locked_until - _now(session)).total_seconds()
    if left <= 0:
        return None
    return Locked("Locked after too many failed log-ins; try again later.", retry_after=int(left) + 1)


def _count_failure(session: Session, failures: LoginFailures) -> HotSwapError:
    now = _now(session)
    over = failures.locked_until is not None or now - failures.last_at > LOCKED_FOR
    failures.failures = 1 if over else failures.failures + 1
    failures.last_at = now
    failures.locked_until = now + LOCKED_FOR if failures.failures >= FAILURES_THAT_LOCK else None
    # Names that nobody has asked for since would otherwise stay for ever.
    session.execute(delete(LoginFailures).where(LoginFailures.last_at < now - timedelta(days=1)))
    return NotAuthenticated(_WRONG)


def _open(orchestrator: Orchestrator, session: Session, user: User) -> OpenSession:
    opened = LoginSession(
        id=orchestrator.new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        refresh_id=orchestrator.new_id(),
        expires_at=_now(session) + timedelta(seconds=orchestrator.settings.refresh_token_lifetime),
    )
    session.add(opened)
    # Sessions that have ended say nothing any more.
    session.execute(
        delete(LoginSession).where(LoginSession.user_id == user.id, LoginSession.expires_at < _now(session))
    )
    return OpenSession(opened.id, opened.refresh_id, _account(user))


def refresh(orchestrator: Orchestrator, session_id: UUID, refresh_id: UUID) -> OpenSession:
    """Exchange the refresh token for the next one. Raises NotAuthenticated; a second use ends the session."""
    reused = False
    with orchestrator.database.session() as session:
        row = session.execute(
            select(LoginSession, User)
            .join(User, User.id == LoginSession.user_id)
            .where(LoginSession.id == session_id)
            .with_for_update(of=LoginSession)
        ).one_or_none()
        if row is None or row[0].revoked_at is not None or row[1].disabled or row[0].expires_at <= _now(session):
            raise NotAuthenticated(_ENDED)
        opened, user = row
        if opened.refresh_id != refresh_id:
            opened.revoked_at = _now(session)
            reused = True
        else:
            opened.refresh_id = orchestrator.new_id()
            opened.expires_at = _now(session) + timedelta(seconds=orchestrator.settings.refresh_token_lifetime)
    if reused:
        raise NotAuthenticated("This refresh token was used before: the session has been ended. Log in again.")
    return OpenSession(opened.id, opened.refresh_id, _account(user))


def log_out(orchestrator: Orchestrator, session_id: UUID) -> None:
    """End a session, with all its tokens. Ending one that has ended changes nothing."""
    with orchestrator.database.session() as session:
        session.execute(
            update(LoginSession)
            .where(LoginSession.id == session_id, LoginSession.revoked_at.is_(None))
            .values(revoked_at=func.hotswap_now())
        )


def identify(orchestrator: Orchestrator, session_id: UUID) -> Requester:
    """Who a session belongs to, with the roles of now. Raises NotAuthenticated."""
    rows = read(orchestrator.database, _IDENTIFY, {"session": session_id})
    if not rows:
        raise NotAuthenticated(_ENDED)
    username, roles, user_id, email, tenant_id = rows[0]
    return Requester(username, frozenset(roles), user_id, email, tenant_id)


def account(orchestrator: Orchestrator, requester: Requester) -> Account:
    """The requester's own account. Raises NotAuthenticated when it is gone."""
    with orchestrator.database.session() as session:
        user = session.scalar(select(User).where(User.tenant_id == requester.tenant_id, User.id == requester.user_id))
    if user is None:
        raise NotAuthenticated(_ENDED)
    return _account(user)


def _account(user: User) -> Account:
    return Account(user.id, user.username, user.email, user.full_name, tuple(user.roles))
