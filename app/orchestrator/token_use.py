"""When a token was last used: noted at most once a minute for each, and never in the way of the request that used it.

A request only says that the note is old; a thread that lives as long as there is something to write does the rest. What
cannot be written is not written: the next request says it again.
"""

from __future__ import annotations

import threading
from typing import LiteralString
from uuid import UUID

import psycopg
import sqlalchemy.exc
import structlog

from app.infrastructure.db.engine import Database

ROOM = 1000
"""Tokens that wait to be noted; more of them at once are dropped."""
_NOTE: LiteralString = """
update api_tokens set last_used_at = hotswap_now()
 where id = %(id)s and coalesce(last_used_at < hotswap_now() - interval '1 minute', true)
"""
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.api")


class TokenUse:
    """Notes uses of tokens in the background; one for each process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: dict[UUID, None] = {}
        self._thread: threading.Thread | None = None

    def note(self, token_id: UUID) -> None:
        """Returns at once."""
        with self._lock:
            if token_id in self._waiting or len(self._waiting) >= ROOM:
                return
            self._waiting[token_id] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="token-use", daemon=True)
                self._thread.start()

    def settle(self, timeout: float) -> bool:
        """Wait until everything is written (or given up); whether it was within `timeout` seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def _write(self) -> None:
        while (token_id := self._next()) is not None:
            try:
                with self._database.single() as connection:
                    connection.execute(_NOTE, {"id": token_id})
            except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
                _log.warning("token.use_not_noted", error=type(error).__name__)
            finally:
                with self._lock:
                    self._waiting.pop(token_id, None)

    def _next(self) -> UUID | None:
        """The oldest one that waits; without one, this thread is no more."""
        with self._lock:
            found = next(iter(self._waiting), None)
            if found is None:
                self._thread = None
            return found
