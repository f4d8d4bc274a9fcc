"""Policies of single modules: edited with ETags, used by every new deployment, in step with the environment's own."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.orchestrator import repairing
from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of
from tests.integration.api.test_nodes import add_nodes

POLICY = "/api/v1/modules/payment-processor/policy/QA"
ENVIRONMENT = "/api/v1/environments/QA"


@pytest.fixture(autouse=True)
def _published(publish: Publisher) -> None:
    assert publish(archive()).status_code == 201


def put_environment(client: FlaskClient, admin: Headers, **changes: Any) -> Any:
    body: Any = client.get(ENVIRONMENT, headers=admin).json
    return client.put(ENVIRONMENT, json={**body, **changes}, headers={**admin, "If-Match": "*"})


def sql(orchestrator: Orchestrator, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        done = connection.execute(query.encode(), values)
        return done.fetchall() if done.description else []


def test_overrides_are_made_shown_changed_and_removed(
    client: FlaskClient, admin: Headers, viewer: Headers, orchestrator: Orchestrator
) -> None:
    none = client.get(POLICY, headers=viewer)
    body: Any = none.json
    assert none.headers["ETag"] == '"0"' and body["version"] == 0 and body["overrides"] == {}
    assert body["effective"]["strategy"] == "rolling" and body["updatedBy"] is None

    made = client.put(POLICY, json={"strategy": "Direct", "reason": "one node only"}, headers=admin)
    assert made.status_code == 201 and made.headers["ETag"] == '"1"', made.text
    shown: Any = client.get(POLICY.replace("QA", "qa"), headers=viewer).json
    assert shown == made.json
    assert shown["overrides"] == {"strategy": "direct"} and shown["environment"] == "QA"
    assert shown["effective"]["strategy"] == "direct" and shown["effective"]["maxConcurrentNodes"] == 10
    assert (shown["updatedBy"], shown["reason"]) == ("admin", "one node only")

    assert client.put(POLICY, json={}, headers=admin).status_code == 428
    stale = client.put(POLICY, json={}, headers={**admin, "If-Match": '"0"'})
    assert stale.status_code == 409 and problem_of(stale)["currentVersion"] == 1
    changed = client.put(POLICY, json={"maxFailedNodes": 3}, headers={**admin, "If-Match": '"1"'})
    assert changed.status_code == 200 and changed.headers["ETag"] == '"2"'
    assert changed.json["overrides"] == {"maxFailedNodes": 3}  # type: ignore[index]

    assert client.delete(POLICY, headers={**admin, "If-Match": '"1"'}).status_code == 409
    assert client.delete(f"{POLICY}?reason=done", headers={**admin, "If-Match": '"2"'}).status_code == 204
    assert client.delete(POLICY, headers=admin).status_code == 404
    gone = client.put(POLICY, json={}, headers={**admin, "If-Match": '"2"'})
    assert gone.status_code == 409 and problem_of(gone)["currentVersion"] == 0
    again = client.put(POLICY, json={"maxFailedNodes": 4}, headers=admin)
    # An ETag of the removed ones fits none that come later.
    assert again.status_code == 201 and again.headers["ETag"] == '"3"'

    rows = sql(
        orchestrator,
        "select version, before, after, reason, changed_by from module_policy_changes order by changed_at",
    )
    assert rows == [
        (1, None, {"strategy": "direct"}, "one node only", "admin"),
        (2, {"strategy": "direct"}, {"maxFailedNodes": 3}, None, "admin"),
        (2, {"maxFailedNodes": 3}, None, "done", "admin"),
        (3, None, {"maxFailedNodes": 4}, None, "admin"),
    ]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"strategy": "hope", "typo": 1}, {"strategy", "typo"}),
        ({"locked": [], "overtaken": "run"}, {"locked", "overtaken"}),
        ({"nodeLostAfter": "1s", "reason": 5}, {"nodeLostAfter", "reason"}),
        ({"rolling": {"batch": None}, "order": 1, "name": "QA"}, {"rolling.batch", "order", "name"}),
        ({"canary": {"by": "a\x00"}}, {"canary.by"}),
        ([], {"body"}),
    ],
)
def test_bad_overrides_name_every_field(client: FlaskClient, admin: Headers, body: Any, fields: set[str]) -> None:
    assert put_environment(client, admin, locked=["overtaken"]).status_code == 200
    answer = client.put(POLICY, json=body, headers=admin)
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == fields
    assert client.get(POLICY, headers=admin).json["version"] == 0  # type: ignore[index]


def test_what_does_not_exist_is_404(client: FlaskClient, admin: Headers) -> None:
    for path in (POLICY.replace("QA", "Mars"), POLICY.replace("payment-processor", "none")):
        for answer in (
            client.get(path, headers=admin),
            client.put(path, json={}, headers=admin),
            client.delete(path, headers=admin),
        ):
            assert answer.status_code == 404
            problem_of(answer)


def test_a_lock_makes_an_override_count_for_nothing_while_it_lasts(client: FlaskClient, admin: Headers) -> None:
    assert client.put(POLICY, json={"strategy": "direct", "maxFailedNodes": 3}, headers=admin).status_code == 201
    assert put_environment(client, admin, locked=["strategy"]).status_code == 200
    shown: Any = client.get(POLICY, headers=admin).json
    assert (shown["locked"], shown["ignored"]) == (["strategy"], ["strategy"])
    assert shown["overrides"]["strategy"] == "direct"
    assert shown["effective"]["strategy"] == "rolling" and shown["effective"]["maxFailedNodes"] == 3
    assert put_environment(client, admin, locked=[]).status_code == 200
    assert client.get(POLICY, headers=admin).json["effective"]["strategy"] == "direct"  # type: ignore[index]


def test_an_environment_whose_new_policy_contradicts_an_override_is_refused(
    client: FlaskClient, admin: Headers, publish: Publisher
) -> None:
    """Nobody's next deployment is to fail for it: it is told to who makes the change, who can also lock the field."""
    assert publish(archive(name="other"), name="other").status_code == 201
    for path in (POLICY, POLICY.replace("payment-processor", "other")):
        assert client.put(path, json={"unavailableAfter": "90s"}, headers=admin).status_code == 201
    answer = put_environment(client, admin, nodeLostAfter="30s")
    assert answer.status_code == 400
    told = problem_of(answer)["errors"]["nodeLostAfter"]
    assert len(told) == 2 and "payment-processor" in told[1] and "other" in told[0]
    assert client.get(ENVIRONMENT, headers=admin).json["nodeLostAfter"] == "2m"  # type: ignore[index]
    locked = put_environment(client, admin, nodeLostAfter="30s", locked=["unavailableAfter"])
    assert locked.status_code == 200, locked.text
    # Unlocked, it would contradict again.
    assert put_environment(client, admin, locked=[]).status_code == 400


def test_deployments_take_and_freeze_what_holds_for_the_module(
    client: FlaskClient, admin: Headers, deployer: Headers, orchestrator: Orchestrator
) -> None:
    def frozen(execution: str) -> dict[str, Any]:
        found: dict[str, Any] = sql(orchestrator, "select policy from deployments where id = %s", execution)[0][0]
        return found

    def policy(**overrides: Any) -> None:
        assert client.put(POLICY, json=overrides, headers={**admin, "If-Match": "*"}).status_code in (200, 201)

    submission = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "qa"}
    policy(strategy="direct", maxConcurrentNodes=3, approvals={"required": 2})
    plan: Any = client.post("/api/v1/deployments?dryRun=true", json=submission, headers=deployer).json
    assert plan["strategy"] == "direct" and plan["gates"][0]["kind"] == "approval"
    assert plan["gates"][0]["text"].startswith("2 of Approver")
    accepted: Any = client.post("/api/v1/deployments", json=submission, headers=deployer).json
    policy(strategy="rolling", maxConcurrentNodes=4)
    first = frozen(accepted["executionId"])
    assert (first["strategy"], first["maxConcurrentNodes"], first["approvals"]["required"]) == ("direct", 3, 2)

    url = f"/api/v1/deployments/{accepted['executionId']}"
    assert client.post(f"{url}/cancel", headers=deployer).status_code == 202
    again: Any = client.post(f"{url}/retry", headers=deployer).json
    assert frozen(again["executionId"])["maxConcurrentNodes"] == 4
    back: Any = client.post(f"{url}/rollback", headers=deployer).json
    taken = frozen(back["rollbackId"])
    assert (taken["maxConcurrentNodes"], taken["strategy"]) == (4, "direct")
    elsewhere: Any = client.post(
        "/api/v1/deployments", json={**submission, "targetEnvironment": "Staging"}, headers=deployer
    ).json
    assert frozen(elsewhere["executionId"])["maxConcurrentNodes"] == 10


def test_repairs_take_what_holds_for_the_module(
    client: FlaskClient, admin: Headers, orchestrator: Orchestrator
) -> None:
    assert client.put(POLICY, json={"nodeLostAfter": "7m"}, headers=admin).status_code == 201
    (node,) = add_nodes(orchestrator, 1)
    sql(
        orchestrator,
        "insert into desired_releases (node_id, module_id, tenant_id, digest, version, fencing_token, deployment_id)"
        " select %s, id, tenant_id, 'sha256:00', '0.9.0', 1, %s from modules",
        node,
        UUID(int=1),
    )
    assert repairing.repair(orchestrator) == 1
    (row,) = sql(orchestrator, "select requested_by, policy from deployments")
    assert (row[0], row[1]["nodeLostAfter"], row[1]["onNodeLost"]) == ("system", "7m", "continue")


def test_an_environment_takes_its_overrides_with_it(client: FlaskClient, admin: Headers) -> None:
    assert client.put("/api/v1/environments/Lab", json={}, headers=admin).status_code == 201
    lab = POLICY.replace("QA", "Lab")
    assert client.put(lab, json={"strategy": "direct"}, headers=admin).status_code == 201
    assert client.delete("/api/v1/environments/Lab", headers=admin).status_code == 204
    assert client.get(lab, headers=admin).status_code == 404


def test_two_who_edit_at_once_never_make_a_contradiction(app: Flask, admin: Headers) -> None:
    """One changes the environment, one the module, each in a way that the other forbids: exactly one of them may."""
    client = app.test_client()
    for _ in range(5):
        assert put_environment(client, admin, nodeLostAfter="2m").status_code == 200
        client.delete(POLICY, headers=admin)
        statuses: dict[str, int] = {}
        start = threading.Barrier(2)

        def environment(statuses: dict[str, int] = statuses, start: threading.Barrier = start) -> None:
            with app.test_client() as mine:
                start.wait()
                statuses["environment"] = put_environment(mine, admin, nodeLostAfter="30s").status_code

        def module(statuses: dict[str, int] = statuses, start: threading.Barrier = start) -> None:
            with app.test_client() as mine:
                start.wait()
                statuses["module"] = mine.put(POLICY, json={"unavailableAfter": "90s"}, headers=admin).status_code

        threads = [threading.Thread(target=environment), threading.Thread(target=module)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses.values()) in ([200, 400], [201, 400]), statuses
        assert client.get(POLICY, headers=admin).status_code == 200
