"""What a scrape asks of PostgreSQL and Redis: there when they answer, absent when they do not, and never waited for."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from app.api.application import create_app
from app.infrastructure.metrics import DECLARED
from app.infrastructure.outbox import PUBLISHED_AT
from app.orchestrator.context import Orchestrator
from app.orchestrator.standing import Standing, message_age
from tests.integration.api.conftest import Headers, NoLogs, Publisher, archive
from tests.integration.api.test_health import nowhere as nowhere

Values = dict[tuple[str, ...], float]


def _scraped(client: FlaskClient) -> Values:
    """(name, labels' values ...) -> value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


def _asked_names(values: Values) -> set[str]:
    return {key[0] for key in values} & {name for name, metric in DECLARED.items() if metric.asked}


def _fresh(orchestrator: Orchestrator) -> FlaskClient:
    """An application that has asked nothing yet."""
    return create_app(orchestrator, node_logs=NoLogs()).test_client()


def test_what_waits_is_told(
    orchestrator: Orchestrator, client: FlaskClient, deployer: Headers, publish: Publisher
) -> None:
    before = _scraped(client)
    assert before["hotswap_outbox_rows", "later"] == before["hotswap_deployments", "Queued"] == 0
    assert before["hotswap_queue_oldest_message_seconds", "pipeline"] == 0
    assert _asked_names(before) == {
        name for name, metric in DECLARED.items() if metric.asked
    } - {"hotswap_executors", "hotswap_module_instances"}  # without a process or a module there is no sample

    assert publish(archive()).status_code == 201
    body = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    assert client.post("/api/v1/deployments", json=body, headers=deployer).status_code == 202
    with Redis.from_url(orchestrator.settings.broker_url) as broker:
        for age in (5, 60):  # kombu pushes on the left: the first is the next to be taken
            broker.lpush("pipeline", json.dumps({"headers": {PUBLISHED_AT: time.time() - age}}))
        broker.lpush("deploy", b"no message of Celery's")
    after = _scraped(_fresh(orchestrator))
    assert after["hotswap_outbox_rows", "later"] == after["hotswap_deployments", "Queued"] == 1
    assert after["hotswap_outbox_overdue_seconds",] == after["hotswap_outbox_rows", "overdue"] == 0
    assert after["hotswap_queue_depth", "pipeline"] == 2
    assert 5 <= after["hotswap_queue_oldest_message_seconds", "pipeline"] < 60
    assert after["hotswap_queue_depth", "deploy"] == 1
    assert ("hotswap_queue_oldest_message_seconds", "deploy") not in after  # nobody knows its age
    assert after["hotswap_nodes", "QA", "silent"] == after["hotswap_lanes_held",] == 0

    with orchestrator.database.raw() as connection:
        connection.execute("update outbox set publish_at = hotswap_now() - interval '70 seconds'")
    overdue = _scraped(_fresh(orchestrator))
    assert overdue["hotswap_outbox_rows", "overdue"] == 1 and overdue["hotswap_outbox_overdue_seconds",] >= 70


def test_what_nobody_can_tell_is_absent_and_never_0(nowhere: FlaskClient) -> None:
    begun = time.monotonic()
    values = _scraped(nowhere)
    assert not _asked_names(values)
    assert values["hotswap_claims_lost_total", "process died"] >= 0
    assert time.monotonic() - begun < 20


def test_a_stuck_answer_is_not_waited_for_and_not_asked_again(orchestrator: Orchestrator) -> None:
    standing, release, asked = Standing(orchestrator), threading.Event(), []
    standing._timeout = 0.2

    def stuck() -> Any:
        asked.append(1)
        release.wait(60)
        return ()

    standing._asks = {**standing._asks, "broker": stuck}
    for _ in range(3):
        standing._at = 0.0
        begun = time.monotonic()
        names = {metric.name for metric in standing.collect()}
        assert time.monotonic() - begun < 10 and "hotswap_queue_depth" not in names
    assert len(asked) == 1
    release.set()


def test_answers_are_kept_for_a_second(orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.orchestrator.standing.CACHED_SECONDS", 60.0)
    standing = Standing(orchestrator)
    first = list(standing.collect())
    standing._asks = {}
    assert list(standing.collect()) == first != []


def test_the_age_of_a_message_is_in_its_header() -> None:
    assert message_age(json.dumps({"headers": {PUBLISHED_AT: 10.0}}).encode(), 12.5) == 2.5
    assert message_age(json.dumps({"headers": {PUBLISHED_AT: 10.0}}).encode(), 9.0) == 0.0
    for strange in (b"", b"[]", b"{}", b'{"headers": {}}', b'{"headers": {"published_at": "x"}}', b"\xff"):
        assert message_age(strange, 1.0) is None


def test_no_secret_is_in_a_scrape(client: FlaskClient, orchestrator: Orchestrator) -> None:
    text = client.get("/metrics").text
    assert orchestrator.settings.jwt_secret.get_secret_value() not in text
