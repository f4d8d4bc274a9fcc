"""Logs of modules through the API, what a full disk does, and what a large cluster costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask.testing import FlaskClient

from app.api.application import create_app
from app.api.streaming import KEEP_ALIVE
from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.nodes import NodeAddress, NodeRefused, NodeUnreachable
from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

SILENT, EMPTY = "silent-module", "unknown-module"


class Logs:
    """What agents would answer; the client of agents itself is tested with real ones."""

    def _check(self, module: str) -> None:
        if module == SILENT:
            raise NodeUnreachable("no connection to 127.0.0.1:1 within 2 s")
        if module == EMPTY:
            raise NodeRefused(404, "unknown", "no such module", {})

    def module_log(self, node: NodeAddress, *, tenant: UUID, module: str, size: int) -> str:
        self._check(module)
        return f"{node.address} {module} {size}\n"

    @contextmanager
    def follow_module_log(self, node: NodeAddress, *, tenant: UUID, module: str, size: int) -> Iterator[Iterator[str]]:
        self._check(module)
        yield iter(["one\n", "two\n"])


@pytest.fixture
def client(orchestrator: Orchestrator) -> FlaskClient:
    return create_app(orchestrator, node_logs=Logs()).test_client()


def add_nodes(orchestrator: Orchestrator, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.cursor().executemany(
            "insert into nodes (id, tenant_id, environment_id, hostname, address, agent_version, boot_id, sequence)"
            " select %s, tenant_id, id, %s, '127.0.0.1:1', '0.1', 'b', 1 from environments where name = 'QA'",
            [(identity, f"qa-{number:04}") for number, identity in enumerate(ids)],
        )
    return ids


def test_logs_are_proxied_and_followed(client: FlaskClient, viewer: Headers, orchestrator: Orchestrator) -> None:
    (node_id,) = add_nodes(orchestrator, 1)
    url = f"/api/v1/nodes/{node_id}/modules/payment-processor/log"
    assert client.get(f"{url}?bytes=100", headers=viewer).text == "127.0.0.1:1 payment-processor 100\n"
    live = client.get(url, headers={**viewer, "Accept": "text/event-stream"})
    assert live.content_type.startswith("text/event-stream")
    # The comment is for a client that has left: it makes the next piece fail.
    assert live.text.replace(KEEP_ALIVE, "") == 'data: {"text":"one\\n"}\n\ndata: {"text":"two\\n"}\n\n'
    for module, status in ((SILENT, 503), (EMPTY, 404), ("Not A Module", 404)):
        for accept in ("text/plain", "text/event-stream"):
            answer = client.get(
                f"/api/v1/nodes/{node_id}/modules/{module}/log", headers={**viewer, "Accept": accept}
            )
            assert answer.status_code == status, (module, accept)
            said = problem_of(answer)["detail"]
            if status == 503:
                assert said == "The agent of qa-0000 does not answer: no connection to 127.0.0.1:1 within 2 s."
    for query in ("bytes=0", "bytes=x", "bytes=99999999"):
        assert client.get(f"{url}?{query}", headers=viewer).status_code == 400
    assert client.get(f"/api/v1/nodes/{uuid4()}/modules/payment-processor/log", headers=viewer).status_code == 404


def test_a_large_cluster_is_one_answer(client: FlaskClient, viewer: Headers, orchestrator: Orchestrator) -> None:
    add_nodes(orchestrator, 250)
    cluster: Any = client.get("/api/v1/clusters/QA", headers=viewer).json
    assert cluster["totalNodes"] == cluster["healthyNodes"] == 250
    assert [node["hostname"] for node in cluster["nodes"]][:2] == ["qa-0000", "qa-0001"]
    assert cluster["metrics"]["avgCpuUsage"] is None
    page = client.get("/api/v1/nodes?environment=qa&limit=200", headers=viewer)
    assert len(page.json) == 200 and "Link" in page.headers  # type: ignore[arg-type]


def test_a_full_disk_is_a_503_and_leaves_nothing(
    publish: Publisher, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: ArtifactStore) -> Any:
        return Path("/dev/full").open("r+b", buffering=0)

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "incoming", full)
        answer = publish(archive())
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        assert "No space left" in problem_of(answer)["detail"]
    assert publish(archive()).status_code == 201
    incoming = orchestrator.settings.artifacts_dir / "incoming"
    assert list(incoming.iterdir()) == []
