"""Live events over a real gunicorn: resuming, ending, keep-alives, and clients that are gone."""

from __future__ import annotations

import itertools
import json
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployments import Submission, submit
from tests.integration.api.conftest import PASSWORD, Headers, Publisher, archive
from tests.integration.api.serving import serving

PATIENCE = 30.0


@pytest.fixture(scope="module")
def served(environment: Headers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a public API with 4 threads, so 2 places for streams."""
    url = f"http://127.0.0.1:{environment['HOTSWAP_PORT']}"
    folder = tmp_path_factory.mktemp("served")
    (folder / "metrics").mkdir()
    few = {
        "HOTSWAP_API_PROCESSES": "1",
        "HOTSWAP_API_THREADS": "4",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
    }

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    with serving("wsgi", "gunicorn_api.py", {**environment, **few}, folder / "log", answers):
        yield url


@pytest.fixture
def api(served: str, orchestrator: Orchestrator) -> Iterator[httpx.Client]:
    login = {"username": "deployer", "password": PASSWORD}
    token = httpx.post(f"{served}/api/v1/authentication/login", json=login).json()["token"]
    with httpx.Client(base_url=served, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def execution(publish: Publisher, orchestrator: Orchestrator) -> UUID:
    assert publish(archive()).status_code == 201
    requester = Requester("deployer", frozenset({"Deployer"}))
    submission = Submission("payment-processor", "1.0.0", "QA")
    return submit(orchestrator, requester, submission, trace_id="0" * 32).execution_id


def emit(orchestrator: Orchestrator, execution: UUID, count: int, status: str | None = None) -> None:
    """Write events as the engine does: numbered under the deployment's lock."""
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        for _ in range(count):
            with connection.transaction():
                connection.execute("select 1 from deployments where id = %s for update", (execution,))
                connection.execute(
                    "update deployments set event_seq = event_seq + 1, status = coalesce(%s, status) where id = %s",
                    (status, execution),
                )
                connection.execute(
                    "insert into deployment_events (deployment_id, tenant_id, seq, kind)"
                    " select id, tenant_id, event_seq, 'test.event' from deployments where id = %s",
                    (execution,),
                )


def read(api: httpx.Client, execution: UUID, *, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
    """Events of a live stream, until it ends or `most` have come."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(after)} if after else {})}
    seen: list[dict[str, Any]] = []
    with api.stream("GET", f"/api/v1/deployments/{execution}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        number = 0
        for line in response.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                event = json.loads(line[6:])
                assert event["id"] == number
                seen.append(event)
                if len(seen) == most:
                    break
    return seen


def test_a_stream_follows_resumes_and_ends(api: httpx.Client, execution: UUID, orchestrator: Orchestrator) -> None:
    first = read(api, execution, most=1)
    assert first[0]["type"] == "deployment.submitted"

    def write() -> None:
        emit(orchestrator, execution, 300)
        emit(orchestrator, execution, 1, "Failed")

    writer = threading.Thread(target=write)
    writer.start()
    cut = read(api, execution, after=1, most=100)
    rest = read(api, execution, after=cut[-1]["id"])
    writer.join()
    numbers = [event["id"] for event in first + cut + rest]
    with psycopg.connect(orchestrator.settings.database_url) as connection:
        row = connection.execute("select event_seq from deployments where id = %s", (execution,)).fetchone()
    assert row is not None and numbers == list(range(1, row[0] + 1))
    over = api.get(
        f"/api/v1/deployments/{execution}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(numbers[-1])},
    )
    assert over.status_code == 204


def test_json_pages_hold_the_same(api: httpx.Client, execution: UUID, orchestrator: Orchestrator) -> None:
    emit(orchestrator, execution, 9)
    path = f"/api/v1/deployments/{execution}/events"
    for query in ("limit=4", "limit=4&after=0"):
        seen: list[int] = []
        url: str | None = f"{path}?{query}"
        while url:
            answer = api.get(url)
            seen += [event["id"] for event in answer.json()]
            link = answer.headers.get("Link")
            url = link[1 : link.index(">")] if link else None
        last = max(seen)
        assert sorted(seen) == list(range(1, last + 1)) and len(seen) == last >= 10
    for bad in ("x", "-1", "1.5"):
        answer = api.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": bad})
        assert answer.status_code == 400


def test_too_many_streams_are_429_and_gone_clients_free_their_place(
    api: httpx.Client, served: str, execution: UUID
) -> None:
    host, port = served.removeprefix("http://").split(":")
    path = f"/api/v1/deployments/{execution}/events"
    request = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        f"Authorization: {api.headers['Authorization']}\r\n\r\n"
    ).encode()
    open_streams = []
    for _ in range(2):
        connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        open_streams.append(connection)
    refused = api.get(path, headers={"Accept": "text/event-stream"})
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
    assert api.get(f"/api/v1/deployments/{execution}").status_code == 200
    for connection in open_streams:
        connection.close()
    deadline = time.monotonic() + PATIENCE
    while True:
        with api.stream("GET", path, headers={"Accept": "text/event-stream"}) as response:
            if response.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_body_over_the_limit_is_413_before_it_is_sent(api: httpx.Client, served: str) -> None:
    host, port = served.removeprefix("http://").split(":")
    for path, content_type in (
        ("/api/v1/modules/payment-processor/releases", "multipart/form-data; boundary=x"),
        ("/api/v1/deployments", "application/json"),
    ):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(
                (
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
                    f"Authorization: {api.headers['Authorization']}\r\nContent-Length: {10**12}\r\n\r\n"
                ).encode()
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_413_once_it_is_over_the_limit(api: httpx.Client, served: str) -> None:
    host, port = served.removeprefix("http://").split(":")
    part = b'--x\r\nContent-Disposition: form-data; name="artifact"; filename="a"\r\n\r\n'
    for path, content_type, begin in (
        ("/api/v1/modules/payment-processor/releases", "multipart/form-data; boundary=x", part),
        ("/api/v1/deployments", "application/json", b" "),
    ):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
            f"Authorization: {api.headers['Authorization']}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(head.encode())
            answer = send_until_answered(connection, itertools.chain([begin], itertools.repeat(b" " * 65536, 64)))
        assert answer.startswith(b"HTTP/1.1 413"), path


def send_until_answered(connection: socket.socket, pieces: Iterable[bytes]) -> bytes:
    """Send chunks until the other side says something, as a client does that listens while it sends."""
    for piece in pieces:
        try:
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        except ConnectionError:
            break
        if select.select([connection], [], [], 0)[0]:
            break
    return connection.recv(4096)


def test_metrics_of_every_process(served: str, api: httpx.Client) -> None:
    api.get("/api/v1/deployments")
    text = httpx.get(f"{served}/metrics").text
    assert "hotswap_stale_commands_total{" in text
    assert 'endpoint="deployments.list_deployments"' in text
