"""The connection to PostgreSQL: one pool per process, with time limits that the server itself enforces.

A process that is stopped or cut off inside a transaction must lose its transaction, not block its successor's: every
session carries `idle_in_transaction_session_timeout`, `transaction_timeout`, `lock_timeout` and TCP keep-alives
(DESIGN 3.4). Needs PostgreSQL 17 or newer.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker

from config.settings import Settings

Raw = psycopg.Connection[tuple[object, ...]]

# How much longer than the server itself a client waits for a statement.
_GRACE_SECONDS = 2.0
_SESSION = (
    "-c idle_in_transaction_session_timeout=2000 -c transaction_timeout=15000 -c lock_timeout=5000"
    " -c statement_timeout={statement} -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2"
    " -c tcp_keepalives_count=3 -c timezone=UTC"
)


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up, and closes, when the server is silent for longer than it lets any statement run.

    A server that is stopped, or behind a cut network, enforces nothing: without this its clients would wait for ever.
    """

    patience = 60.0

    @classmethod
    def open(cls, patience: float, arguments: Any, options: Any) -> BoundedConnection:
        connection = cls.connect(*arguments, **options)
        connection.patience = patience
        return connection

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(f"the server was silent for {self.patience:g} s") from error


class Database:
    """A pool, and sessions and plain connections over it. Made after a fork, never before."""

    def __init__(self, settings: Settings, *, application: str = "hotswap") -> None:
        self.engine: Engine = create_engine(
            settings.sqlalchemy_url,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_pool_overflow,
            pool_timeout=settings.database_pool_timeout,
            pool_pre_ping=False,
            hide_parameters=True,  # errors end in logs, and what was to be stored may be a hash (see _tell_no_rows)
            connect_args={
                "connect_timeout": max(2, round(settings.database_connect_timeout)),
                "application_name": application,
                "options": _SESSION.format(statement=round(settings.database_statement_timeout * 1000)),
                "prepare_threshold": 2,
            },
        )
        patience = settings.database_statement_timeout + _GRACE_SECONDS
        event.listen(self.engine, "do_connect", lambda *how: BoundedConnection.open(patience, *how[2:]))
        event.listen(self.engine, "checkout", _refuse_closed)
        event.listen(self.engine, "handle_error", _tell_no_rows)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """An ORM session in a transaction: committed at the end, rolled back on an exception."""
        with self._sessions.begin() as session:
            yield session

    @contextmanager
    def raw(self) -> Iterator[Raw]:
        """A psycopg connection of the pool; what is not committed is rolled back."""
        pooled = self.engine.raw_connection()
        try:
            driver: Raw = pooled.driver_connection  # type: ignore[assignment]
            yield driver
            driver.commit()
        except BaseException as error:
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
                pooled.invalidate(error)
            raise
        finally:
            pooled.close()

    @contextmanager
    def single(self) -> Iterator[Raw]:
        """A connection on which every statement is a transaction of its own, so that nothing is said around it."""
        with self.raw() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False

    def close(self) -> None:
        self.engine.dispose()


def _refuse_closed(driver: Raw, *_: object) -> None:
    """At checkout: a connection whose server is gone is replaced, and with it all older ones of the pool.

    The server sends nothing unasked but its farewell, so what can be read from an idle connection is the end of it.
    That costs no round trip, and after a restart of PostgreSQL no request meets a connection from before it.
    """
    poll = select.poll()
    poll.register(driver.pgconn.socket, select.POLLIN | select.POLLRDHUP)
    if poll.poll(0):
        raise InvalidatePoolError("the server has closed the connection")


def _tell_no_rows(context: ExceptionContext) -> None:
    """Leave PostgreSQL's DETAIL out of an error's text: it repeats the row that was refused, hashes and all.

    What was wrong with it is in the first line, and for a program in the error's `diag`.
    """
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args and isinstance(error.args[0], str):
            error.args = (error.args[0].partition("\nDETAIL:")[0], *error.args[1:])
