"""Users: who there is, and what Admins change about them.

Edits of users come one at a time for each tenant: each begins by locking the tenant's row, in a statement of its own.
So of two that would each remove another one of the last two Admins, the second sees what the first has done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.accounts import password_faults
from app.domain.errors import Conflict, Invalid, NotFound, StaleVersion
from app.infrastructure.db.models import Tenant, User
from app.infrastructure.passwords import hash_password
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.credentials import end_sessions, refuse_token, revoke_tokens
from app.orchestrator.lockouts import durable_now, lift, locked_until
from app.orchestrator.paging import Page, PageRequest, page_of
from app.orchestrator.roles import Role, ordered


@dataclass(frozen=True, slots=True)
class NewUser:
    """`password` is hashed before anything is stored."""

    username: str
    email: str
    full_name: str
    roles: Sequence[str]
    password: str
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What is None stays. With a new password all sessions end, and the API tokens too unless `keep_tokens`.

    A new password, and `unlock` alone, lift the lock that failed log-ins have brought about.
    """

    email: str | None = None
    full_name: str | None = None
    roles: Sequence[str] | None = None
    disabled: bool | None = None
    password: str | None = None
    keep_tokens: bool = False
    unlock: bool = False


@dataclass(frozen=True, slots=True)
class UserView:
    """A user without any secret. `version` is the ETag. `locked_until`: no log-in before; too many have failed."""

    id: UUID
    username: str
    email: str
    full_name: str
    roles: tuple[str, ...]
    disabled: bool
    created_at: datetime
    version: int
    locked_until: datetime | None = None


def list_users(
    orchestrator: Orchestrator, requester: Requester, page: PageRequest, *, username: str | None = None
) -> Page[UserView]:
    """Newest first; with `username` only that one."""
    statement: Select[User] = select(User).where(User.tenant_id == requester.tenant_id)
    if username is not None:
        statement = statement.where(User.username == username)
    with orchestrator.database.session() as session:
        found = page_of(session, statement, User.id, page)
        locks = locked_until(session, [row.username for row in found.items])
        return Page([_view(row, locks.get(row.username)) for row in found.items], found.next_cursor)


def user(orchestrator: Orchestrator, requester: Requester, user_id: UUID) -> UserView:
    """Raises NotFound."""
    with orchestrator.database.session() as session:
        return _seen(session, _found(session, requester, user_id))


def find(session: Session, tenant_id: UUID, name: str) -> User:
    """By name or id. Raises NotFound."""
    statement = select(User).where(User.tenant_id == tenant_id)
    row = session.scalar(statement.where(User.username == name))
    if row is None:
        try:
            row = session.scalar(statement.where(User.id == UUID(name)))
        except ValueError:
            row = None
    if row is None:
        raise NotFound(f"There is no user {name}.")
    return row


def create(orchestrator: Orchestrator, requester: Requester, new: NewUser) -> UserView:
    """Raises Invalid (the password), Conflict (the name is taken), NotPermitted (with an API token), TooMany."""
    refuse_token(requester, "make users")
    _check_password(new.password, new.username)
    # Hashed before the transaction, which the server ends when it idles: a hash takes long on a busy machine.
    password_hash = hash_password(new.password)
    try:
        with orchestrator.database.session() as session:
            row = User(
                id=orchestrator.new_id(),
                tenant_id=requester.tenant_id,
                username=new.username,
                email=new.email,
                full_name=new.full_name,
                password_hash=password_hash,
                roles=ordered(new.roles),
                disabled=new.disabled,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return _view(row)
    except IntegrityError:
        raise Conflict(f"There is a user {new.username} already.") from None


def change(
    orchestrator: Orchestrator,
    requester: Requester,
    user_id: UUID,
    changes: UserChanges,
    *,
    expected_version: int | None = None,
) -> UserView:
    """Change what is given, when `expected_version` (if any) is the version of now.

    A lock is of the name and no field of the user's: lifting it gives no new version. What is taken away counts at
    once: a user that is disabled or has a new password has no session any more.
    Raises NotFound, Invalid (the password), StaleVersion, Conflict (the last enabled Admin), NotPermitted (more than
    names and addresses, with an API token), TooMany.
    """
    # A right that is given away outlives the token; so does one that is taken from whoever could revoke it.
    if changes.roles is not None:
        refuse_token(requester, "change roles")
    if changes.disabled is not None:
        refuse_token(requester, "disable or enable users")
    if changes.unlock:
        refuse_token(requester, "unlock users")  # or who has found one could guess passwords without end
    password_hash = unlocked = None
    if changes.unlock or changes.password is not None:
        unlocked = user(orchestrator, requester, user_id).username
    if changes.password is not None and unlocked is not None:
        refuse_token(requester, "change passwords")
        _check_password(changes.password, unlocked)
        password_hash = hash_password(changes.password)
    with orchestrator.database.session() as session:
        _one_at_a_time(session, requester.tenant_id)
        if unlocked is not None:
            lift(session, unlocked)
        row = _found(session, requester, user_id, lock=True)
        _refuse_stale(row, expected_version)
        was_admin = _is_admin(row)
        if not _apply(row, changes, password_hash):
            return _seen(session, row)
        row.version += 1
        if password_hash is not None:
            row.password_changed_at = durable_now(session)
        session.flush()
        if was_admin and not _is_admin(row):
            _refuse_without_admin(session, row, "demoted or disabled")
        if password_hash is not None or row.disabled:
            end_sessions(session, row.id)
        if password_hash is not None and not changes.keep_tokens:
            revoke_tokens(session, row.id)
        return _seen(session, row)


def remove(
    orchestrator: Orchestrator, requester: Requester, user_id: UUID, *, expected_version: int | None = None
) -> None:
    """Forget a user, with all sessions and tokens. What the user has done keeps the name.

    Raises NotFound, StaleVersion, Conflict (the last enabled Admin), NotPermitted (with an API token).
    """
    refuse_token(requester, "remove users")
    with orchestrator.database.session() as session:
        _one_at_a_time(session, requester.tenant_id)
        row = _found(session, requester, user_id, lock=True)
        _refuse_stale(row, expected_version)
        was_admin = _is_admin(row)
        session.delete(row)
        session.flush()
        if was_admin:
            _refuse_without_admin(session, row, "removed")


def _one_at_a_time(session: Session, tenant_id: UUID) -> None:
    """Until the transaction ends. Not FOR UPDATE: rows that refer to the tenant can be made meanwhile."""
    session.execute(select(Tenant.id).where(Tenant.id == tenant_id).with_for_update(key_share=True)).one()


def _found(session: Session, requester: Requester, user_id: UUID, *, lock: bool = False) -> User:
    statement = select(User).where(User.tenant_id == requester.tenant_id, User.id == user_id)
    row = session.scalar(statement.with_for_update(key_share=True) if lock else statement)
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return row


def _check_password(password: str, username: str) -> None:
    faults = password_faults(password, username)
    if faults:
        raise Invalid({"password": faults})


def _refuse_stale(row: User, expected_version: int | None) -> None:
    if expected_version is not None and expected_version != row.version:
        raise StaleVersion(row.version)


def _apply(row: User, changes: UserChanges, password_hash: str | None) -> bool:
    """Write into the row; whether anything differs from before."""
    wanted = {
        "email": changes.email,
        "full_name": changes.full_name,
        "roles": None if changes.roles is None else ordered(changes.roles),
        "disabled": changes.disabled,
        "password_hash": password_hash,
    }
    different = {name: value for name, value in wanted.items() if value is not None and getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def _is_admin(row: User) -> bool:
    return not row.disabled and Role.ADMIN.value in row.roles


def _refuse_without_admin(session: Session, row: User, what: str) -> None:
    """Raises Conflict, which undoes what was written, when no enabled Admin is left."""
    admins = select(func.count()).where(
        User.tenant_id == row.tenant_id, ~User.disabled, User.roles.contains([Role.ADMIN.value])
    )
    if not session.scalar(admins):
        raise Conflict(
            f"{row.username} is the last enabled Admin and cannot be {what}; with another enabled Admin it can."
        )


def _seen(session: Session, row: User) -> UserView:
    return _view(row, locked_until(session, [row.username]).get(row.username))


def _view(row: User, locked: datetime | None = None) -> UserView:
    return UserView(
        row.id,
        row.username,
        row.email,
        row.full_name,
        tuple(row.roles),
        row.disabled,
        row.created_at,
        row.version,
        locked,
    )
