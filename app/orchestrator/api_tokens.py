"""API tokens: what build servers act with. A token belongs to its owner and never may more than its owner.

Its roles are fixed when it is made; at each request the smaller of them and of the owner's roles of now counts. A
token that leaked begets nothing: with one, nobody makes tokens, makes, disables or removes users, or changes roles or
passwords.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.errors import Conflict, Invalid, NotAuthenticated, NotFound, NotPermitted
from app.infrastructure.api_tokens import hash_of, new_token, prefix_of
from app.infrastructure.db.models import ApiToken, User
from app.infrastructure.db.reading import read
from app.orchestrator import users
from app.orchestrator.context import Orchestrator, Requester, UsedToken
from app.orchestrator.credentials import held, is_open, refuse_token
from app.orchestrator.lockouts import durable_now
from app.orchestrator.paging import Page, PageRequest, page_of
from app.orchestrator.roles import Role, highest, ordered, smaller

MOST_TOKENS = 100
"""Of one user, expired ones included until they are removed."""
_REMEMBERED = timedelta(days=30)
"""How long one that was revoked or has expired is told so; then it is unknown like any other text."""
MOST_REVOKED = 100
"""Of one user; older ones are forgotten sooner."""
_IDENTIFY: LiteralString = """
select u.username, u.roles, u.id, u.email, u.tenant_id, u.disabled, t.id, t.name, t.roles, t.expires_at,
       t.revoked_at is not null, coalesce(t.expires_at <= hotswap_now(), false),
       coalesce(t.last_used_at < hotswap_now() - interval '1 minute', true)
  from api_tokens t join users u on u.id = t.user_id
 where t.token_hash = %(hash)s
"""


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token as its owner sees it: never the token itself."""

    id: UUID
    name: str
    prefix: str
    username: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    expired: bool


@dataclass(frozen=True, slots=True)
class Identified:
    """Who acts with a token; `use_is_old`: its last use was noted more than a minute ago."""

    requester: Requester
    token_id: UUID
    use_is_old: bool


def create(
    orchestrator: Orchestrator,
    requester: Requester,
    *,
    name: str,
    roles: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    expires_in: timedelta | None = None,
) -> tuple[TokenView, str]:
    """A new token of the requester, and its text, which nobody can be shown again.

    `roles` None: Deployer, or less where the owner has less. Raises Invalid (more than the owner's roles, a moment that
    has passed), Conflict (the name is taken, too many), NotPermitted (with an API token), NotAuthenticated (the session
    ended meanwhile).
    """
    refuse_token(requester, "make tokens")
    text = new_token()
    try:
        with orchestrator.database.session() as session:
            owner = _owner(session, requester)
            now = durable_now(session)
            until = now + expires_in if expires_in is not None else expires_at
            _check(owner, roles, until, now)
            _forget(session, owner, now)
            row = ApiToken(
                id=orchestrator.new_id(),
                tenant_id=owner.tenant_id,
                user_id=owner.id,
                name=name,
                token_hash=hash_of(text),
                prefix=prefix_of(text),
                roles=ordered(roles) if roles is not None else sorted(smaller(owner.roles, [Role.DEPLOYER.value])),
                expires_at=until,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return _view(row, owner.username, now), text
    except IntegrityError:
        raise Conflict(f"You have a token {name} already: revoke it first, or choose another name.") from None


def tokens(
    orchestrator: Orchestrator, requester: Requester, page: PageRequest, *, owner: str | None = None
) -> Page[TokenView]:
    """One's own, or as an Admin those of `owner` (name or id), newest first; those that are revoked are left out.

    Raises NotPermitted, NotFound.
    """
    with orchestrator.database.session() as session:
        user_id, username = _whose(session, requester, owner)
        statement: Select[ApiToken] = select(ApiToken).where(
            ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None)
        )
        found = page_of(session, statement, ApiToken.id, page)
        now = durable_now(session)
        return Page([_view(row, username, now) for row in found.items], found.next_cursor)


def revoke(orchestrator: Orchestrator, requester: Requester, token_id: UUID, *, owner: str | None = None) -> None:
    """From now on nobody acts with it. With a token, only that one: or one that leaked could stop all others.

    Raises NotFound (also for one of somebody else), NotPermitted.
    """
    if requester.token is not None and requester.token.id != token_id:
        refuse_token(requester, "revoke another one")
    with orchestrator.database.session() as session:
        user_id, _ = _whose(session, requester, owner)
        gone = session.execute(
            update(ApiToken)
            .where(ApiToken.id == token_id, ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
            .values(revoked_at=func.hotswap_now())
            .returning(ApiToken.id)
        ).one_or_none()
    if gone is None:
        raise NotFound(f"There is no token {token_id}.")


def identify(orchestrator: Orchestrator, token: str) -> Identified:
    """Who acts with a token, with the smaller of both rights as they are now. Raises NotAuthenticated.

    Who has the token's 256 bits may know why it is not good any more; everybody else learns nothing.
    """
    token_hash = hash_of(token)
    rows = read(orchestrator.database, _IDENTIFY, {"hash": token_hash}) if token_hash is not None else []
    if not rows:
        raise NotAuthenticated("The token is not valid.")
    (
        username, owner_roles, user_id, email, tenant_id, disabled, token_id, name, token_roles, expires_at,
        revoked, expired, use_is_old,
    ) = rows[0]  # fmt: skip
    if revoked:
        raise NotAuthenticated("The API token has been revoked.")
    if expired:
        raise NotAuthenticated("The API token has expired.")
    if disabled:
        raise NotAuthenticated("The user of this API token is disabled.")
    roles = smaller(owner_roles, token_roles)
    used = UsedToken(token_id, name, expires_at)
    return Identified(Requester(username, roles, user_id, email, tenant_id, token=used), token_id, use_is_old)


def _owner(session: Session, requester: Requester) -> User:
    """The requester's row, held, in a session that is still open. Raises NotAuthenticated."""
    owner = held(session, requester.user_id) if requester.user_id is not None else None
    if owner is None or (requester.session_id is not None and not is_open(session, requester.session_id)):
        raise NotAuthenticated("This session has ended: log in again.")
    return owner


def _whose(session: Session, requester: Requester, owner: str | None) -> tuple[UUID | None, str]:
    if owner is None or owner == requester.username:
        return requester.user_id, requester.username
    if not Role.ADMIN.granted_by(requester.roles):
        raise NotPermitted("The tokens of other users are an Admin's business.")
    found = users.find(session, requester.tenant_id, owner)
    return found.id, found.username


def excess(wanted: Iterable[str], own: Iterable[str]) -> str | None:
    """A sentence when a role that is wanted for a token is more than its owner has."""
    for role in wanted:
        if not Role(role).granted_by(own):
            most = highest(own)
            return f"{role} is more than you have yourself ({most.value if most else 'no role'})"
    return None


def _check(owner: User, roles: Sequence[str] | None, until: datetime | None, now: datetime) -> None:
    errors: dict[str, list[str]] = {}
    too_much = excess(roles or (), owner.roles)
    if too_much:
        errors["roles"] = [too_much]
    if until is not None and until <= now:
        errors["expiresAt"] = ["has passed already"]
    if errors:
        raise Invalid(errors)


def _forget(session: Session, owner: User, now: datetime) -> None:
    """Remove what ended long ago, so that a job which makes a token at each run fills nothing. Raises Conflict."""
    mine = ApiToken.user_id == owner.id
    long_ago = now - _REMEMBERED
    revoked = select(ApiToken.id).where(mine, ApiToken.revoked_at.is_not(None))
    too_many = revoked.order_by(ApiToken.revoked_at.desc()).offset(MOST_REVOKED)
    over = or_(ApiToken.revoked_at < long_ago, ApiToken.expires_at < long_ago, ApiToken.id.in_(too_many))
    session.execute(delete(ApiToken).where(mine, over), execution_options={"synchronize_session": False})
    kept = session.scalar(select(func.count()).where(mine, ApiToken.revoked_at.is_(None)))
    if (kept or 0) >= MOST_TOKENS:
        raise Conflict(f"You have {MOST_TOKENS} tokens already; revoke one first.")


def _view(row: ApiToken, username: str, now: datetime) -> TokenView:
    expired = row.expires_at is not None and row.expires_at <= now
    return TokenView(
        row.id, row.name, row.prefix, username, tuple(row.roles), row.created_at, row.expires_at, row.last_used_at,
        expired,
    )  # fmt: skip
