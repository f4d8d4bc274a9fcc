"""Pages of lists: newest first by id (UUIDv7 grows with time), so a page costs the same however long the list is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.errors import Invalid

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
_ID_BYTES, _SCOPE_BYTES = 16, 8
_LAST_CHARACTER = "\U0010ffff"
Row = TypeVar("Row")
Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` rows, after (older than) the one with id `before`. `scope` says of which list (`scope_of`)."""

    limit: int = DEFAULT_LIMIT
    before: UUID | None = None
    scope: bytes = b""


@dataclass(frozen=True, slots=True)
class Page(Generic[Shown]):
    """`next_cursor` is None on the last page."""

    items: Sequence[Shown]
    next_cursor: str | None = None

    def map(self, show: Callable[[Shown], dict[str, Any]]) -> Page[dict[str, Any]]:
        return Page([show(item) for item in self.items], self.next_cursor)


def scope_of(path: str, filters: Mapping[str, object]) -> bytes:
    """What a cursor is bound to: a list and its filters, whichever way their letters and their order are written."""
    said = json.dumps([path, sorted(filters.items())], default=str).lower()
    return hashlib.sha256(said.encode("utf-8")).digest()[:_SCOPE_BYTES]


def cursor_of(last: UUID, scope: bytes = b"") -> str:
    """The cursor after a row: opaque to clients."""
    return base64.urlsafe_b64encode(last.bytes + scope).decode("ascii").rstrip("=")


def parse_cursor(text: str, scope: bytes = b"") -> UUID:
    """Raises Invalid for what `cursor_of` did not make, and for the cursor of another list or of other filters."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        content = b""
    if len(content) not in (_ID_BYTES, _ID_BYTES + _SCOPE_BYTES):
        raise Invalid({"cursor": ["is none that a Link header gave"]})
    if content[_ID_BYTES:] != scope:
        raise Invalid({"cursor": ["belongs to another list or to other filters: begin with the first page"]})
    return UUID(bytes=content[:_ID_BYTES])


def only(statement: Select[Any], column: InstrumentedAttribute[Any], value: object) -> Select[Any]:
    """Of `statement` the rows with this value, to be ordered by id, read from an index over (column, id) and no other.

    With an equality PostgreSQL may walk through the newest rows of all instead and leave out the others: fast where the
    value is common and evenly spread, and through half of the table where it was common once. It knows that an order by
    a constant is none; it does not see that this range is one.
    """
    return statement.where(column.between(value, value)).order_by(column.desc())


def newest_of(
    session: Session, legs: Sequence[Select[Any]], column: InstrumentedAttribute[UUID], page: PageRequest
) -> ColumnElement[bool]:
    """The condition that a row is among the newest of `legs` (`only`), for a filter with several values.

    Each leg is cut to a page, so that this costs so many pages and not a sort of all rows with any of the values
    (PostgreSQL reads `in (...)` in no order of the ids). Asked first and by itself: joined with the rows, it would
    rather walk through all of them in their order.
    """
    cut = []
    for leg in legs:
        ids = leg.with_only_columns(column.label("id"))
        if page.before is not None:
            ids = ids.where(column < page.before)
        cut.append(ids.order_by(column.desc()).limit(page.limit + 1))
    found = union_all(*cut).subquery()
    newest = select(found.c.id).order_by(found.c.id.desc()).limit(page.limit + 1)
    return column.in_(session.scalars(newest).all())


def begins_with(
    column: ColumnElement[str] | InstrumentedAttribute[str], beginning: str
) -> ColumnElement[bool]:
    """The condition that a text begins so: a range of bytes, which an index in "C" order has, also in a kept plan."""
    text = column.collate("C")
    return and_(text >= beginning, text < beginning + _LAST_CHARACTER)


def page_of(
    session: Session, statement: Select[Any], column: InstrumentedAttribute[UUID], page: PageRequest
) -> Page[Any]:
    """One page of `statement`, newest first by `column`; a row is what the statement selects (a tuple for several)."""
    if page.before is not None:
        statement = statement.where(column < page.before)
    statement = statement.add_columns(column.label("_key")).order_by(column.desc()).limit(page.limit + 1)
    rows = session.execute(statement).all()
    kept = rows[: page.limit]
    more = cursor_of(kept[-1]._mapping["_key"], page.scope) if len(rows) > page.limit else None
    # The key that was added comes last; a statement that selects one thing gives that thing and no tuple.
    single = bool(kept) and len(kept[0]) == 2
    return Page([row[0] if single else row[:-1] for row in kept], more)
