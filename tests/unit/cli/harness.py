"""The command line in this process against a scripted API: the network is the only thing that is not real."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.cli.authentication import credentials
from app.cli.client import Client
from app.cli.configuration import Configuration
from app.cli.invocation import Invocation
from app.cli.main import COMMANDS
from app.cli.program import run

URL = "http://127.0.0.1:1"
DEPLOYMENT = "0192f0c1-1111-7000-8000-000000000001"
Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


@dataclass
class Api:
    """Answers by method and path below /api/v1; of several answers for one call the last one stays."""

    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        request.read()
        scripted = self.answers.get((request.method, request.url.path.removeprefix("/api/v1")))
        if not scripted:
            return problem(404, f"nothing at {request.method} {request.url.path}")
        answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
        # A response object is used up by being read, so each request gets its own.
        return answer(request) if callable(answer) else httpx.Response(
            answer.status_code, headers=answer.headers, content=answer.content
        )

    def bodies(self, method: str, path: str) -> list[Any]:
        """The JSON bodies that were sent there."""
        return [
            json.loads(each.content or b"null")
            for each in self.requests
            if (each.method, each.url.path.removeprefix("/api/v1")) == (method, path)
        ]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json=value, headers=headers)


def problem(status: int, detail: str, errors: Mapping[str, list[str]] | None = None) -> httpx.Response:
    body: dict[str, Any] = {"title": "Refused", "status": status, "detail": detail, "error": detail, "traceId": "t1"}
    if errors is not None:
        body["errors"] = errors
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


def client_of(configuration: Configuration, api: httpx.BaseTransport | Api) -> Client:
    transport = httpx.MockTransport(api) if isinstance(api, Api) else api
    return Client(configuration, credentials(configuration), transport, sleep=lambda _seconds: None)


def hotswap(
    *arguments: str, home: Path, api: Api | None = None, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command with a token and an empty home; what it prints goes where pytest catches it."""
    given = {
        "HOME": str(home),
        "HOTSWAP_URL": URL,
        "HOTSWAP_TOKEN": "hs_test",
        "HOTSWAP_DATA_DIR": str(home / "no-stack"),
        **(environment or {}),
    }
    scripted = api or Api()
    return run(COMMANDS, arguments, Invocation(given, connect=lambda configuration: client_of(configuration, scripted)))


def deployment(status: str = "Running", **more: Any) -> dict[str, Any]:
    """An answer of GET /deployments/{id}."""
    names = ("Build", "Security Scan", "Test", "Approval", "Deploy to QA", "Validation")
    stages: list[dict[str, Any]] = [
        {
            "name": name,
            "status": "Skipped" if name in ("Build", "Test", "Approval") else "Pending",
            "strategy": "rolling" if name.startswith("Deploy") else None,
            "startTime": None,
            "endTime": None,
            "duration": None,
            "attempt": 0,
            "nodesDeployed": 0,
            "nodesFailed": 0,
            "nodesSkipped": 0,
            "message": None,
            "outputTail": None,
            "waves": [],
        }
        for name in names
    ]
    ended = status in ("Succeeded", "Failed", "RolledBack", "Cancelled")
    return {
        "executionId": DEPLOYMENT,
        "kind": "deploy",
        "moduleName": "payment-processor",
        "version": "1.1.0",
        "targetEnvironment": "QA",
        "status": status,
        "requestedBy": "deployer",
        "startTime": "2026-11-24T05:31:00.000Z",
        "endTime": "2026-11-24T05:31:12.000Z" if ended else None,
        "duration": "00:00:12.000",
        "traceId": "t1",
        "reason": None,
        "retryOf": None,
        "rollbackOf": None,
        "supersededBy": None,
        "waitingFor": [],
        "stages": stages,
        **more,
    }


def event(number: int, kind: str, **data: Any) -> dict[str, Any]:
    """An event as pages and streams have it."""
    time = f"2026-11-24T05:31:{number % 60:02d}.000Z"
    return {"id": number, "type": kind, "time": time, "executionId": DEPLOYMENT, "data": data}


def stream(*events: dict[str, Any]) -> httpx.Response:
    """An event stream that ends after these."""
    frames = "".join(f"id: {each['id']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return httpx.Response(200, content=frames.encode(), headers={"Content-Type": "text/event-stream; charset=utf-8"})
