"""Clients that are slow, broken or hostile, against a real gunicorn with few threads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import PASSWORD, Headers
from tests.integration.api.serving import serving

PATIENCE = 30.0
THREADS = 4
# What a load balancer waits for, on a machine that has more to do.
SOON = 2.0


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="module")
def served(environment: Headers, log: Path) -> Iterator[tuple[str, int]]:
    """The address of a public API with few threads in one process."""
    address = ("127.0.0.1", int(environment["HOTSWAP_PORT"]))
    few = {
        "HOTSWAP_API_PROCESSES": "1",
        "HOTSWAP_API_THREADS": str(THREADS),
    }

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{address[1]}/health/live", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    with serving("wsgi", "gunicorn_api.py", {**environment, **few}, log, answers):
        yield address


@pytest.fixture
def api(served: tuple[str, int], orchestrator: Orchestrator) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{served[1]}"
    token = httpx.post(
        f"{url}/api/v1/authentication/login", json={"username": "deployer", "password": PASSWORD}, timeout=PATIENCE
    ).json()["token"]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE) as client:
        yield client


def connected(address: tuple[str, int], said: str) -> socket.socket:
    connection = socket.create_connection(address, timeout=PATIENCE)
    connection.sendall(said.encode("latin-1"))
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers by lower-case name, and the JSON body, of an answer after which the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


def check_problem(status: int, headers: dict[str, str], body: Any) -> None:
    assert headers["content-type"] == "application/problem+json" and headers["connection"] == "close"
    assert body["status"] == status and body["traceId"] == headers["x-trace-id"]
    assert {"type", "title", "detail", "instance", "error"} <= body.keys()
    assert body["title"] and "\n" not in body["error"]


def assert_live_soon(address: tuple[str, int]) -> None:
    begun = time.monotonic()
    assert httpx.get(f"http://127.0.0.1:{address[1]}/health/live", timeout=PATIENCE).status_code == 200
    assert time.monotonic() - begun < SOON


@pytest.mark.parametrize(
    ("said", "status", "instance"),
    [
        (f"GET /api/v1/deployments?cursor={'x' * 5000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "/api/v1/deployments"),
        (f"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\nX: {'x' * 20_000}\r\n\r\n", 431, "/api/v1/keys"),
        (f"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\nX: {'x' * 70_000}", 431, ""),
        ("GET /health/live HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 200 + "\r\n", 431, "/health/live"),
        ("NONSENSE\r\n", 400, ""),
        ("GET /health/live HTTP/1.1\r\nbad header\r\n\r\n", 400, "/health/live"),
        ("GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n", 400, "/health/live"),
        ("POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n", 501, "/api/v1/keys"),
        ("POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "/api/v1/keys"),
    ],
)
def test_what_cannot_be_read_is_a_problem_too(served: tuple[str, int], said: str, status: int, instance: str) -> None:
    with connected(served, said) as connection:
        answered, headers, body = answer_of(connection)
    assert (answered, body["instance"]) == (status, instance)
    check_problem(status, headers, body)


def test_who_says_nothing_or_half_a_head_holds_no_thread(served: tuple[str, int], api: httpx.Client) -> None:
    with ExitStack() as stack:
        for said in ("", "G", "GET /health/live HTTP/1.1\r\nHost: x\r\n"):
            for _ in range(3 * THREADS):
                stack.enter_context(connected(served, said))
        for _ in range(3):
            assert_live_soon(served)
            assert api.get("/api/v1/deployments").status_code == 200
        late = stack.enter_context(connected(served, "GET /health/live HT"))
        for piece in ("TP/1.1\r\nHost:", " x\r\nConnection: close\r\n\r", "\n"):
            assert_live_soon(served)
            late.sendall(piece.encode())
        assert answer_of(late)[0] == 200


def test_who_does_not_close_delays_nobody(served: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(5 * THREADS):
            stack.enter_context(connected(served, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        assert_live_soon(served)


def test_requests_on_one_connection(served: tuple[str, int]) -> None:
    """One after the other, and several sent at once."""
    asked = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(served, asked) as connection:
        for _ in range(3):
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.sendall(asked.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall((asked * 3 + asked.replace("x\r\n", "x\r\nConnection: close\r\n")).encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200") == 4
