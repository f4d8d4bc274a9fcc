"""Clients that are slow, broken or hostile, against a real gunicorn with few threads."""

from __future__ import annotations

import json
import select
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
BODY_SECONDS = 5
# What a load balancer waits for, on a machine that has more to do.
SOON = 2.0
LOGIN = "POST /api/v1/authentication/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


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
        "HOTSWAP_BODY_TIMEOUT": str(BODY_SECONDS),
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
            received = b""
            while not received.endswith(b"}\n"):
                piece = connection.recv(65536)
                assert piece
                received += piece
            assert received.startswith(b"HTTP/1.1 200")
            connection.sendall(asked.encode())
        connection.sendall((asked * 3 + asked.replace("x\r\n", "x\r\nConnection: close\r\n")).encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200") == 5


def chunked(path: str, content_type: str, token: str, body: str) -> str:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: {token}\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{body}"
    )


PART = '--x\r\nContent-Disposition: form-data; name="artifact"; filename="a"\r\n\r\nabc'
FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("path", "content_type"), [("deployments", "application/json"), ("modules/a-b/releases", FORM)]
)
@pytest.mark.parametrize(
    "body",
    [
        "zz\r\nxx\r\n",  # no number
        "2\r\nxxyy\r\n",  # no end of a chunk
        "2;=\r\nxx\r\n",  # no extension
        f"{len(PART):x}\r\n{PART}\r\nzz\r\n",
        "0\r\nnonsense\r\n\r\n",  # no trailer
        f"{len(PART):x}\r\n{PART}\r\n",  # breaks off
        "ff\r\nxx",
    ],
)
def test_a_body_that_is_not_chunked_as_it_says_is_400(
    served: tuple[str, int], api: httpx.Client, log: Path, path: str, content_type: str, body: str
) -> None:
    said = chunked(f"/api/v1/{path}", content_type, api.headers["Authorization"], body)
    with connected(served, said) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, headers, answer = answer_of(connection)
    assert status == 400 and answer["errors"].keys() == {"body"}, answer
    check_problem(status, headers, answer)
    assert "Traceback" not in log.read_text()


def test_a_body_shorter_than_it_says_is_400(served: tuple[str, int], api: httpx.Client) -> None:
    said = LOGIN + "Content-Length: 500\r\n\r\n{}"
    with connected(served, said) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, headers, answer = answer_of(connection)
    assert (status, answer["errors"]) == (400, {"body": ["ended before it was whole"]})
    check_problem(status, headers, answer)


@pytest.mark.parametrize("framing", ["Content-Length: 500", "Transfer-Encoding: chunked"])
def test_slow_bodies_leave_threads_for_all_else(served: tuple[str, int], api: httpx.Client, framing: str) -> None:
    begun = time.monotonic()
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(served, f"{LOGIN}{framing}\r\n\r\n1")) for _ in range(20 * THREADS)]
        for _ in range(3):
            assert_live_soon(served)
            assert api.get("/api/v1/deployments").status_code == 200
        assert time.monotonic() - begun < BODY_SECONDS, "what is asserted was so while bodies were awaited"
        answers = [answer_of(connection) for connection in slow]
    for answer in answers:
        check_problem(*answer)
        assert answer[0] == 408 or (answer[0] == 503 and int(answer[1]["retry-after"]) > 0)
    assert {status for status, _, _ in answers} == {408, 503}
    assert api.post("/api/v1/deployments", json={}).status_code == 400, "places are given back"


def test_a_body_that_trickles_has_a_time_and_an_upload_has_not(served: tuple[str, int], api: httpx.Client) -> None:
    upload = chunked("/api/v1/modules/a-b/releases", FORM, api.headers["Authorization"], "")
    token = f"Authorization: {api.headers['Authorization']}\r\n"
    deployment = LOGIN.replace("authentication/login", "deployments") + token + "Content-Length: 100000\r\n\r\n"
    for said, piece, expected in ((deployment, b"1", 408), (upload, b"1\r\nx\r\n", None)):
        with connected(served, said) as connection:
            begun, answered = time.monotonic(), False
            while not answered and time.monotonic() < begun + (PATIENCE if expected else 2 * BODY_SECONDS):
                connection.sendall(piece)
                answered = bool(select.select([connection], [], [], 0.1)[0])
            assert answered is (expected is not None)
            if expected:
                check_problem(*answer_of(connection))
                assert time.monotonic() - begun >= BODY_SECONDS


def test_what_is_refused_before_its_body_is_read_waits_for_nothing(served: tuple[str, int]) -> None:
    """Unread bodies: of who may not, of paths that are none, of requests that need no body."""
    with ExitStack() as stack:
        for line, status in (
            ("POST /api/v1/deployments", 401),
            ("POST /nothing", 404),
            ("GET /health/live", 200),
            ("DELETE /health/live", 405),
        ):
            said = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n1"
            slow = [stack.enter_context(connected(served, said)) for _ in range(3 * THREADS)]
            assert_live_soon(served)
            for connection in slow:
                answered, headers, _ = answer_of(connection)
                assert (answered, headers["connection"]) == (status, "close")
