"""Submitting deployments and looking at them; what each bad request gets."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from flask.testing import FlaskClient

from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

DEPLOYMENTS = "/api/v1/deployments"
STAGES = ["Build", "Security Scan", "Test", "Approval", "Deploy to QA", "Validation"]


@pytest.fixture
def published(publish: Publisher) -> Publisher:
    assert publish(archive()).status_code == 201
    return publish


def submission(**changes: Any) -> dict[str, Any]:
    return {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA", **changes}


def submit(client: FlaskClient, headers: Headers, body: Any = None, **more: str) -> Any:
    return client.post(DEPLOYMENTS, json=submission() if body is None else body, headers={**headers, **more})


def test_a_deployment_is_accepted_and_shown(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = submit(client, deployer, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert answer.status_code == 202, answer.text
    body = answer.json
    assert body["traceId"] == trace == answer.headers["X-Trace-Id"]
    assert body["links"]["trace"] is None  # nobody said where traces are looked at
    assert answer.headers["Location"] == body["links"]["self"] == f"{DEPLOYMENTS}/{body['executionId']}"
    shown: Any = client.get(answer.headers["Location"], headers=deployer).json
    assert [stage["name"] for stage in shown["stages"]] == STAGES
    assert shown["requestedBy"] == "deployer" and shown["targetEnvironment"] == "QA"
    assert shown["traceId"] == trace and shown["metadata"] == {}
    listed: Any = client.get(DEPLOYMENTS, headers=deployer).json
    assert [row["executionId"] for row in listed] == [body["executionId"]]
    events: Any = client.get(body["links"]["events"], headers=deployer).json
    assert [event["id"] for event in events] == list(range(len(events), 0, -1))
    assert events[-1]["type"] == "deployment.submitted"


def test_the_environment_is_named_in_any_case(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    answer = submit(client, deployer, submission(targetEnvironment="qa"))
    assert answer.status_code == 202
    assert client.get(answer.headers["Location"], headers=deployer).json["targetEnvironment"] == "QA"  # type: ignore[index]


def test_an_idempotency_key_accepts_once(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    key = {"Idempotency-Key": "build-17"}
    first, second = submit(client, deployer, **key), submit(client, deployer, **key)
    assert first.status_code == second.status_code == 202
    assert first.json["executionId"] == second.json["executionId"]
    reordered = dict(reversed(submission().items()))
    assert submit(client, deployer, reordered, **key).json["executionId"] == first.json["executionId"]
    other = submit(client, deployer, submission(force=True), **key)
    assert other.status_code == 409
    problem_of(other)
    for bad in ("", "x" * 256, "\u00e9"):
        answer = submit(client, deployer, **{"Idempotency-Key": bad})
        assert answer.status_code == 400 and "Idempotency-Key" in problem_of(answer)["errors"]
        headers = {**deployer, "Idempotency-Key": bad}
        dry = client.post(f"{DEPLOYMENTS}?dryRun=true", json=submission(), headers=headers)
        assert dry.status_code == 400 and problem_of(dry)["errors"] == problem_of(answer)["errors"]
    assert len(client.get(DEPLOYMENTS, headers=deployer).json) == 1  # type: ignore[arg-type]


def test_a_dry_run_changes_nothing(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    answer = client.post(f"{DEPLOYMENTS}?dryRun=true", json=submission(), headers=deployer)
    assert answer.status_code == 200, answer.text
    assert len(answer.json["stages"]) == 6  # type: ignore[index]
    assert client.get(DEPLOYMENTS, headers=deployer).json == []


def test_a_parameter_given_twice_is_refused(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    body = submission(version="one")
    answer = client.post(f"{DEPLOYMENTS}?dryRun=false&dryRun=true", json=body, headers=deployer)
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == {"dryRun", "version"}
    listed = client.get(f"{DEPLOYMENTS}?limit=1&limit=2", headers=deployer)
    assert listed.status_code == 400 and problem_of(listed)["errors"] == {"limit": ["is given more than once"]}


def test_every_bad_field_is_named_at_once(client: FlaskClient, deployer: Headers) -> None:
    body = {
        "moduleName": "Not A Name",
        "version": "one",
        "targetEnvironment": "Nowhere",
        "requesterEmail": "nobody",
        "requireApproval": "yes",
        "description": "x" * 1001,
        "metadata": {"": "x", "long": "y" * 501},
        "strategy": "hope",
        "notBefore": "tomorrow",
        "force": 1,
        "unknown": None,
    }
    answer = submit(client, deployer, body)
    assert answer.status_code == 400
    errors = problem_of(answer)["errors"]
    assert errors.keys() >= body.keys() - {"metadata"} and any(field.startswith("metadata") for field in errors)


@pytest.mark.parametrize(
    "body",
    [
        submission(moduleName=None),
        submission(moduleName=["payment-processor"]),
        submission(version=1.0),
        submission(targetEnvironment={"name": "QA"}),
        submission(description="a\x00b"),
        submission(description="\udfff"),
        submission(metadata={"a\x00": "b"}),
        submission(metadata={"a": "b\x00"}),
        submission(metadata={str(number): "x" for number in range(51)}),
        submission(metadata="x"),
        submission(version="1.0.0-" + "x" * 10_000),
        submission(moduleName="x" * 10_000),
        submission(targetEnvironment="x" * 10_000),
        submission(requesterEmail="x" * 10_000 + "@example.com"),
        submission(notBefore="0001-01-01T00:00:00+14:00"),
        submission(notBefore=12),
        [],
        [submission()],
        "text",
        17,
    ],
)
def test_bad_submissions_are_400(client: FlaskClient, deployer: Headers, body: Any) -> None:
    answer = submit(client, deployer, body)
    assert answer.status_code == 400
    problem_of(answer)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"description": ' * 60 + b"1" + b"}" * 60, "application/json", 400),
        (b"moduleName=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"<a/>", "application/xml", 415),
        (b"x" * (300 * 1024), "application/json", 413),
    ],
)
def test_bad_bodies(client: FlaskClient, deployer: Headers, content: bytes, content_type: str, status: int) -> None:
    answer = client.post(DEPLOYMENTS, data=content, content_type=content_type, headers=deployer)
    assert answer.status_code == status
    body = problem_of(answer)
    if status == 413:
        assert body["detail"] == "The body is larger than 262144 bytes."


def test_no_such_release_is_404(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    for body in (submission(version="9.9.9"), submission(moduleName="unknown-module")):
        answer = submit(client, deployer, body)
        assert answer.status_code == 404
        problem_of(answer)


@pytest.mark.parametrize("changes", [{"strategy": "canary"}, {"strategy": "blueGreen"}])
def test_what_this_version_cannot_do_is_400_and_named(
    published: Publisher, client: FlaskClient, deployer: Headers, changes: dict[str, Any]
) -> None:
    answer = submit(client, deployer, submission(**changes))
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == changes.keys()


@pytest.mark.parametrize("strategy", ["canary", "blueGreen"])
def test_what_this_version_cannot_do_is_named_beside_other_bad_fields(
    published: Publisher, client: FlaskClient, deployer: Headers, strategy: str
) -> None:
    alone = submit(client, deployer, submission(strategy=strategy))
    answer = submit(client, deployer, submission(strategy=strategy, version="one", force=1))
    assert answer.status_code == 400
    errors = problem_of(answer)["errors"]
    assert errors.keys() == {"strategy", "version", "force"}
    assert problem_of(alone)["errors"].items() <= errors.items()


def test_lists_are_filtered_and_paged(published: Publisher, client: FlaskClient, log_in: Any) -> None:
    ids = []
    for number in range(5):
        answer = submit(client, log_in("admin" if number % 2 else "deployer"), submission(force=True))
        ids.append(answer.json["executionId"])
    viewer = log_in("viewer")

    def pages(query: str) -> list[str]:
        seen: list[str] = []
        url: str | None = f"{DEPLOYMENTS}?limit=2&{query}"
        while url:
            answer = client.get(url, headers=viewer)
            assert answer.status_code == 200, answer.text
            page: Any = answer.json
            seen += [row["executionId"] for row in page]
            link = answer.headers.get("Link")
            url = link[1 : link.index(">")] if link else None
        return seen

    newest_first = ids[::-1]
    assert pages("") == newest_first
    assert pages("module=payment-processor&environment=qa") == newest_first
    assert pages("requester=admin") == [ids[3], ids[1]]
    assert pages("status=succeeded") == []
    assert pages("module=other-module") == [] and pages("environment=Nowhere") == []
    bad = ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=zz", "status=Lost", "nonsense=1"]
    for query in (*bad, "module=" + "x" * 10_000):
        answer = client.get(f"{DEPLOYMENTS}?{query}", headers=viewer)
        assert answer.status_code == 400, query
        problem_of(answer)


def test_requests_to_one_under_way(published: Publisher, client: FlaskClient, deployer: Headers) -> None:
    location = submit(client, deployer).headers["Location"]
    for action in ("pause", "resume", "promote", "rollback"):
        answer = client.post(f"{location}/{action}", headers=deployer)
        assert answer.status_code == 409, action
        problem_of(answer)
    bad = client.post(f"{location}/cancel", json={"rollback": "no"}, headers=deployer)
    assert bad.status_code == 400
    cancelled = client.post(f"{location}/cancel", headers=deployer)
    assert (cancelled.status_code, cancelled.json["status"]) == (202, "Cancelled")  # type: ignore[index]
    assert client.post(f"{location}/cancel", json={}, headers=deployer).status_code == 409
    shown: Any = client.get(location, headers=deployer).json
    assert shown["status"] == "Cancelled" and shown["endTime"]
    retried = client.post(f"{location}/retry", headers=deployer)
    assert retried.status_code == 202
    again: Any = client.get(retried.headers["Location"], headers=deployer).json
    assert again["retryOf"] == shown["executionId"]


def test_unknown_deployments_are_404(client: FlaskClient, deployer: Headers) -> None:
    for path in ("", "/nodes", "/events", "/stages/Build/log"):
        for identity in (str(uuid4()), "17"):
            answer = client.get(f"{DEPLOYMENTS}/{identity}{path}", headers=deployer)
            assert answer.status_code == 404
            assert "spelling" not in problem_of(answer)["detail"]
    for action in ("cancel", "pause", "resume", "promote", "retry", "rollback"):
        answer = client.post(f"{DEPLOYMENTS}/{uuid4()}/{action}", headers=deployer)
        assert answer.status_code == 404
        problem_of(answer)


def test_another_tenants_deployment_is_404(
    published: Publisher, client: FlaskClient, deployer: Headers, orchestrator: Orchestrator
) -> None:
    location = submit(client, deployer).headers["Location"]
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        other = uuid4()
        connection.execute("insert into tenants (id, name) values (%s, %s)", (other, str(other)))
        connection.execute("update deployments set tenant_id = %s", (other,))
    for path in ("", "/nodes", "/events"):
        assert client.get(location + path, headers=deployer).status_code == 404
    assert client.get(DEPLOYMENTS, headers=deployer).json == []
    assert client.post(f"{location}/cancel", headers=deployer).status_code == 404


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"version": ' + "1" * 5000 + "}", "is not JSON: a number has more than 1000 digits"),
        ('{"version": NaN}', "is not JSON: NaN is not a number"),
        ('{"version"', "is not JSON: "),
    ],
)
def test_a_body_that_is_no_json_object_is_told_in_our_words(
    client: FlaskClient, deployer: Headers, content: str, said: str
) -> None:
    answer = client.post(DEPLOYMENTS, data=content, headers={**deployer, "Content-Type": "application/json"})
    assert answer.status_code == 400
    (message,) = problem_of(answer)["errors"]["body"]
    assert message.startswith(said) and "sys." not in message
