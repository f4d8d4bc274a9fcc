"""The reconciler loop: a thread beside a thread-pool worker, or a process (`python -m workers.reconciler`)."""

from __future__ import annotations

import logging
import signal
import threading

import psycopg
import redis
from sqlalchemy.exc import SQLAlchemyError

from app.infrastructure.db.engine import Database
from app.infrastructure.observing import begin_observing
from app.infrastructure.publisher import BackgroundPublisher
from app.orchestrator.context import Orchestrator
from app.orchestrator.reconciling import QueueDepth, Reconciler
from config.settings import Settings

log = logging.getLogger(__name__)


class Loop:
    """Ticks every `reconciler_interval` seconds until `stop()`; a database that is away is asked again."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._interval = orchestrator.settings.reconciler_interval
        self._reconciler = Reconciler(orchestrator, _queue_depth(orchestrator.settings))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._reconciler.tick()
            except (psycopg.Error, SQLAlchemyError) as error:
                log.warning("the reconciler could not look: %s", str(error).strip().splitlines()[0])
            except Exception:  # a loop that others rely on outlives a mistake of ours, and tells it
                log.exception("the reconciler met what it did not expect")


def _queue_depth(settings: Settings) -> QueueDepth:
    client = redis.Redis.from_url(
        settings.broker_url,
        socket_timeout=settings.redis_timeout,
        socket_connect_timeout=settings.redis_connect_timeout,
    )

    def depth(queue: str) -> int | None:
        try:
            return int(client.llen(queue))
        except redis.RedisError:
            return None

    return depth


def main() -> int:
    """A process of its own, beside a prefork worker."""
    from workers.celery_app import publishing, settings

    begin_observing(settings, service="reconciler")
    publisher = BackgroundPublisher(publishing)
    database = Database(settings, application="hotswap reconciler")
    loop = Loop(Orchestrator(database, settings, publisher))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    loop.run()
    publisher.stop()
    database.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
