"""Environments: policies as a whole, with ETags."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from agent import signatures
from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

ENVIRONMENTS = "/api/v1/environments"


def test_the_defaults_are_those_of_the_contract(client: FlaskClient, viewer: Headers) -> None:
    listed: Any = client.get(ENVIRONMENTS, headers=viewer).json
    assert [(found["name"], found["order"], found["strategy"]) for found in listed] == [
        ("Development", 1, "direct"),
        ("QA", 2, "rolling"),
        ("Staging", 3, "rolling"),
        ("Production", 4, "rolling"),
    ]
    assert listed[1]["maxUnavailableAtStart"] == "20%" and listed[1]["nodeLostAfter"] == "2m"


def test_a_policy_is_changed_by_who_read_it_last(
    client: FlaskClient, admin: Headers, orchestrator: Orchestrator
) -> None:
    got = client.get(f"{ENVIRONMENTS}/qa", headers=admin)
    body: Any = got.json
    changed = {**body, "maxFailedNodes": 2, "strategy": "blueGreen", "reason": "two may fail"}
    put = client.put(f"{ENVIRONMENTS}/QA", json=changed, headers={**admin, "If-Match": got.headers["ETag"]})
    assert put.status_code == 200, put.text
    after: Any = put.json
    assert (after["maxFailedNodes"], after["strategy"], after["version"]) == (2, "blueGreen", body["version"] + 1)
    assert after["updatedBy"] == "admin" and after["name"] == "QA"

    missing = client.put(f"{ENVIRONMENTS}/QA", json=changed, headers=admin)
    assert missing.status_code == 428
    stale = client.put(f"{ENVIRONMENTS}/QA", json=changed, headers={**admin, "If-Match": got.headers["ETag"]})
    assert stale.status_code == 409
    assert problem_of(stale)["currentVersion"] == after["version"] and stale.headers["ETag"] == put.headers["ETag"]
    for etag in ("3", '"x"', '"-1"', '"99999999999999999999"'):
        answer = client.put(f"{ENVIRONMENTS}/QA", json=changed, headers={**admin, "If-Match": etag})
        assert answer.status_code == 400
        problem_of(answer)
    with psycopg.connect(orchestrator.settings.database_url) as connection:
        row = connection.execute("select changed_by, reason, before, after from environment_changes").fetchone()
    assert row is not None and row[:2] == ("admin", "two may fail")
    assert (row[2]["maxFailedNodes"], row[3]["maxFailedNodes"]) == (0, 2)


def test_an_environment_that_is_known_already_is_304(client: FlaskClient, viewer: Headers) -> None:
    path = f"{ENVIRONMENTS}/QA"
    etag = client.get(path, headers=viewer).headers["ETag"]
    for known in (etag, f'"x", W/{etag}', "*"):
        answer = client.get(path, headers={**viewer, "If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", etag), known
    for other in ('"x"', etag.strip('"') * 9):
        assert client.get(path, headers={**viewer, "If-None-Match": other}).status_code == 200


def test_an_environment_is_made_and_removed(
    client: FlaskClient, admin: Headers, deployer: Headers, publish: Publisher
) -> None:
    made = client.put(f"{ENVIRONMENTS}/Canary Lab", json={"strategy": "direct", "order": 9}, headers=admin)
    assert made.status_code == 201 and made.headers["ETag"] == '"1"', made.text
    assert client.get(f"{ENVIRONMENTS}/canary lab", headers=admin).json["order"] == 9  # type: ignore[index]
    assert client.delete(f"{ENVIRONMENTS}/Canary Lab", headers=admin).status_code == 204
    assert client.get(f"{ENVIRONMENTS}/Canary Lab", headers=admin).status_code == 404
    publish(archive())
    submission = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    assert client.post("/api/v1/deployments", json=submission, headers=deployer).status_code == 202
    used = client.delete(f"{ENVIRONMENTS}/QA", headers=admin)
    assert used.status_code == 409
    problem_of(used)
    assert client.delete(f"{ENVIRONMENTS}/nowhere", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"strategy": "hope", "maxConcurrentNodes": 0, "typo": 1}, {"strategy", "maxConcurrentNodes", "typo"}),
        ({"order": "first", "reason": 5, "rolling": {"batch": "0%"}}, {"order", "reason", "rolling.batch"}),
        ({"nodeLostAfter": "1s", "unavailableAfter": "10s"}, {"nodeLostAfter"}),
        ({"name": "Production"}, {"name"}),
        ({"canary": {"by": "a\x00"}}, {"canary.by"}),
        ({"reason": "x" * 10_000}, {"reason"}),
        ([], {"body"}),
    ],
)
def test_bad_policies_name_every_field(client: FlaskClient, admin: Headers, body: Any, fields: set[str]) -> None:
    answer = client.put(f"{ENVIRONMENTS}/QA", json=body, headers={**admin, "If-Match": "*"})
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == fields


def test_bad_names(client: FlaskClient, admin: Headers) -> None:
    for name in ("-x", "x" * 63, "a.b", "%00", "\u00e4"):
        answer = client.put(f"{ENVIRONMENTS}/{name}", json={}, headers=admin)
        assert answer.status_code in (400, 404), name
        problem_of(answer)


def test_keys_are_trusted_by_environment(client: FlaskClient, admin: Headers, viewer: Headers) -> None:
    key = signatures.generate().public_key()
    pem, identity = signatures.public_pem(key).decode(), signatures.key_id(key)
    made = client.post("/api/v1/keys", json={"publicKey": pem, "environment": "qa", "name": "team"}, headers=admin)
    assert made.status_code == 201 and made.json["environment"] == "QA"  # type: ignore[index]
    again = client.post("/api/v1/keys", json={"publicKey": pem, "environment": "QA"}, headers=admin)
    assert again.status_code == 409
    assert client.post("/api/v1/keys", json={"publicKey": pem}, headers=admin).status_code == 201
    listed: Any = client.get("/api/v1/keys", headers=viewer).json
    assert [(found["keyId"], found["environment"]) for found in listed][:2] == [(identity, None), (identity, "QA")]
    bad = client.post("/api/v1/keys", json={"publicKey": "ssh-ed25519 AAAA", "environment": "Nowhere"}, headers=admin)
    assert bad.status_code == 400 and problem_of(bad)["errors"].keys() == {"publicKey", "environment"}
    assert client.delete(f"/api/v1/keys/{identity}", headers=admin).status_code == 204
    assert client.delete(f"/api/v1/keys/{identity}", headers=admin).status_code == 404


def test_a_predecessor_must_exist_and_a_freeze_must_be_one(client: FlaskClient, admin: Headers) -> None:
    current = client.get("/api/v1/environments/QA", headers=admin)
    changes = {
        "predecessors": [{"environment": "Nowhere"}],
        "freeze": [{"rrule": "garbage", "timezone": "Mars/X", "duration": "1h"}],
    }

    def put(**changed: Any) -> Any:
        headers = {**admin, "If-Match": current.headers["ETag"]}
        return client.put("/api/v1/environments/QA", json={**current.json, **changed}, headers=headers)  # type: ignore[dict-item]

    named = {"freeze.0.rrule", "freeze.0.timezone", "predecessors.0.environment"}
    assert put(**changes).json["errors"].keys() == named
    assert put(predecessors=changes["predecessors"]).json["errors"].keys() == {"predecessors.0.environment"}
    assert put(predecessors=[{"environment": "staging"}]).status_code == 200


def test_every_bad_field_is_named_whichever_part_of_us_finds_it(client: FlaskClient, admin: Headers) -> None:
    policy = {
        "strategy": "magic",
        "freeze": [{"rrule": "bad"}],
        "predecessors": [{"environment": "Nowhere", "atLeast": "x"}, {"environment": "qa"}],
        "nodeLostAfter": "1s",
        "order": "first",
        "reason": 7,
        "name": "another",
        "unheardOf": True,
    }
    refused = client.put(f"{ENVIRONMENTS}/Lab2", json=policy, headers=admin)
    assert problem_of(refused)["errors"].keys() == {
        "strategy", "freeze.0.rrule", "freeze.0.duration", "predecessors.0.environment", "predecessors.0.atLeast",
        "nodeLostAfter", "order", "reason", "name", "unheardOf",
    }  # fmt: skip
    assert client.get(f"{ENVIRONMENTS}/Lab2", headers=admin).status_code == 404


def test_a_name_that_no_environment_can_have_is_unknown(client: FlaskClient, admin: Headers) -> None:
    body = {"predecessors": [{"environment": "a\nb"}, {"environment": "lab3"}]}
    named = problem_of(client.put(f"{ENVIRONMENTS}/Lab3", json=body, headers=admin))["errors"]
    assert named.keys() == {"predecessors.0.environment", "predecessors.1.environment"}


def test_every_bad_field_of_a_key_is_named(client: FlaskClient, admin: Headers) -> None:
    refused = client.post("/api/v1/keys", json={"publicKey": "x", "environment": "Nope", "q": 1}, headers=admin)
    assert problem_of(refused)["errors"].keys() == {"publicKey", "environment", "q"}
