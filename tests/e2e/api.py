"""The HTTP API as a client sees it: one user, logged in. Answers are the JSON that came, unchanged."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.e2e.waiting import GENEROUS, until

Json = dict[str, Any]
TERMINAL = frozenset({"Succeeded", "Failed", "RolledBack", "Rejected", "Expired", "Cancelled", "Superseded"})
_TIMEOUT = 60.0  # seconds for one answer


class Refused(AssertionError):
    """An answer that was not expected; `problem` is its body."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
        self.status = response.status_code
        self.problem: Any = response.json() if "json" in response.headers.get("content-type", "") else None


class Api:
    """`url` without /api/v1."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.username = username
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=_TIMEOUT, trust_env=False)
        answer = self._client.post("/authentication/login", json={"username": username, "password": password})
        if answer.status_code != 200:
            raise Refused(answer)
        self._client.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, whatever it is."""
        return self._client.request(method, path, **options)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a 2xx answer. Raises Refused."""
        return self._json(self.call("GET", path, params=query))

    def post(self, path: str, body: Json | None = None, **options: Any) -> Any:
        """The same."""
        return self._json(self.call("POST", path, json=body or {}, **options))

    @staticmethod
    def _json(answer: httpx.Response) -> Any:
        if not answer.is_success:
            raise Refused(answer)
        return answer.json() if answer.content else None

    # --- deployments

    def deploy(self, module: str, version: str, environment: str, **more: Any) -> str:
        """Submit; the id."""
        body = {"moduleName": module, "version": version, "targetEnvironment": environment, **more}
        return str(self.post("/deployments", body)["executionId"])

    def deployment(self, execution_id: str) -> Json:
        found: Json = self.get(f"/deployments/{execution_id}")
        return found

    def operations(self, execution_id: str) -> list[Json]:
        """Its node operations, in the order in which they were planned."""
        found: list[Json] = self.get(f"/deployments/{execution_id}/nodes", limit=200)
        return found[::-1]

    def finished(self, execution_id: str, limit: float = GENEROUS) -> Json:
        """Wait for the end by its events, as a client that is told of it would; then the deployment."""
        last, deadline = 0, time.monotonic() + limit
        while True:
            try:
                with self.stream(execution_id, last, deadline) as events:
                    for event in events:
                        last = event["id"]
                found = self.deployment(execution_id)
            except (httpx.TransportError, Refused) as error:
                # A server that is restarted under us; what was seen is not asked for again.
                assert time.monotonic() < deadline, repr(error)
                time.sleep(0.1)
                continue
            if found["status"] in TERMINAL:
                return found
            assert time.monotonic() < deadline, found

    def events(self, execution_id: str, after: int = 0) -> Iterator[Json]:
        """Server-sent events until the server ends the stream. Raises Refused."""
        with self.stream(execution_id, after) as lines:
            yield from lines

    @contextmanager
    def stream(self, execution_id: str, after: int = 0, deadline: float = math.inf) -> Iterator[Iterator[Json]]:
        """The same, for who wants to hang up in the middle. It ends at the deadline, too (monotonic time)."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        path = f"/deployments/{execution_id}/events"
        with self._client.stream("GET", path, headers=headers, timeout=_TIMEOUT) as answer:
            if answer.status_code not in (200, 204):
                answer.read()
                raise Refused(answer)
            lines = itertools.takewhile(lambda _: time.monotonic() < deadline, answer.iter_lines())
            yield _events(lines)

    @contextmanager
    def following(self, path: str, headers: dict[str, str]) -> Iterator[Iterator[str]]:
        """The lines of an answer as they come. Raises Refused."""
        with self._client.stream("GET", path, headers=headers, timeout=_TIMEOUT) as answer:
            if answer.status_code != 200:
                answer.read()
                raise Refused(answer)
            yield answer.iter_lines()

    def until(self, execution_id: str, status: str, limit: float = GENEROUS) -> Json:
        """Wait until it has this status."""

        def reached() -> Json | None:
            found = self.deployment(execution_id)
            assert found["status"] == status or found["status"] not in TERMINAL, found
            return found if found["status"] == status else None

        return until(reached, f"{execution_id} is {status}", limit)

    # --- what runs where

    def cluster(self, environment: str) -> Json:
        found: Json = self.get(f"/clusters/{environment}")
        return found

    def active(self, environment: str, module: str) -> dict[str, Json]:
        """Host name -> the active release of a module, of the nodes that have one."""
        return {
            node["hostname"]: release
            for node in self.cluster(environment)["nodes"]
            for release in node["releases"]
            if release["moduleName"] == module
        }

    def nodes(self, environment: str) -> dict[str, Json]:
        """Host name -> node."""
        return {node["hostname"]: node for node in self.get("/nodes", environment=environment, limit=200)}


def _events(lines: Iterator[str]) -> Iterator[Json]:
    number = None
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            number = int(value)
        elif field == "data":
            event: Json = json.loads(value)
            assert event["id"] == number
            yield event


def stage(deployment: Json, name: str) -> Json:
    """A stage of a deployment by the beginning of its name."""
    return next(each for each in deployment["stages"] if each["name"].startswith(name))
