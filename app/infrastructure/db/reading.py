"""Single reads in a single round trip, for what every request asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from app.infrastructure.db.engine import Database


def read(database: Database, query: LiteralString, values: Mapping[str, Any]) -> list[Any]:
    """The rows (tuples) of one statement outside of a transaction, which would cost two round trips more."""
    with database.single() as connection:
        return connection.execute(query, values).fetchall()
