"""Logs of stages over HTTP: resumed without a gap or a repeat, and of stages that print nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from app.orchestrator import claims
from app.orchestrator.context import Orchestrator
from app.orchestrator.verdict import Verdict, report
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

PIECES = [(1, 0, "begun\n"), (1, 1, "and lost\n"), (2, 0, "begun again\n"), (2, 1, "done\n")]
Read = Callable[..., tuple[list[str], list[dict[str, Any]]]]


@pytest.fixture
def execution(publish: Publisher, client: FlaskClient, deployer: Headers) -> str:
    assert publish(archive()).status_code == 201
    body = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA", "requireApproval": True}
    return str(client.post("/api/v1/deployments", json=body, headers=deployer).json["executionId"])  # type: ignore[index]


@pytest.fixture
def stage_id(execution: str, orchestrator: Orchestrator) -> Callable[[str], UUID]:
    def of(kind: str) -> UUID:
        with orchestrator.database.raw() as connection:
            row: Any = connection.execute(
                "select id from stages where deployment_id = %s and kind = %s", (execution, kind)
            ).fetchone()
        return UUID(str(row[0]))

    return of


def path(execution: str, stage: str) -> str:
    return f"/api/v1/deployments/{execution}/stages/{stage}/log"


@pytest.fixture
def read(client: FlaskClient, execution: str, viewer: Headers) -> Read:
    """The whole stream of a stage that has ended: the ids of its events, and what they carry."""

    def of(stage: str, after: str | None = None) -> tuple[list[str], list[dict[str, Any]]]:
        headers = {**viewer, "Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        answer = client.get(path(execution, stage), headers=headers)
        assert answer.status_code == 200, answer.text
        lines = answer.text.splitlines()
        return (
            [line.removeprefix("id: ") for line in lines if line.startswith("id: ")],
            [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")],
        )

    return of


def test_it_is_resumed_after_any_piece(
    read: Read, execution: str, stage_id: Callable[[str], UUID], orchestrator: Orchestrator
) -> None:
    with orchestrator.database.raw() as connection:
        for piece in PIECES:
            connection.execute(
                "insert into stage_log_pieces (stage_id, attempt, seq, content, tenant_id)"
                " select id, %s, %s, %s, tenant_id from stages where id = %s",
                (*piece, stage_id("Build")),
            )
    ids, pieces = read("Build")
    assert ids == [f"{attempt}-{seq}" for attempt, seq, _ in PIECES]
    assert pieces == [{"text": text, "attempt": attempt} for attempt, _, text in PIECES]
    for number, last in enumerate(ids, 1):
        assert read("build", last) == (ids[number:], pieces[number:])
    assert read("Build", "1-7") == (ids[2:], pieces[2:]), "one that is gone"
    assert read("Build", "0-0") == (ids, pieces), "what it said before it printed anything"


@pytest.mark.parametrize("bad", ["x", "7", "-1-2", "1--1", "1-1-1", "1.5-0", "1-" + "9" * 10])
def test_an_id_that_is_none_is_refused(client: FlaskClient, execution: str, viewer: Headers, bad: str) -> None:
    headers = {**viewer, "Accept": "text/event-stream", "Last-Event-ID": bad}
    answer = client.get(path(execution, "Build"), headers=headers)
    assert answer.status_code == 400
    assert problem_of(answer)["errors"] == {"Last-Event-ID": ["is not the id of an event"]}


def test_a_stage_that_prints_nothing_says_what_it_came_to(
    read: Read,
    client: FlaskClient,
    execution: str,
    viewer: Headers,
    stage_id: Callable[[str], UUID],
    orchestrator: Orchestrator,
) -> None:
    ids, pieces = read("Build")
    assert (ids, len(pieces)) == (["0-0"], 1), "it is skipped"
    assert pieces[0]["text"] == client.get(path(execution, "Build"), headers=viewer).text != ""
    assert read("Build", "0-0") == ([], [])

    scan = path(execution, "Security%20Scan")
    stream = client.get(scan, headers={**viewer, "Accept": "text/event-stream"}, buffered=False)
    frames = stream.iter_encoded()
    assert next(frames).startswith(b"retry:")
    claimed = claims.claim_stage(orchestrator, uuid4(), UUID(execution), stage_id("Security Scan"))
    assert claimed is not None
    report(orchestrator, claimed, Verdict(True, "no findings in 2 files"))
    (told,) = [frame for frame in frames if b"data:" in frame]
    stream.close()
    assert told == b'id: 0-0\ndata: {"text":"no findings in 2 files\\n","attempt":0}\n\n'
    assert client.get(scan, headers=viewer).text == "no findings in 2 files\n"
