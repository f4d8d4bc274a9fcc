"""(d) API: submissions and lists at 32 connections, with 100,000 deployments in the database."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.benchmarks.figures import Figure, Section, percentile
from tests.benchmarks.stack import Stack, stack

CONNECTIONS = 32
REQUESTS = 1600
ROWS = 100_000
BUSY = 503
FEW_ROWS = 1_000
_FILL = """
insert into deployments (id, tenant_id, kind, status, module_id, module_name, release_id, version, digest,
       environment_id, environment_name, strategy, policy, requested_by, trace_id, place, submitted_at, ended_at)
select uuidv7(), d.tenant_id, d.kind, 'Succeeded', d.module_id, d.module_name, d.release_id, d.version, d.digest,
       d.environment_id, d.environment_name, d.strategy, d.policy, 'bench', d.trace_id, 0, d.submitted_at,
       d.submitted_at
  from (select * from deployments limit 1) as d, generate_series(1, %s)
"""
Call = Callable[[http.client.HTTPConnection], int]


def _load(url: str, call: Call, requests: int = REQUESTS) -> list[float]:
    """Seconds of each of `requests` calls over 32 kept connections, those told to come back (503) among them.

    RuntimeError when one was answered otherwise.
    """
    address = urlsplit(url)
    seconds: list[float] = []
    bad: list[int] = []
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        mine, wrong = [], []
        for _ in range(requests // CONNECTIONS):
            begun = time.monotonic()
            status = call(connection)
            mine.append(time.monotonic() - begun)
            if status >= 400:
                wrong.append(status)
        connection.close()
        with lock:
            seconds.extend(mine)
            bad.extend(wrong)

    threads = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if set(bad) - {BUSY} or len(seconds) != requests:
        raise RuntimeError(f"{len(bad)} of {requests} calls were refused: {sorted(set(bad))}")
    return seconds


def _get(path: str, token: str | None) -> Call:
    def call(connection: http.client.HTTPConnection) -> int:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return call


def _post(path: str, token: str, body: dict[str, Any]) -> Call:
    content = json.dumps(body).encode()

    def call(connection: http.client.HTTPConnection) -> int:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", path, content, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return call


def measure(folder: Path, module: Path) -> Section:
    with stack(folder / "api", "development=1") as running:
        running.publish(module)
        running.ended(running.submit("web-greeter", "1.0.0", "Development"))
        token = running.client.headers["Authorization"].removeprefix("Bearer ")
        lists = _get("/api/v1/deployments?limit=50", token)
        filtered = _get("/api/v1/deployments?limit=50&status=Succeeded&environment=Development", token)
        _fill(running, FEW_ROWS)
        _load(running.url, lists, 320)  # warms connections, caches and prepared statements
        floor = _load(running.url, _get("/health/live", None))
        few = _load(running.url, lists)
        _fill(running, ROWS)
        many = _load(running.url, lists)
        many_filtered = _load(running.url, filtered)
        body = {"moduleName": "web-greeter", "version": "1.0.0", "targetEnvironment": "Development"}
        posts = _load(running.url, _post("/api/v1/deployments", token, body), 640)
        with psycopg.connect((running.folder / "secrets" / "database-url").read_text().strip()) as connection:
            row: Any = connection.execute("select count(*) from deployments where requested_by = 'admin'").fetchone()
            accepted = row[0] - 1  # the one that made the rows to be copied
    return Section(
        "(d) API",
        f"{CONNECTIONS} kept connections, two gunicorn workers, {ROWS:,} deployments in the database. Times are medians"
        " and 99th percentiles as the client sees them, queueing included. Yardstick: `GET /health/live`, which asks"
        " nothing, on the same server; for the growth of lists, the same list with 1,000 rows.",
        (
            _figure("GET /health/live", floor, None, "the floor", 0),
            _figure("GET /deployments, 1,000 rows", few, floor, "reported", 0),
            _figure("GET /deployments, 100,000 rows", many, few, "no growth: under 1.5 of 1,000 rows", 1.5),
            _figure("the same, filtered", many_filtered, few, "no growth: under 1.5 of 1,000 rows", 1.5),
            _figure(f"POST /deployments, all of one lane: {accepted} of 640 accepted", posts, floor, "reported", 0),
        ),
    )


def _figure(name: str, ours: list[float], yardstick: list[float] | None, aim: str, limit: float) -> Figure:
    def text(values: list[float]) -> str:
        return f"p50 {percentile(values, 50) * 1000:.0f} ms, p99 {percentile(values, 99) * 1000:.0f} ms"

    if yardstick is None:
        return Figure(name, text(ours), "", None, aim, True)
    ratio = percentile(ours, 50) / percentile(yardstick, 50)
    return Figure(name, text(ours), text(yardstick), ratio, aim, not limit or ratio <= limit)


def _fill(running: Stack, rows: int) -> None:
    url = (running.folder / "secrets" / "database-url").read_text().strip()
    with psycopg.connect(url, autocommit=True) as connection:
        present: Any = connection.execute("select count(*) from deployments").fetchone()
        connection.execute(_FILL, (rows - present[0],))
        connection.execute("analyze deployments")
