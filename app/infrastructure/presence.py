"""A process that executes claims proves that it lives: a session-level advisory lock, and a renewal counter.

A process that listens to agents has presence too: silence of nodes counts only while somebody listens.

The connection is its own, opened after the fork and without a pooler; the lock is free within milliseconds of the
process's death, and held while it is stopped. A renewal every second tells a live process from a stopped one. When
PostgreSQL restarts, every lock is freed: a live process connects again, takes its key again and keeps its claims.
Kind of lock: a PostgreSQL advisory lock, which only *shortens* a lease; the attempt number is what fences.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from uuid import UUID

import psycopg

from config.settings import Settings

log = logging.getLogger(__name__)

AGENT_LISTENER = "agent-listener"
"""The role of processes that take heartbeats."""

_RENEW = """
insert into executors (id, tenant_id, lock_key, renewals, hostname, pid, role)
values (%(id)s, '01900000-0000-7000-8000-000000000001', %(key)s, 1, %(hostname)s, %(pid)s, %(role)s)
    on conflict (id) do update
   set renewals = executors.renewals + 1, renewed_at = hotswap_now(),
       started_at = case when %(again)s then hotswap_now() else executors.started_at end
"""


class Presence:
    """Held from `start()` to `stop()`. `executor_id` names this process in every claim it takes."""

    def __init__(self, settings: Settings, executor_id: UUID, role: str) -> None:
        self.executor_id = executor_id
        self._row = {
            "id": executor_id,
            "key": secrets.randbits(62),
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "role": role,
        }
        self._url = settings.database_url
        self._timeout = max(2, round(settings.database_connect_timeout))
        self._interval = 1.0
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self, timeout: float | None = 30) -> None:
        """Begin, and wait until the lock is held once (None: do not wait).

        Raises TimeoutError when the database does not answer in time.
        """
        self._thread.start()
        if timeout is not None and not self._first.wait(timeout):
            raise TimeoutError("the database did not answer: presence could not be taken")

    def stop(self) -> None:
        """Free the lock and forget the process; what it still claims is taken over at once."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hold()
            except psycopg.Error as error:
                log.warning("presence lost, trying again: %s", str(error).strip())
                self._stopping.wait(self._interval)

    def _hold(self) -> None:
        with psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=self._timeout,
            application_name=f"hotswap presence {self._row['role']}",
            # A connection that was cut silently must fail long before a lease ends.
            keepalives_idle=3,
            keepalives_interval=2,
            keepalives_count=2,
            tcp_user_timeout=6000,
            options="-c statement_timeout=5000 -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c timezone=UTC",
        ) as connection:
            connection.execute("select pg_advisory_lock(%(key)s)", self._row)
            again = True  # after any gap the time of being here counts afresh
            while True:
                connection.execute(_RENEW, {**self._row, "again": again})
                again = False
                self._first.set()
                if self._stopping.wait(self._interval):
                    break
            connection.execute("delete from executors where id = %(id)s", self._row)
