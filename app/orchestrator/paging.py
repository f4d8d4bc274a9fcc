"""Pages of lists: newest first by id (UUIDv7 grows with time), so a page costs the same however long the list is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.errors import Invalid

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
Row = TypeVar("Row")
Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` rows, after (older than) the one with id `before`."""

    limit: int = DEFAULT_LIMIT
    before: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Shown]):
    """`next_cursor` is None on the last page."""

    items: Sequence[Shown]
    next_cursor: str | None = None

    def map(self, show: Callable[[Shown], dict[str, Any]]) -> Page[dict[str, Any]]:
        return Page([show(item) for item in self.items], self.next_cursor)


def cursor_of(last: UUID) -> str:
    """The cursor after a row: opaque to clients."""
    return base64.urlsafe_b64encode(last.bytes).decode("ascii").rstrip("=")


def parse_cursor(text: str) -> UUID:
    """Raises Invalid for what `cursor_of` did not make."""
    try:
        return UUID(bytes=base64.b64decode(text + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise Invalid({"cursor": ["is none that a Link header gave"]}) from None


def page_of(
    session: Session, statement: Select[Any], column: InstrumentedAttribute[UUID], page: PageRequest
) -> Page[Any]:
    """One page of `statement`, newest first by `column`; a row is what the statement selects (a tuple for several)."""
    if page.before is not None:
        statement = statement.where(column < page.before)
    statement = statement.add_columns(column.label("_key")).order_by(column.desc()).limit(page.limit + 1)
    rows = session.execute(statement).all()
    kept = rows[: page.limit]
    more = cursor_of(kept[-1]._mapping["_key"]) if len(rows) > page.limit else None
    # The key that was added comes last; a statement that selects one thing gives that thing and no tuple.
    single = bool(kept) and len(kept[0]) == 2
    return Page([row[0] if single else row[:-1] for row in kept], more)
