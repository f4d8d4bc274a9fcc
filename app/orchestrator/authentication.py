"""Log-ins: who is it, may they still, and what became of their session.

A session is a row. Its refresh token is good once: each use names the next one, and a second use of an old one (it was
stolen, or the thief's came first) revokes the whole session. Access tokens carry the session's id, which every request
looks up, so that a revoked session, a disabled user or a changed role counts at once.

Five failures lock a name for a while (lockouts.py). A right password given while the name is locked is answered like
a wrong one: what is decided is decided in one transaction at the end, behind the name's row, and a session is opened
only for the user as it is then (credentials.py). A session of somebody who changes the password in it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.domain.accounts import password_faults
from app.domain.errors import HotSwapError, Invalid, NotAuthenticated
from app.infrastructure.db.models import DEFAULT_TENANT, LoginSession, User
from app.infrastructure.db.reading import read
from app.infrastructure.passwords import hash_password, verify_password
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.credentials import end_sessions, held, refuse_token, revoke_tokens
from app.orchestrator.lockouts import count_failure, durable_now, failures_row, locked, refuse_locked

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
        refuse_locked(session, username)
        user = session.scalar(
            select(User).where(User.tenant_id == DEFAULT_TENANT, User.username == username, ~User.disabled)
        )
    right = verify_password(user.password_hash if user else None, password)
    refusal: HotSwapError | None = None
    with orchestrator.database.session() as session:
        failures = failures_row(session, username)
        refusal = locked(session, failures)
        if refusal is None:
            current = held(session, user.id) if user is not None and right else None
            # Who was disabled, or given another password, while this one was verified has not given the right one.
            if current is not None and user is not None and current.password_hash == user.password_hash:
                session.delete(failures)
                return _open(orchestrator, session, current)
            count_failure(session, failures)
            refusal = NotAuthenticated(_WRONG)
    # Raised after the commit: a failure that is rolled back would not count.
    raise refusal


def _open(orchestrator: Orchestrator, session: Session, user: User) -> OpenSession:
    opened = LoginSession(
        id=orchestrator.new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        refresh_id=orchestrator.new_id(),
        expires_at=durable_now(session) + timedelta(seconds=orchestrator.settings.refresh_token_lifetime),
    )
    session.add(opened)
    # Sessions that have ended say nothing any more.
    session.execute(
        delete(LoginSession).where(LoginSession.user_id == user.id, LoginSession.expires_at < durable_now(session))
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
        if row is None or row[0].revoked_at is not None or row[1].disabled or row[0].expires_at <= durable_now(session):
            raise NotAuthenticated(_ENDED)
        opened, user = row
        if opened.refresh_id != refresh_id:
            opened.revoked_at = durable_now(session)
            reused = True
        else:
            opened.refresh_id = orchestrator.new_id()
            opened.expires_at = durable_now(session) + timedelta(seconds=orchestrator.settings.refresh_token_lifetime)
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
    return Requester(username, frozenset(roles), user_id, email, tenant_id, session_id)


def change_password(
    orchestrator: Orchestrator, requester: Requester, current: str, new: str, *, keep_tokens: bool
) -> None:
    """Give oneself another password: ends all one's other sessions, and the API tokens unless they are kept.

    A wrong `current` counts as a failed log-in. Raises Invalid with both fields, Locked, NotPermitted (with an API
    token), NotAuthenticated (the user is gone or disabled), TooMany.
    """
    refuse_token(requester, "change passwords")
    faults = password_faults(new, requester.username)
    if faults:
        raise Invalid({"password": faults})
    with orchestrator.database.session() as session:
        refuse_locked(session, requester.username)
        known = session.scalar(select(User.password_hash).where(User.id == requester.user_id))
    right = verify_password(known, current)
    password_hash = hash_password(new) if right else None
    refusal: HotSwapError | None = None
    with orchestrator.database.session() as session:
        failures = failures_row(session, requester.username)
        refusal = locked(session, failures)
        if refusal is None and password_hash is None:
            count_failure(session, failures)
            refusal = Invalid({"currentPassword": ["is wrong"]})
        elif refusal is None:
            session.delete(failures)
            _replace_password(session, requester, known, password_hash, keep_tokens=keep_tokens)
    if refusal is not None:
        raise refusal


def _replace_password(
    session: Session, requester: Requester, known: str | None, password_hash: str | None, *, keep_tokens: bool
) -> None:
    changed = session.execute(
        update(User)
        .where(User.id == requester.user_id, User.password_hash == known, ~User.disabled)
        .values(password_hash=password_hash, password_changed_at=func.hotswap_now())
        .returning(User.id)
    ).one_or_none()
    if changed is None:
        raise NotAuthenticated(_ENDED)
    end_sessions(session, changed[0], spared=requester.session_id)
    if not keep_tokens:
        revoke_tokens(session, changed[0])


def account(orchestrator: Orchestrator, requester: Requester) -> Account:
    """The requester's own account. Raises NotAuthenticated when it is gone."""
    with orchestrator.database.session() as session:
        user = session.scalar(select(User).where(User.tenant_id == requester.tenant_id, User.id == requester.user_id))
    if user is None:
        raise NotAuthenticated(_ENDED)
    return _account(user)


def _account(user: User) -> Account:
    return Account(user.id, user.username, user.email, user.full_name, tuple(user.roles))
