"""A PostgreSQL that is stopped, as behind a cut network: it neither answers nor refuses."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.api.application import create_app
from app.infrastructure.db.engine import Database
from app.infrastructure.outbox import SilentPublisher
from app.orchestrator.context import Orchestrator
from config.settings import load
from tests.integration.api.conftest import Headers, NoLogs, problem_of


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_requests_on_open_connections_end_and_the_next_ones_work(
    orchestrator: Orchestrator, environment: Headers, viewer: Headers
) -> None:
    """Only the backends of this test are stopped, which look to their clients as the whole server would."""
    settings = load({**environment, "HOTSWAP_DATABASE_STATEMENT_TIMEOUT": "1"})
    database = Database(settings, application="silent test")
    client = create_app(Orchestrator(database, settings, SilentPublisher()), node_logs=NoLogs()).test_client()
    assert client.get("/api/v1/deployments", headers=viewer).status_code == 200
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        rows = admin.execute("select pid from pg_stat_activity where application_name = 'silent test'").fetchall()
    # In a user namespace of the server's own, process ids are the same: only users are mapped.
    with stopped([row[0] for row in rows]):
        begun = time.monotonic()
        answer = client.get("/api/v1/deployments", headers=viewer)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        problem_of(answer)
        assert time.monotonic() - begun < 15
        assert client.get("/api/v1/deployments", headers=viewer).status_code == 200
    database.close()


def test_restarted_backends_cost_one_503_at_most(
    orchestrator: Orchestrator, environment: Headers, viewer: Headers
) -> None:
    settings = load(environment)
    database = Database(settings, application="cut test")
    client = create_app(Orchestrator(database, settings, SilentPublisher()), node_logs=NoLogs()).test_client()
    assert client.get("/api/v1/deployments", headers=viewer).status_code == 200
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut test'")
    statuses = [client.get("/api/v1/deployments", headers=viewer).status_code for _ in range(3)]
    assert statuses[1:] == [200, 200] and statuses[0] in (200, 503)
    database.close()


def test_a_full_pool_is_a_503_in_bounded_time(
    orchestrator: Orchestrator, environment: Headers, viewer: Headers
) -> None:
    tight = {"POOL_SIZE": "1", "POOL_OVERFLOW": "0", "POOL_TIMEOUT": "0.5"}
    settings = load({**environment, **{f"HOTSWAP_DATABASE_{name}": value for name, value in tight.items()}})
    database = Database(settings)
    app = create_app(Orchestrator(database, settings, SilentPublisher()), node_logs=NoLogs())
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with database.raw():
            taken.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(30)
    begun = time.monotonic()
    answer = app.test_client().get("/api/v1/deployments", headers=viewer)
    assert answer.status_code == 503 and time.monotonic() - begun < 20
    problem_of(answer)
    release.set()
    holder.join()
    assert app.test_client().get("/api/v1/deployments", headers=viewer).status_code == 200
    database.close()
