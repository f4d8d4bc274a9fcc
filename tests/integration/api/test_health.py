"""Health, metrics and what happens while the database is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from redis import Redis

from app.api.application import create_app
from app.infrastructure.db.engine import Database
from app.infrastructure.outbox import SilentPublisher
from app.orchestrator.beat_ticks import BEAT_KEY
from app.orchestrator.context import Orchestrator
from app.orchestrator.health import CACHED_SECONDS, HealthMonitor
from config.settings import Settings, load
from deploy.local.ports import free_ports
from tests.integration.api.conftest import Headers, NoLogs, problem_of

CHECKS = {"postgresql", "redis", "broker", "workers", "beat", "artifacts", "nodes"}


@pytest.fixture(autouse=True)
def _uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.orchestrator.health.CACHED_SECONDS", 0.0)


def everything_well(orchestrator: Orchestrator) -> None:
    """What workers and beat leave behind while they live."""
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into executors (id, tenant_id, lock_key, hostname, pid, role)"
            " select gen_random_uuid(), (select min(id::text)::uuid from tenants), 1, 'here', 1, role"
            " from unnest(%s::text[]) as role",
            [["pipeline", "build", "scan", "deploy-2", "urgent", "control"]],
        )
    with Redis.from_url(orchestrator.settings.redis_url) as broker:
        broker.set(BEAT_KEY, "1", ex=60)


def test_ready_only_after_each_check_passed_once(client: FlaskClient, orchestrator: Orchestrator) -> None:
    assert client.get("/health/live").status_code == 200
    before = client.get("/health/ready")
    assert before.status_code == 503 and int(before.headers["Retry-After"]) >= 1
    body: Any = before.json
    assert body["status"] == "unavailable" and body["checks"].keys() == CHECKS
    failed = {name for name, check in body["checks"].items() if check["status"] != "ok"}
    assert failed == {"workers", "beat"}
    assert all(check["detail"] and check["latencyMs"] >= 0 for check in body["checks"].values())

    everything_well(orchestrator)
    after = client.get("/health/ready")
    assert (after.status_code, after.json["status"]) == (200, "ok")  # type: ignore[index]
    assert client.get("/health").json["status"] == "ok"  # type: ignore[index]

    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("update executors set renewed_at = now() - interval '1 minute'")
    degraded = client.get("/health/ready")
    assert (degraded.status_code, degraded.json["status"]) == (200, "degraded")  # type: ignore[index]


def test_expected_nodes_are_waited_for(orchestrator: Orchestrator, environment: Headers) -> None:
    settings = load({**environment, "HOTSWAP_EXPECTED_NODES": "2"})
    app = create_app(Orchestrator(orchestrator.database, settings, SilentPublisher()), node_logs=NoLogs())
    everything_well(orchestrator)
    body: Any = app.test_client().get("/health/ready").json
    assert body["checks"]["nodes"]["status"] == "failed" and "0 of 2" in body["checks"]["nodes"]["detail"]


def test_the_report_is_kept_for_a_second(orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.orchestrator.health.CACHED_SECONDS", 60.0)
    app = create_app(orchestrator, node_logs=NoLogs())
    first: Any = app.test_client().get("/health").json
    everything_well(orchestrator)
    assert app.test_client().get("/health").json == first
    assert CACHED_SECONDS <= 1


def test_metrics_have_stale_commands_from_the_start(client: FlaskClient) -> None:
    client.get("/api/v1/deployments")
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    assert 'hotswap_stale_commands_total{reason="void",where="agent"} 0.0' in answer.text
    assert "hotswap_http_request_duration_seconds_bucket" in answer.text


@pytest.fixture
def nowhere(environment: Headers) -> Iterator[FlaskClient]:
    """An API whose database, broker and artifact store are away."""
    port = free_ports(1)[0]
    settings: Settings = load(
        {
            **environment,
            "HOTSWAP_DATABASE_URL": f"postgresql://hotswap:x@127.0.0.1:{port}/hotswap",
            "HOTSWAP_BROKER_URL": f"redis://127.0.0.1:{port}/0",
            "HOTSWAP_ARTIFACTS_DIR": "/proc/none",
        }
    )
    database = Database(settings)
    yield create_app(Orchestrator(database, settings, SilentPublisher()), node_logs=NoLogs()).test_client()
    database.close()


def test_without_a_database_every_answer_is_a_quick_503(nowhere: FlaskClient, viewer: Headers) -> None:
    begun = time.monotonic()
    for answer in (
        nowhere.post("/api/v1/authentication/login", json={"username": "a", "password": "b"}),
        nowhere.get("/api/v1/deployments", headers=viewer),
    ):
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        problem_of(answer)
    assert time.monotonic() - begun < 10
    assert nowhere.get("/health/live").status_code == 200
    body: Any = nowhere.get("/health/ready").json
    assert {name for name, check in body["checks"].items() if check["status"] == "failed"} == CHECKS


def test_a_stuck_check_does_not_delay_the_report(orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    app = create_app(orchestrator, node_logs=NoLogs())
    monitor: HealthMonitor = app.extensions["hotswap"].health
    monitor._timeout = 0.2
    monitor._checks["redis"] = lambda: str(release.wait(60))
    for _ in range(3):
        begun = time.monotonic()
        assert not monitor.report().checks["redis"].passed
        assert time.monotonic() - begun < 5
    release.set()
    deadline = time.monotonic() + 20
    while not monitor.report().checks["redis"].passed:
        assert time.monotonic() < deadline
