"""Approvals over HTTP: who may decide, how often, until when, and what the others are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.orchestrator import approvals, claims
from app.orchestrator.context import Orchestrator
from app.orchestrator.verdict import Verdict, report
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

PATH = "/api/v1/approvals"
Waiting = Callable[..., str]


@pytest.fixture
def waiting(publish: Publisher, client: FlaskClient, deployer: Headers, orchestrator: Orchestrator) -> Waiting:
    """A deployment whose scan has passed; returns its id."""
    assert publish(archive()).status_code == 201

    def submit(**changes: Any) -> str:
        body = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA", **changes}
        body.setdefault("requireApproval", True)
        execution = str(client.post("/api/v1/deployments", json=body, headers=deployer).json["executionId"])  # type: ignore[index]
        with orchestrator.database.raw() as connection:
            scan: Any = connection.execute(
                "select id from stages where deployment_id = %s and kind = 'Security Scan'", (execution,)
            ).fetchone()
        claimed = claims.claim_stage(orchestrator, uuid4(), UUID(execution), scan[0])
        assert claimed is not None
        report(orchestrator, claimed, Verdict(True, "fine"))
        return execution

    return submit


def policy(client: FlaskClient, admin: Headers, **approvals: Any) -> None:
    current = client.get("/api/v1/environments/QA", headers=admin)
    body = {**current.json, "approvals": approvals, "reason": "a test"}  # type: ignore[dict-item]
    answer = client.put("/api/v1/environments/QA", json=body, headers={**admin, "If-Match": current.headers["ETag"]})
    assert answer.status_code == 200, answer.text


def decide(client: FlaskClient, headers: Headers, execution: str, answer: str, reason: str | None = None) -> Any:
    body = {"reason": reason} if reason else None
    return client.post(f"{PATH}/deployments/{execution}/{answer}", json=body, headers=headers)


def shown(client: FlaskClient, headers: Headers, execution: str) -> Any:
    return client.get(f"/api/v1/deployments/{execution}", headers=headers).json


def test_one_is_listed_approved_and_goes_on(
    waiting: Waiting, client: FlaskClient, log_in: Callable[[str], Headers], viewer: Headers
) -> None:
    execution = waiting(requesterEmail="dora@example.com")
    deployment = shown(client, viewer, execution)
    assert deployment["status"] == "PendingApproval"
    (waits,) = deployment["waitingFor"]
    assert (waits["kind"], waits["text"]) == ("approval", "waits for 1 person who may approve (Approver)")
    (listed,) = client.get(f"{PATH}/pending", headers=viewer).json  # type: ignore[misc]
    assert listed["deploymentExecutionId"] == execution
    assert (listed["moduleName"], listed["version"], listed["targetEnvironment"]) == (
        "payment-processor",
        "1.0.0",
        "QA",
    )
    assert (listed["status"], listed["required"], listed["given"]) == ("Pending", 1, 0)
    assert (listed["requesterEmail"], listed["requestedBy"]) == ("dora@example.com", "deployer")
    assert listed["timeoutAt"] == waits["until"] and listed["timeRemaining"].startswith("23:59:")
    assert (listed["respondedAt"], listed["respondedBy"], listed["responseReason"]) == (None, None, None)

    answer = decide(client, log_in("approver"), execution, "approve", "looks good")
    assert answer.status_code == 200, answer.text
    assert (answer.json["status"], answer.json["respondedBy"]) == ("Approved", "approver")
    assert (answer.json["responseReason"], answer.json["timeRemaining"]) == ("looks good", "00:00:00.000")
    assert client.get(f"{PATH}/pending", headers=viewer).json == []
    stage = shown(client, viewer, execution)["stages"][3]
    assert (stage["name"], stage["status"], stage["message"]) == ("Approval", "Succeeded", "approved by approver")
    again = decide(client, log_in("approver"), execution, "approve")
    assert again.status_code == 409
    assert "(approved by approver)" in problem_of(again)["detail"]
    assert client.get(f"{PATH}/deployments/{execution}", headers=viewer).json == answer.json


def test_who_has_not_the_role_is_refused(
    waiting: Waiting, client: FlaskClient, log_in: Callable[[str], Headers], viewer: Headers
) -> None:
    execution = waiting()
    for headers in (viewer, log_in("deployer")):
        for word in ("approve", "reject"):
            answer = decide(client, headers, execution, word)
            assert answer.status_code == 403
            assert "lets Approver decide" in problem_of(answer)["detail"]
    assert decide(client, log_in("admin"), execution, "reject", "not now").json["status"] == "Rejected"
    ended = shown(client, viewer, execution)
    assert (ended["status"], ended["reason"]) == ("Rejected", "rejected by admin: not now")


def test_the_policy_says_how_many_who_and_not_oneself(
    waiting: Waiting, client: FlaskClient, log_in: Callable[[str], Headers], admin: Headers
) -> None:
    policy(client, admin, required=2, roles=["Deployer"], fourEyes=True, timeout="2h")
    execution = waiting(requireApproval=False)
    own = decide(client, log_in("deployer"), execution, "approve")
    assert own.status_code == 403 and "four eyes" in problem_of(own)["detail"]
    first = decide(client, log_in("approver"), execution, "approve")
    assert (first.status_code, first.json["status"], first.json["approvers"]) == (200, "Pending", ["approver"])
    assert decide(client, log_in("approver"), execution, "approve").status_code == 409
    assert decide(client, admin, execution, "approve").json["status"] == "Approved"


def test_it_expires(
    waiting: Waiting, client: FlaskClient, log_in: Callable[[str], Headers], orchestrator: Orchestrator
) -> None:
    execution = waiting()
    assert approvals.expire(orchestrator) == 0
    with orchestrator.database.raw() as connection:
        connection.execute(
            "update stages set due_at = due_at - %(day)s, approval = jsonb_set(approval, '{until}',"
            " to_jsonb((approval->>'until')::timestamptz - %(day)s))"
            " where deployment_id = %(id)s and kind = 'Approval'",
            {"day": timedelta(days=2), "id": execution},
        )
    late = decide(client, log_in("approver"), execution, "approve")
    assert late.status_code == 410 and "It could be decided until" in problem_of(late)["detail"]
    assert approvals.expire(orchestrator) == 1
    assert approvals.expire(orchestrator) == 0
    ended = shown(client, log_in("viewer"), execution)
    assert ended["status"] == "Expired"
    assert decide(client, log_in("approver"), execution, "reject").status_code == 410
    assert client.get(f"{PATH}/deployments/{execution}", headers=log_in("viewer")).json["status"] == "Expired"  # type: ignore[index]


def test_one_that_cannot_be_decided_keeps_no_other_from_expiring(
    waiting: Waiting, client: FlaskClient, viewer: Headers, orchestrator: Orchestrator
) -> None:
    unreadable, held, other = waiting(), waiting(), waiting()
    with orchestrator.database.raw() as connection:
        connection.execute(
            "update stages set due_at = due_at - %(days)s, approval = jsonb_set(approval, '{until}',"
            " to_jsonb((approval->>'until')::timestamptz - %(days)s)) where kind = 'Approval'",
            {"days": timedelta(days=2)},
        )
        connection.execute(
            "update deployments set policy = policy || %s where id = %s", ('{"scan": {"stopAt": "?"}}', unreadable)
        )
    with orchestrator.database.raw() as somebody:
        somebody.execute("select from deployments where id = %s for update", (held,))
        assert approvals.expire(orchestrator) == 3
    assert shown(client, viewer, other)["status"] == "Expired"
    assert shown(client, viewer, held)["status"] == "PendingApproval"
    approvals.expire(orchestrator)
    assert shown(client, viewer, held)["status"] == "Expired"


def test_without_roles_nobody_decides(
    waiting: Waiting,
    client: FlaskClient,
    log_in: Callable[[str], Headers],
    admin: Headers,
    orchestrator: Orchestrator,
) -> None:
    current = client.get("/api/v1/environments/QA", headers=admin)
    empty: list[dict[str, Any]] = [{"required": 0, "roles": []}, {"roles": []}]
    for approvals_ in empty:
        body = {**current.json, "approvals": approvals_}  # type: ignore[dict-item]
        answer = client.put(
            "/api/v1/environments/QA", json=body, headers={**admin, "If-Match": current.headers["ETag"]}
        )
        assert answer.status_code == 400 and problem_of(answer)["errors"].keys() == {"approvals.roles"}
    execution = waiting()
    with orchestrator.database.raw() as connection:
        connection.execute(
            "update stages set approval = jsonb_set(approval, '{roles}', '[]') where deployment_id = %s"
            " and kind = 'Approval'",
            (execution,),
        )
    for headers in (log_in("viewer"), log_in("deployer"), admin):
        for word in ("approve", "reject"):
            refused = decide(client, headers, execution, word)
            assert refused.status_code == 403 and "lets nobody decide" in problem_of(refused)["detail"]
    assert shown(client, admin, execution)["status"] == "PendingApproval"


def test_a_cancelled_one_cannot_be_approved(
    waiting: Waiting, client: FlaskClient, log_in: Callable[[str], Headers], deployer: Headers
) -> None:
    execution = waiting()
    assert client.post(f"/api/v1/deployments/{execution}/cancel", headers=deployer).status_code == 202
    answer = decide(client, log_in("approver"), execution, "approve")
    assert answer.status_code == 409 and "is Cancelled" in problem_of(answer)["detail"]
    assert client.get(f"{PATH}/pending", headers=deployer).json == []


def test_several_at_once_decide_once(
    waiting: Waiting, app: Flask, log_in: Callable[[str], Headers], client: FlaskClient, admin: Headers
) -> None:
    policy(client, admin, required=1, roles=["Approver"])
    for _ in range(5):
        execution = waiting(requireApproval=False)
        people = [log_in("admin"), log_in("approver")]
        codes: list[tuple[str, int]] = []
        start = threading.Barrier(4)

        def answer(headers: Headers, word: str, execution: str = execution, start: threading.Barrier = start) -> None:
            start.wait(30)
            codes.append((word, decide(app.test_client(), headers, execution, word).status_code))  # noqa: B023

        threads = [
            threading.Thread(target=answer, args=(headers, word))
            for headers in people
            for word in ("approve", "reject")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        accepted = [word for word, code in codes if code == 200]
        assert len(accepted) == 1 and sorted(code for _, code in codes) == [200, 409, 409, 409]
        status = client.get(f"{PATH}/deployments/{execution}", headers=admin).json["status"]  # type: ignore[index]
        assert status == {"approve": "Approved", "reject": "Rejected"}[accepted[0]]


def test_what_never_asked_is_404_and_unknown_fields_are_400(
    publish: Publisher, client: FlaskClient, deployer: Headers, log_in: Callable[[str], Headers]
) -> None:
    assert publish(archive()).status_code == 201
    body = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    execution = client.post("/api/v1/deployments", json=body, headers=deployer).json["executionId"]  # type: ignore[index]
    assert client.get(f"{PATH}/deployments/{execution}", headers=deployer).status_code == 404
    assert decide(client, log_in("approver"), execution, "approve").status_code == 409
    assert decide(client, log_in("approver"), str(uuid4()), "approve").status_code == 404
    bad = client.post(
        f"{PATH}/deployments/{execution}/approve", json={"reason": 7, "why": "x"}, headers=log_in("approver")
    )
    assert bad.status_code == 400 and problem_of(bad)["errors"].keys() == {"reason", "why"}


def test_a_dry_run_names_the_gate(publish: Publisher, client: FlaskClient, deployer: Headers) -> None:
    assert publish(archive()).status_code == 201
    body = {
        "moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA", "requireApproval": True,
    }  # fmt: skip
    plan: Any = client.post("/api/v1/deployments?dryRun=true", json=body, headers=deployer).json
    assert {"kind": "approval", "text": "1 of Approver must approve within 24h"} in plan["gates"]


def test_another_try_asks_again(waiting: Waiting, client: FlaskClient, deployer: Headers, admin: Headers) -> None:
    execution = waiting()
    assert decide(client, admin, execution, "reject").status_code == 200
    again: Any = client.post(f"/api/v1/deployments/{execution}/retry", headers=deployer).json
    found = shown(client, deployer, again["executionId"])
    approval = next(stage for stage in found["stages"] if stage["name"] == "Approval")
    assert approval["status"] == "Pending", "a no is not got round by trying again"
