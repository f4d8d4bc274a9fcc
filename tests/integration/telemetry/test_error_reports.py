"""Sentry gets what went wrong, named as in log lines, and no secret. With a real receiver of envelopes."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.telemetry.names import Field
from tests.integration.telemetry.programs import JWT_SECRET, run

FAILING = f"""
import structlog
ours, theirs = structlog.get_logger("hotswap.api"), logging.getLogger("theirs")
ours.info("not an error")
def work(argument):
    local = "planted-variable"
    raise ValueError("broker " + settings.broker_url + " {JWT_SECRET}")
with bound(deployment="d-1", stage="Test", node="qa-1", module="m"), spans.continued(place):
    try:
        work("planted-argument")
    except ValueError as error:
        ours.error("request.failed", error=str(error), password="planted-named", exc_info=error)
    theirs.error("cannot reach %s", settings.database_url, extra={{"reason": "timeout"}})
ours.exception("outside")
"""
ENDING = 'raise RuntimeError("the end of it")'


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A DSN, and the events of the envelopes that come."""
    events: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/api/1/envelope/", self.path
            _head, *items = [json.loads(line) for line in body.splitlines()]
            events.extend(item for kind, item in zip(items[::2], items[1::2], strict=True) if kind["type"] == "event")
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://planted-dsn-key@127.0.0.1:{server.server_address[1]}/1", events
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_errors_come_with_the_names_of_log_lines_and_without_secrets() -> None:
    with receiving() as (dsn, events):
        said = run(FAILING, {"HOTSWAP_SENTRY_DSN": dsn}).stderr
    failed, unreachable, outside = events
    assert failed["logentry"]["message"] == "request.failed" and failed["level"] == "error"
    assert failed["exception"]["values"][0]["type"] == "ValueError"
    assert failed["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "work"
    tags = failed["tags"]
    assert {name: tags[name] for name in ("deployment", "stage", "node", "module", "trace_id", "service")} == {
        "deployment": "d-1", "stage": "Test", "node": "qa-1", "module": "m", "trace_id": "a" * 32, "service": "deploy",
    }  # fmt: skip
    assert (unreachable["logger"], unreachable["tags"]["reason"]) == ("theirs", "timeout")
    assert "deployment" not in outside["tags"] and failed["environment"] == "of-a-test"
    for event in events:
        assert set(event["tags"]) <= set(Field)
        assert not {"request", "user", "extra", "breadcrumbs"} & event.keys()
        for thrown in event.get("exception", {}).get("values", []):
            assert all("vars" not in frame for frame in thrown["stacktrace"]["frames"])
    whole = json.dumps(events)
    for planted in ("planted-broker", "planted-database", "planted-named", "planted-variable", JWT_SECRET, "dsn-key"):
        assert planted not in whole, planted
    assert "planted-dsn-key" not in said


def test_what_ends_a_process_is_reported() -> None:
    program = f"try:\n    {ENDING}\nexcept RuntimeError:\n    sys.excepthook(*sys.exc_info())\n"
    with receiving() as (dsn, events):
        run(program, {"HOTSWAP_SENTRY_DSN": dsn})
    (event,) = events
    assert (event["level"], event["exception"]["values"][0]["value"]) == ("critical", "the end of it")


def test_a_deaf_sentry_delays_nothing() -> None:
    program = """
begun = time.monotonic()
for number in range(300):
    logging.getLogger("theirs").error("number %d", number)
print(time.monotonic() - begun)
"""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        done = run(program, {"HOTSWAP_SENTRY_DSN": f"http://key@127.0.0.1:{deaf.getsockname()[1]}/1"})
    assert float(done.stdout) < 20
