"""Watching to the end, to a limit, over restarts of the server, and without a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import event_feed, watching
from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import DEPLOYMENT, Api, answer, deployment, event, hotswap, problem, stream

SHOW = f"/deployments/{DEPLOYMENT}"
EVENTS = f"{SHOW}/events"
NODES = f"{SHOW}/nodes"
BEGINNING = [event(1, "deployment.submitted", version="1.1.0", environment="QA"), event(2, "deployment.running")]
SUCCEEDED = event(3, "deployment.succeeded")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps without the pauses between them."""
    for module, name, value in [
        (watching, "_TICK", 0.01),
        (watching, "_LOOK_AFTER_EVENT", 0.0),
        (watching, "_LOOK_WITHOUT", 0.02),
        (watching, "_LOOK_WITH_STREAM", 0.05),
        (watching, "_LAST_EVENTS", 30.0),
        (event_feed, "_FIRST_PAUSE", 0.01),
        (event_feed, "_LONGEST_PAUSE", 0.02),
        (event_feed, "_POLL", 0.01),
    ]:
        monkeypatch.setattr(module, name, value)


class Server:
    """A deployment that succeeds once its last event has been sent, told in streams that break where they are cut."""

    def __init__(self, *streams: list[dict[str, Any]] | httpx.Response | Exception, ending: str = "Succeeded") -> None:
        self.streams = list(streams)
        self.api = Api()
        self.resumed: list[str] = []
        self.over = threading.Event()
        self.ending = ending
        self.api.on("GET", SHOW, self._show)
        self.api.on("GET", EVENTS, self._events)
        self.api.on("GET", NODES, answer([]))

    def _show(self, _request: httpx.Request) -> httpx.Response:
        return answer(deployment(self.ending if self.over.is_set() else "Running"))

    def _events(self, request: httpx.Request) -> httpx.Response:
        self.resumed.append(request.headers.get("Last-Event-ID", ""))
        if not self.streams:
            self.over.set()
            return stream()
        part = self.streams.pop(0)
        if isinstance(part, Exception):
            raise part
        if isinstance(part, httpx.Response):
            return part
        if not self.streams:
            self.over.set()
        return stream(*part)


def watch(server: Server, home: Path, *more: str) -> int:
    return hotswap("deployment", "watch", DEPLOYMENT, *more, home=home, api=server.api)


def test_plain_lines_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(Server([*BEGINNING, SUCCEEDED]), tmp_path) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == [
        "05:31:01  deployment submitted (version 1.1.0, environment QA)",
        "05:31:02  deployment running",
        "05:31:03  deployment succeeded",
        "payment-processor 1.1.0 in QA: Succeeded after 12s",
    ]


def test_a_broken_stream_goes_on_where_it_broke_without_gap_or_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    server = Server(BEGINNING[:1], refused, problem(503, "restarting"), problem(429, "busy"), BEGINNING, [SUCCEEDED])
    assert watch(server, tmp_path, "--output", "json") == ExitCode.DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("id") for line in lines] == [1, 2, 3, None]
    assert lines[-1]["status"] == "Succeeded"
    assert server.resumed[:6] == ["0", "1", "1", "1", "1", "2"]
    assert set(server.resumed[6:]) <= {"3"}  # how often it asks again before it looks is chance


def test_a_server_that_restarts_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server([SUCCEEDED])
    gone = httpx.ConnectError("[Errno 111] Connection refused")
    answers: list[Callable[[httpx.Request], httpx.Response]] = [server._show, _raise(gone), _raise(gone), server._show]
    server.api.on("GET", SHOW, *answers)
    assert watch(server, tmp_path) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert "connection refused" in err
    assert "connected again" in err
    assert "Succeeded" in out


def test_a_server_that_stays_away_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.05)
    server = Server(*[httpx.ConnectError("refused")] * 1000)
    server.api.on("GET", SHOW, server._show, _raise(httpx.ConnectError("refused")))
    assert watch(server, tmp_path) == ExitCode.UNREACHABLE
    assert f"hotswap deployment watch {DEPLOYMENT}" in capsys.readouterr().err


def test_without_a_stream_the_pages_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [answer(BEGINNING), answer([SUCCEEDED]), answer([])]
    server = Server(answer([]), *pages)
    assert watch(server, tmp_path) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out.count("deployment running") == 1
    assert out.count("deployment succeeded") == 1
    asked = [request.url.params.get("after") for request in server.api.requests if request.url.path.endswith("events")]
    assert asked[:3] == [None, "0", "2"]


def test_a_stream_that_is_swallowed_on_the_way_is_left_for_pages(tmp_path: Path) -> None:
    class Silent(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            raise httpx.ReadTimeout("nothing came")

    def silent() -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Silent())

    server = Server(silent(), silent(), answer([*BEGINNING, SUCCEEDED]))
    assert watch(server, tmp_path) == ExitCode.DONE
    asked = [request.url.params.get("after") for request in server.api.requests if request.url.path.endswith("events")]
    assert asked[:3] == [None, None, "0"]


def test_a_deployment_that_ended_long_ago_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server([*BEGINNING, event(3, "deployment.rolledBack", reason="a node failed")], ending="RolledBack")
    server.over.set()
    operation = {"hostname": "qa-1", "wave": 0, "status": "Failed", "error": "never healthy", "outputTail": "a\nb\n"}
    server.api.on("GET", NODES, answer([operation]))
    assert watch(server, tmp_path) == ExitCode.NOT_SUCCEEDED
    out = capsys.readouterr().out
    assert "deployment rolled back: a node failed" in out
    assert "qa-1 failed: never healthy" in out
    assert "    | b" in out


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Succeeded", 0),
        ("Failed", 1),
        ("RolledBack", 1),
        ("Rejected", 1),
        ("Expired", 1),
        ("Cancelled", 1),
        ("Superseded", 1),
    ],
)
def test_how_it_ended_is_the_exit_code(tmp_path: Path, status: str, code: int) -> None:
    last = event(3, "deployment." + status[0].lower() + status[1:])
    assert watch(Server([*BEGINNING, last], ending=status), tmp_path, "-o", "json") == code


def waiting(home: Path, status: str, *more: str) -> tuple[int, Api]:
    api = Api()
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    api.on("GET", SHOW, answer(deployment(status)))
    api.on("GET", EVENTS, stream(*BEGINNING))
    api.on("POST", f"{SHOW}/cancel", answer({"executionId": DEPLOYMENT, "status": "Cancelling"}, 202))
    return hotswap("deploy", "payment-processor", "1.1.0", "--to", "QA", "--wait", *more, home=home, api=api), api


@pytest.mark.parametrize("status", ["PendingApproval", "Paused"])
def test_wait_returns_7_at_once_when_a_person_is_waited_for(tmp_path: Path, status: str) -> None:
    assert waiting(tmp_path, status)[0] == ExitCode.WAITING_FOR_A_PERSON


def test_with_a_timeout_a_person_is_waited_for_until_then(tmp_path: Path) -> None:
    code, api = waiting(tmp_path, "PendingApproval", "--timeout", "1s")
    assert code == ExitCode.WAITING_FOR_A_PERSON
    assert len([request for request in api.requests if request.url.path.endswith(DEPLOYMENT)]) > 1


def test_still_running_at_the_timeout_is_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, api = waiting(tmp_path, "Running", "--timeout", "100ms")
    assert code == ExitCode.STILL_RUNNING
    assert f"hotswap deployment watch {DEPLOYMENT}" in capsys.readouterr().err
    assert api.bodies("POST", f"{SHOW}/cancel") == []


def test_cancel_on_timeout_cancels_and_is_6(tmp_path: Path) -> None:
    code, api = waiting(tmp_path, "Running", "--timeout", "50ms", "--cancel-on-timeout")
    assert code == ExitCode.STILL_RUNNING
    assert api.bodies("POST", f"{SHOW}/cancel") == [{"rollback": True}]


@pytest.mark.parametrize("status", ["PendingApproval", "Paused"])
def test_cancel_on_timeout_cancels_also_what_waits_for_a_person(tmp_path: Path, status: str) -> None:
    code, api = waiting(tmp_path, status, "--timeout", "50ms", "--cancel-on-timeout")
    assert code == ExitCode.STILL_RUNNING
    assert api.bodies("POST", f"{SHOW}/cancel") == [{"rollback": True}]


def test_what_cannot_be_cancelled_and_waits_for_a_person_is_7(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", EVENTS, stream(*BEGINNING))
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    api.on("GET", SHOW, answer(deployment("Paused")))
    api.on("POST", f"{SHOW}/cancel", problem(409, "Somebody else was faster."))
    more = ("--wait", "--timeout", "50ms", "--cancel-on-timeout")
    code = hotswap("deploy", "m", "1.0.0", "--to", "QA", *more, home=tmp_path, api=api)
    assert code == ExitCode.WAITING_FOR_A_PERSON


def test_what_ended_before_it_could_be_cancelled_says_how(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", EVENTS, stream(*BEGINNING))
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    state = [answer(deployment("Running"))]
    api.on("GET", SHOW, lambda _request: answer(json.loads(state[0].content)))

    def too_late(_request: httpx.Request) -> httpx.Response:
        state[0] = answer(deployment("Succeeded"))
        return problem(409, "A deployment that is Succeeded cannot be cancelled.")

    api.on("POST", f"{SHOW}/cancel", too_late)
    more = ("--wait", "--timeout", "50ms", "--cancel-on-timeout")
    assert hotswap("deploy", "m", "1.0.0", "--to", "QA", *more, home=tmp_path, api=api) == ExitCode.DONE


def test_wait_in_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server([*BEGINNING, SUCCEEDED])
    server.api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    arguments = ("deploy", "m", "1.0.0", "--to", "QA", "--wait", "-o", "json")
    assert hotswap(*arguments, home=tmp_path, api=server.api) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["status"] == "Succeeded"


def test_a_deployment_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", SHOW, problem(404, "There is no such deployment."))
    assert hotswap("deployment", "watch", DEPLOYMENT, home=tmp_path, api=api) == ExitCode.REFUSED
    assert len(api.requests) == 1


def test_ctrl_c_detaches_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_watch: object, _wait: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching._Watch, "_take", interrupted)
    assert watch(Server(BEGINNING), tmp_path) == ExitCode.DETACHED
    assert f"hotswap deployment watch {DEPLOYMENT}" in capsys.readouterr().err


def _raise(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise error

    return respond
