"""API tokens: what they may, whose they are, when they end, and what is kept of them."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.api import streaming
from app.api.dependencies import Dependencies
from app.infrastructure.db.engine import Database
from app.orchestrator import api_tokens
from app.orchestrator.context import Orchestrator
from app.orchestrator.token_use import TokenUse
from deploy.local.ports import free_ports
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

TOKENS = "/api/v1/authentication/tokens"
ME = "/api/v1/authentication/me"
PATIENCE = 30.0


@pytest.fixture
def database(orchestrator: Orchestrator) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        yield connection


def bearer(made: dict[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {made['token']}"}


def create(client: FlaskClient, headers: Headers, name: str = "ci", **more: Any) -> dict[str, Any]:
    answer = client.post(TOKENS, json={"name": name, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json  # type: ignore[assignment]
    assert answer.headers["Location"] == f"{TOKENS}/{made['id']}"
    return made


def test_a_tokens_life(
    client: FlaskClient, deployer: Headers, database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    made = create(client, deployer)
    assert made["roles"] == ["Deployer"] and made["expiresAt"] is made["lastUsedAt"] is None
    assert made["token"].startswith(made["prefix"]) and len(made["prefix"]) == 11
    listed: Any = client.get(TOKENS, headers=deployer).json
    assert listed == [{key: value for key, value in made.items() if key != "token"}]
    row: Any = database.execute("select * from api_tokens").fetchone()
    assert hashlib.sha256(made["token"].encode()).digest() in row
    assert made["token"] not in str(row), "only the hash is kept"
    me: Any = client.get(ME, headers=bearer(made)).json
    assert (me["username"], me["roles"]) == ("deployer", ["Deployer"])
    assert me["token"] == {"id": made["id"], "name": "ci", "expiresAt": None}
    taken = client.post(TOKENS, json={"name": "ci"}, headers=deployer)
    assert taken.status_code == 409 and "ci" in problem_of(taken)["detail"]
    assert client.delete(f"{TOKENS}/{made['id']}", headers=deployer).status_code == 204
    revoked = client.get(ME, headers=bearer(made))
    assert revoked.status_code == 401 and "revoked" in problem_of(revoked)["detail"]
    assert revoked.headers["WWW-Authenticate"] == "Bearer"
    assert client.get(TOKENS, headers=deployer).json == []
    assert client.delete(f"{TOKENS}/{made['id']}", headers=deployer).status_code == 404
    create(client, deployer)


def test_what_a_build_server_does(client: FlaskClient, deployer: Headers, signing_key: Any) -> None:
    token = bearer(create(client, deployer))
    assert Publisher(client, token, signing_key)(archive()).status_code == 201
    submission = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    accepted = client.post(
        "/api/v1/deployments", json=submission, headers={**token, "Idempotency-Key": "build-7"}
    )
    assert accepted.status_code == 202, accepted.text
    shown: Any = client.get(accepted.headers["Location"], headers=token).json
    assert (shown["requestedBy"], shown["requestedWith"]) == ("deployer", "ci")
    assert client.get(f"{accepted.headers['Location']}/events", headers=token).status_code == 200


@pytest.mark.parametrize("by", ["token", "session"])
def test_a_stream_ends_with_what_opened_it(
    client: FlaskClient, deployer: Headers, publish: Publisher, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(streaming, "AUTHENTICATED_SECONDS", 0.0)
    assert publish(archive()).status_code == 201
    submission = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    accepted = client.post("/api/v1/deployments", json=submission, headers=deployer)
    made = create(client, deployer)
    headers = bearer(made) if by == "token" else deployer
    stream = client.get(
        f"{accepted.headers['Location']}/events", headers={**headers, "Accept": "text/event-stream"}, buffered=False
    )
    frames = stream.iter_encoded()
    assert b"deployment.submitted" in next(frames) + next(frames)
    if by == "token":
        assert client.delete(f"{TOKENS}/{made['id']}", headers=deployer).status_code == 204
    else:
        assert client.post("/api/v1/authentication/logout", headers=deployer).status_code == 204
    assert list(frames) == []
    stream.close()


def test_roles_are_at_most_the_owners_own(client: FlaskClient, log_in: Callable[[str], Headers]) -> None:
    for username in ("viewer", "deployer", "approver", "admin"):
        made = create(client, log_in(username))
        assert made["roles"] == ["Viewer" if username == "viewer" else "Deployer"]
    assert create(client, log_in("approver"), "more", roles=["approver"])["roles"] == ["Approver"]
    for username, roles in (("viewer", ["Deployer"]), ("deployer", ["Viewer", "Admin"]), ("approver", ["Admin"])):
        answer = client.post(TOKENS, json={"name": "too-much", "roles": roles}, headers=log_in(username))
        assert answer.status_code == 400 and problem_of(answer)["errors"].keys() == {"roles"}


def test_a_token_begets_nothing(client: FlaskClient, admin: Headers) -> None:
    token = bearer(create(client, admin, roles=["Admin"]))
    me: Any = client.get(ME, headers=token).json
    password = {"password": "another-long-one"}
    user = {"username": "anna", "email": "a@x.example", "fullName": "A", "roles": ["Admin"], **password}
    (viewer,) = client.get("/api/v1/users?username=viewer", headers=admin).json  # type: ignore[misc]
    theirs = f"/api/v1/users/{viewer['id']}"
    sibling = create(client, admin, "sibling")
    for answer in (
        client.delete(f"{TOKENS}/{sibling['id']}", headers=token),
        client.delete(f"{TOKENS}/{sibling['id']}?user=admin", headers=token),
        client.patch(theirs, json={"roles": ["Admin"]}, headers=token),
        client.patch(theirs, json={"email": "mine@x.example", "disabled": False}, headers=token),
        client.patch(f"/api/v1/users/{me['id']}", json={"disabled": True}, headers=token),
        client.delete(theirs, headers=token),
        client.post(TOKENS, json={"name": "child"}, headers=token),
        client.post("/api/v1/users", json=user, headers=token),
        client.patch(f"/api/v1/users/{me['id']}", json=password, headers=token),
        client.post("/api/v1/authentication/password", json={**password, "currentPassword": "x"}, headers=token),
    ):
        assert answer.status_code == 403, answer.text
        assert "An API token cannot" in problem_of(answer)["detail"]
    assert client.get("/api/v1/users?username=viewer", headers=token).json == [viewer], "nothing of it was done"
    assert client.get(ME, headers=bearer(sibling)).status_code == 200
    named = client.patch(theirs, json={"fullName": viewer["fullName"] or "V"}, headers=token)
    assert named.status_code == 200, "what gives nobody a right is an Admin's business as ever"
    ended = client.post("/api/v1/authentication/logout", headers=token)
    assert ended.status_code == 401 and "revoke it" in problem_of(ended)["detail"]
    assert client.delete(f"{TOKENS}/{me['token']['id']}", headers=token).status_code == 204, "it may end itself"


def test_a_token_is_its_owners_business(client: FlaskClient, log_in: Callable[[str], Headers]) -> None:
    deployer, viewer, admin = log_in("deployer"), log_in("viewer"), log_in("admin")
    made = create(client, deployer)
    path = f"{TOKENS}/{made['id']}"
    for other in (viewer, admin):
        answer = client.delete(path, headers=other)
        assert answer.status_code == 404
        problem_of(answer)
        assert client.get(TOKENS, headers=other).json == []
    for method, target in (("GET", TOKENS), ("DELETE", path)):
        answer = client.open(f"{target}?user=deployer", method=method, headers=viewer)
        assert answer.status_code == 403
        problem_of(answer)
    assert client.get(f"{TOKENS}?user=deployer", headers=deployer).status_code == 200
    listed: Any = client.get(f"{TOKENS}?user=deployer", headers=admin).json
    assert [(token["id"], token["user"]) for token in listed] == [(made["id"], "deployer")]
    for nobody in ("nobody", "01900000-0000-7000-8000-00000000dead"):
        assert client.get(f"{TOKENS}?user={nobody}", headers=admin).status_code == 404
        assert client.delete(f"{path}?user={nobody}", headers=admin).status_code == 404
    assert client.delete(f"{path}?user=viewer", headers=admin).status_code == 404
    owner: Any = client.get(ME, headers=deployer).json
    assert client.delete(f"{path}?user={owner['id']}", headers=admin).status_code == 204
    assert client.get(ME, headers=bearer(made)).status_code == 401


def test_tokens_expire(
    client: FlaskClient, deployer: Headers, database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    dated = create(client, deployer, "dated", expiresAt=tomorrow.isoformat())
    lasting = create(client, deployer, "lasting", expiresIn="90d")
    assert abs(datetime.fromisoformat(dated["expiresAt"]) - tomorrow) < timedelta(seconds=1)
    days = datetime.fromisoformat(lasting["expiresAt"]) - datetime.fromisoformat(lasting["createdAt"])
    assert abs(days - timedelta(days=90)) < timedelta(seconds=60)
    database.execute("update api_tokens set expires_at = hotswap_now() where name = 'dated'")
    expired = client.get(ME, headers=bearer(dated))
    assert expired.status_code == 401 and "expired" in problem_of(expired)["detail"]
    assert client.get(ME, headers=bearer(lasting)).status_code == 200
    listed: Any = client.get(TOKENS, headers=deployer).json
    assert {token["name"]: token["expired"] for token in listed} == {"dated": True, "lasting": False}
    # What has long been over is forgotten when the next one is made, and its name is free.
    database.execute("update api_tokens set expires_at = hotswap_now() - interval '31 days' where name = 'dated'")
    create(client, deployer, "dated")
    assert "not valid" in problem_of(client.get(ME, headers=bearer(dated)))["detail"]


BAD: list[tuple[Any, set[str]]] = [
    ({}, {"name"}),
    ({"name": "", "roles": [], "expiresAt": "soon", "expiresIn": "long", "more": 1},
     {"name", "roles", "expiresAt", "expiresIn", "more"}),
    ({"name": 1, "roles": "Admin", "expiresAt": 1, "expiresIn": 90}, {"name", "roles", "expiresAt", "expiresIn"}),
    ({"name": "x" * 101, "roles": ["Root"]}, {"name", "roles.0"}),
    ({"name": " "}, {"name"}),
    ({"name": "a\nb"}, {"name"}),
    ({"name": "a\u202eb"}, {"name"}),
    ({"name": "a\x00"}, {"name"}),
    ({"name": "my hs_" + "x" * 43}, {"name"}),
    ({"name": "a", "roles": ["Admin"], "expiresIn": "x"}, {"roles", "expiresIn"}),
    ({"name": "a", "expiresAt": "2020-01-01T00:00:00Z"}, {"expiresAt"}),
    ({"name": "a", "expiresAt": "9999-01-01T00:00:00Z"}, {"expiresAt"}),
    ({"name": "a", "expiresIn": "0s"}, {"expiresIn"}),
    ({"name": "a", "expiresIn": "-1d"}, {"expiresIn"}),
    ({"name": "a", "expiresIn": "99999d"}, {"expiresIn"}),
    ({"name": "a", "expiresIn": "9" * 400 + "d"}, {"expiresIn"}),
    ({"name": "a", "expiresIn": "1d", "expiresAt": "2199-01-01T00:00:00Z"}, {"expiresIn", "expiresAt"}),
    ([], {"body"}),
]  # fmt: skip


def test_bad_tokens_name_every_field(client: FlaskClient, deployer: Headers) -> None:
    for body, fields in BAD:
        answer = client.post(TOKENS, json=body, headers=deployer)
        assert answer.status_code == 400, (body, answer.text)
        assert problem_of(answer)["errors"].keys() == fields, body
    for query in ("limit=0", "cursor=x", "user=", "what=1", "user=%00"):
        assert client.get(f"{TOKENS}?{query}", headers=deployer).status_code == 400, query
    for identity in ("x", "%00", "hs_" + "x" * 43):
        assert client.delete(f"{TOKENS}/{identity}", headers=deployer).status_code == 404


def test_bearers_that_are_no_token(client: FlaskClient, deployer: Headers) -> None:
    token = create(client, deployer)["token"]
    for bad in (
        "hs_", "hs_x", token[:-1], token + "A", token.upper(), token.replace("hs_", "HS_", 1), token[3:],
        token[:-1] + ("A" if token[-1] != "A" else "B"), "hs_" + "\u00e9" * 43, f"{token} {token}", f'"{token}"',
        "hs_" + "x" * 100_000, "hs_%00" + token[6:],
    ):  # fmt: skip
        answer = client.get(ME, headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401, bad
        problem_of(answer)
    for scheme in ("bearer", "BEARER"):
        assert client.get(ME, headers={"Authorization": f"{scheme}  {token}"}).status_code == 200
    assert client.get(f"{ME}?token={token}").status_code == 401


def test_guesses_of_tokens_lock_nobody(client: FlaskClient, deployer: Headers) -> None:
    token = bearer(create(client, deployer))
    for number in range(10):
        guess = {"Authorization": f"Bearer hs_{number:043d}"}
        assert client.get(ME, headers=guess).status_code == 401
    assert client.get(ME, headers=token).status_code == 200


def test_pages(client: FlaskClient, deployer: Headers) -> None:
    names = [create(client, deployer, f"ci-{number}")["name"] for number in range(3)]
    first = client.get(f"{TOKENS}?limit=2", headers=deployer)
    link = first.headers["Link"]
    second: Any = client.get(link[1 : link.index(">")], headers=deployer)
    assert [token["name"] for token in first.json + second.json] == names[::-1]
    assert "Link" not in second.headers


def test_there_is_a_most(client: FlaskClient, deployer: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_tokens, "MOST_TOKENS", 2)
    ids = [create(client, deployer, name)["id"] for name in ("one", "two")]
    refused = client.post(TOKENS, json={"name": "three"}, headers=deployer)
    assert refused.status_code == 409 and "revoke one first" in problem_of(refused)["detail"]
    assert client.delete(f"{TOKENS}/{ids[0]}", headers=deployer).status_code == 204
    create(client, deployer, "three")


def test_a_job_that_makes_and_revokes_a_token_at_each_run_fills_nothing(
    client: FlaskClient,
    deployer: Headers,
    database: psycopg.Connection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_tokens, "MOST_REVOKED", 2)
    made = [create(client, deployer) for _ in range(5) if _revoked_all(client, deployer)]
    assert database.execute("select count(*) from api_tokens").fetchone() == (3,)
    told = [problem_of(client.get(ME, headers=bearer(each)))["detail"] for each in made[:-1]]
    assert ["revoked" in text for text in told] == [False, False, True, True]


def _revoked_all(client: FlaskClient, headers: Headers) -> bool:
    listed: Any = client.get(TOKENS, headers=headers).json
    return all(client.delete(f"{TOKENS}/{each['id']}", headers=headers).status_code == 204 for each in listed)


def test_two_of_one_name_at_once_make_one(app: Flask, deployer: Headers) -> None:
    statuses: Counter[int] = Counter()

    def make() -> None:
        statuses[app.test_client().post(TOKENS, json={"name": "ci"}, headers=deployer).status_code] += 1

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {201: 1, 409: 5}


def test_the_last_use_is_noted_once_a_minute(
    app: Flask, client: FlaskClient, deployer: Headers, database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    made = create(client, deployer)
    shared: Dependencies = app.extensions["hotswap"]

    def used() -> Any:
        assert client.get(ME, headers=bearer(made)).status_code == 200
        assert shared.token_use.settle(PATIENCE)
        return database.execute("select last_used_at, xmin::text from api_tokens").fetchone()

    first = used()
    assert first[0] is not None
    assert used() == first, "no row was written"
    database.execute("update api_tokens set last_used_at = hotswap_now() - interval '61 seconds'")
    assert used()[0] > first[0]
    listed: Any = client.get(TOKENS, headers=deployer).json
    assert listed[0]["lastUsedAt"].endswith("Z")


def test_noting_the_last_use_stands_in_nobodys_way(
    app: Flask, client: FlaskClient, deployer: Headers, database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """The row is locked by somebody else: requests are answered all the same, and the note comes when it can."""
    made = create(client, deployer)
    shared: Dependencies = app.extensions["hotswap"]
    with database.transaction():
        database.execute("select from api_tokens for update")
        for _ in range(5):
            assert client.get(ME, headers=bearer(made)).status_code == 200
        assert not shared.token_use.settle(0.01)
    assert shared.token_use.settle(PATIENCE)
    assert database.execute("select last_used_at is not null from api_tokens").fetchone() == (True,)


def test_a_note_that_cannot_be_written_is_dropped(orchestrator: Orchestrator) -> None:
    url = f"postgresql://hotswap:x@127.0.0.1:{free_ports(1)[0]}/hotswap"
    nowhere = Database(orchestrator.settings.model_copy(update={"database_url": url}))
    use = TokenUse(nowhere)
    for _ in range(2):
        use.note(orchestrator.new_id())
        assert use.settle(PATIENCE)
    nowhere.close()
