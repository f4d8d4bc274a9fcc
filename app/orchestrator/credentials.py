"""What is open in a user's name, and how it ends: sessions and API tokens.

Whoever changes a user writes the user's row first and ends what is open in a later statement; whoever opens something
(a log-in, a new token) holds the user's row shared until it is committed, and looks at it under that lock. So nothing
that was opened before the change outlives it, and what comes after it meets the changed user.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.domain.errors import NotPermitted
from app.infrastructure.db.models import ApiToken, LoginSession, User
from app.orchestrator.context import Requester


def held(session: Session, user_id: UUID) -> User | None:
    """The user as it is now, unchanged by others until the transaction ends; None when it is gone or disabled."""
    return session.scalar(
        select(User).where(User.id == user_id, ~User.disabled).with_for_update(read=True),
        execution_options={"populate_existing": True},
    )


def is_open(session: Session, session_id: UUID) -> bool:
    open_now = select(LoginSession.id).where(LoginSession.id == session_id, LoginSession.revoked_at.is_(None))
    return session.scalar(open_now) is not None


def end_sessions(session: Session, user_id: UUID, *, spared: UUID | None = None) -> None:
    """End every log-in of a user, but for the one that is `spared`."""
    ending = (
        update(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
        .values(revoked_at=func.hotswap_now())
    )
    session.execute(ending if spared is None else ending.where(LoginSession.id != spared))


def revoke_tokens(session: Session, user_id: UUID) -> None:
    """Revoke every API token of a user."""
    session.execute(
        update(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.hotswap_now())
    )


def refuse_token(requester: Requester, what: str) -> None:
    """Raises NotPermitted when the request came with an API token: one that leaked must not beget others.

    `what` completes "An API token cannot ...".
    """
    if requester.token is not None:
        raise NotPermitted(f"An API token cannot {what}: log in as a user for that.")
