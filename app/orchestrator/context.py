"""What every use case is given: it imports none of these things itself, so that a simulation can give others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from uuid import UUID

from uuid6 import uuid7

from app.infrastructure.db.engine import Database
from app.infrastructure.db.models import DEFAULT_TENANT
from app.infrastructure.outbox import Publisher
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class UsedToken:
    """The API token that a request came with."""

    id: UUID
    name: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: an authenticated user of a tenant, or the system itself.

    A user asks from a session, or with an API token; then `roles` are those that both have.
    """

    username: str
    roles: frozenset[str]
    user_id: UUID | None = None
    email: str | None = None
    tenant_id: UUID = DEFAULT_TENANT
    session_id: UUID | None = None
    token: UsedToken | None = None

    @property
    def token_name(self) -> str | None:
        return self.token.name if self.token is not None else None


@dataclass(frozen=True, slots=True)
class Orchestrator:
    database: Database
    settings: Settings
    publisher: Publisher
    new_id: Callable[[], UUID] = field(default=uuid7)
    stopping: Event = field(default_factory=Event)
    """Set when this process has been told to end: long work is broken off and handed back."""
