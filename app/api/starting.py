"""From settings to an application that takes requests. What is wrong with settings is one line and exit code 2.

The server imports the application before it forks, so nothing connects at import. What must be in the database before
the first request (bootstrap) is seen to by each process before its first request. A database that does not answer yet
is no reason to die: requests are 503 meanwhile.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import sqlalchemy.exc
import structlog
from flask import Flask, request

from app.domain.errors import Unavailable
from app.infrastructure.db.engine import Database
from app.infrastructure.observing import begin_observing
from app.infrastructure.outbox import Publisher
from app.infrastructure.presence import Presence
from app.orchestrator.bootstrap import bootstrap, check_first_passwords, prepare_folders, trusted_keys
from app.orchestrator.context import Orchestrator
from config.settings import EXIT_CODE, SettingsError, settings_or_exit

_RETRY_SECONDS = 1.0
_ASK_NOTHING = ("/health/live", "/metrics")
_log: structlog.stdlib.BoundLogger = structlog.get_logger("hotswap.api")


def started(create: Callable[[Orchestrator], Flask], publisher: Publisher, *, role: str | None = None) -> Flask:
    """The application that `create` makes, over settings from the environment.

    With a `role`, each process of the server shows its presence under it from its first request on.
    """
    settings = settings_or_exit()
    begin_observing(settings, service=role or "api")
    try:
        prepare_folders(settings)
        trusted_keys(settings)
        check_first_passwords(settings)
    except (SettingsError, Unavailable) as error:
        print(f"hotswap: {error}", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
    orchestrator = Orchestrator(Database(settings, application="hotswap api"), settings, publisher)
    app = create(orchestrator)
    app.before_request_funcs.setdefault(None, []).insert(0, Preparation(orchestrator, role).ensure)
    return app


class Preparation:
    """Runs the bootstrap once in this process, when the database answers."""

    def __init__(self, orchestrator: Orchestrator, role: str | None = None) -> None:
        self._orchestrator = orchestrator
        self._role = role
        self._done = False
        self._next_try = 0.0
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Called before each request. When it cannot be done now, the request goes on and learns why by itself."""
        if self._done or request.path in _ASK_NOTHING:
            return
        with self._lock:
            self._once()

    def _once(self) -> None:
        if self._done or time.monotonic() < self._next_try:
            return
        try:
            bootstrap(self._orchestrator)
            if self._role:
                Presence(self._orchestrator.settings, self._orchestrator.new_id(), self._role).start(timeout=None)
            self._done = True
        except sqlalchemy.exc.SQLAlchemyError as error:
            self._next_try = time.monotonic() + _RETRY_SECONDS
            reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0]
            _log.warning("bootstrap.waits", reason=reason)
