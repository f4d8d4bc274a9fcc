"""Users as Admins manage them: what is given, what counts at once, and that an Admin is always left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.domain.errors import NotAuthenticated
from app.infrastructure.passwords import verify_password
from app.orchestrator import api_tokens, authentication
from app.orchestrator.context import Orchestrator, Requester
from tests.integration.api.conftest import PASSWORD, Headers, problem_of

USERS = "/api/v1/users"
TOKENS = "/api/v1/authentication/tokens"
ME = "/api/v1/authentication/me"
NO_USER = f"{USERS}/01900000-0000-7000-8000-00000000dead"
NEW_PASSWORD = "another-horse-entirely"
Make = Callable[..., dict[str, Any]]


def login(client: FlaskClient, username: str, password: str = PASSWORD) -> TestResponse:
    return client.post("/api/v1/authentication/login", json={"username": username, "password": password})


def headers_of(client: FlaskClient, username: str, password: str = PASSWORD) -> Headers:
    answer: Any = login(client, username, password).json
    return {"Authorization": f"Bearer {answer['token']}"}


def token_of(client: FlaskClient, headers: Headers, name: str = "ci", **more: Any) -> Headers:
    made = client.post(TOKENS, json={"name": name, **more}, headers=headers)
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json['token']}"}  # type: ignore[index]


@pytest.fixture
def make(client: FlaskClient, admin: Headers) -> Make:
    def user(username: str = "anna", *roles: str, **more: Any) -> dict[str, Any]:
        body = {
            "username": username,
            "email": f"{username}@example.com",
            "fullName": username.title(),
            "roles": list(roles) or ["Deployer"],
            "password": PASSWORD,
            **more,
        }
        answer = client.post(USERS, json=body, headers=admin)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json  # type: ignore[assignment]
        assert answer.headers["Location"] == f"{USERS}/{made['id']}" and answer.headers["ETag"] == '"1"'
        return made

    return user


def path(user: dict[str, Any]) -> str:
    return f"{USERS}/{user['id']}"


def test_a_users_life(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make("anna", "viewer", "Deployer", "Deployer", fullName="Anna \u00c5ngstr\u00f6m")
    assert made["roles"] == ["Viewer", "Deployer"] and made["fullName"] == "Anna \u00c5ngstr\u00f6m"
    assert made["createdAt"].endswith("Z") and made["disabled"] is False
    got = client.get(path(made), headers=admin)
    assert got.json == made and got.headers["ETag"] == '"1"'
    assert client.get(ME, headers=headers_of(client, "anna")).json["id"] == made["id"]  # type: ignore[index]
    taken = client.post(USERS, json={**_body(), "username": "anna"}, headers=admin)
    assert taken.status_code == 409 and "anna" in problem_of(taken)["detail"]
    changed = client.patch(path(made), json={"email": "a@b.example", "fullName": "A"}, headers=admin)
    assert changed.status_code == 200 and changed.headers["ETag"] == '"2"'
    assert changed.json == {**made, "email": "a@b.example", "fullName": "A", "version": 2}
    assert client.delete(path(made), headers=admin).status_code == 204
    for gone in (client.get(path(made), headers=admin), client.delete(path(made), headers=admin)):
        assert gone.status_code == 404
        problem_of(gone)
    assert login(client, "anna").status_code == 401
    again = make("anna")
    assert again["id"] != made["id"]


def test_a_patch_of_nothing_changes_nothing(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    session = headers_of(client, "anna")
    same = {"email": made["email"], "roles": ["deployer"], "disabled": False}
    for body in ({}, same):
        answer = client.patch(path(made), json=body, headers=admin)
        assert answer.status_code == 200 and answer.json == made
    assert client.get(ME, headers=session).status_code == 200


def test_pages_and_one_by_name(client: FlaskClient, admin: Headers, make: Make) -> None:
    names = [make(f"user-{number}", "Viewer", disabled=True)["username"] for number in range(3)]
    seen: list[str] = []
    url: str | None = f"{USERS}?limit=2"
    while url:
        answer = client.get(url, headers=admin)
        page: Any = answer.json
        assert 0 < len(page) <= 2
        seen += [user["username"] for user in page]
        link = answer.headers.get("Link")
        url = link[1 : link.index(">")] if link else None
    assert seen[:3] == names[::-1] and set(seen[3:]) == {"admin", "deployer", "approver", "viewer"}
    one: Any = client.get(f"{USERS}?username=user-1", headers=admin).json
    assert [user["username"] for user in one] == ["user-1"]
    assert client.get(f"{USERS}?username=nobody", headers=admin).json == []
    for query in ("limit=0", "cursor=x", "username=", "what=1", "username=%00"):
        bad = client.get(f"{USERS}?{query}", headers=admin)
        assert bad.status_code == 400, query
        problem_of(bad)


def test_no_answer_has_a_password_or_its_hash(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    answers = [
        client.get(USERS, headers=admin),
        client.get(path(made), headers=admin),
        client.patch(path(made), json={"password": NEW_PASSWORD}, headers=admin),
        client.post(USERS, json={**_body(), "password": "short-pw"}, headers=admin),
        login(client, "anna", NEW_PASSWORD),
    ]
    for answer in answers:
        for secret in ("argon2", PASSWORD, NEW_PASSWORD, "short-pw", "hash", "passwordChangedAt"):
            assert secret not in answer.text


def _body(**changes: Any) -> dict[str, Any]:
    body = {
        "username": "berta",
        "email": "b@example.com",
        "fullName": "Berta",
        "roles": ["Viewer"],
        "password": PASSWORD,
        **changes,
    }
    return {key: value for key, value in body.items() if value is not ...}


BAD_USERS: list[tuple[dict[str, Any], set[str]]] = [
    (dict.fromkeys(_body(), ...), {"username", "email", "fullName", "roles", "password"}),
    ({"username": "Berta", "email": "b", "fullName": "", "roles": [], "password": "short"},
     {"username", "email", "fullName", "roles", "password"}),
    ({"username": 1, "email": None, "fullName": ["x"], "roles": "Admin", "password": 123456789012},
     {"username", "email", "fullName", "roles", "password"}),
    ({"username": "system"}, {"username"}),
    ({"password": "my-name-is-berta"}, {"password"}),
    ({"password": "I-love-HotSwap-so"}, {"password"}),
    ({"password": "a" * 12 + "\x00"}, {"password"}),
    ({"password": "\ud800" * 12}, {"password"}),
    ({"username": "x" * 10_000, "fullName": "y" * 10_000, "email": "z" * 10_000}, {"username", "fullName", "email"}),
    ({"roles": ["Root", "Admin"]}, {"roles.0"}),
    ({"roles": ["Admin"] * 5}, {"roles"}),
    ({"roles": [None]}, {"roles.0"}),
    ({"disabled": "no"}, {"disabled"}),
    ({"id": "x", "passwordHash": "$argon2", "version": 9, "tenantId": "x"},
     {"id", "passwordHash", "version", "tenantId"}),
    ({"fullName": "Berta \x1b[31m"}, {"fullName"}),
    ({"email": "a" * 250 + "@example.com"}, {"email"}),
]  # fmt: skip


def test_bad_users_name_every_field(client: FlaskClient, admin: Headers) -> None:
    for changes, fields in BAD_USERS:
        answer = client.post(USERS, json=_body(**changes), headers=admin)
        assert answer.status_code == 400, (changes, answer.text)
        assert problem_of(answer)["errors"].keys() == fields, changes


def test_bodies_that_are_no_user(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    for body in (b"[]", b'"x"', b"1", b"null", b"[{}]", b"{", b"\xff", b"[" * 50_000):
        for method, target in (("POST", USERS), ("PATCH", path(made))):
            answer = client.open(
                target, method=method, data=body, content_type="application/json", headers=admin
            )
            assert answer.status_code == 400, (method, body[:10])
            problem_of(answer)
    other = client.patch(path(made), data=b"email=x", content_type="text/plain", headers=admin)
    assert other.status_code == 415
    problem_of(other)


BAD_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"email": "x", "roles": [], "password": "has-anna-in-it", "username": "otto", "disabled": 1, "fullName": ""},
     {"email", "roles", "password", "username", "disabled", "fullName"}),
    ({"email": None, "roles": None, "password": None, "disabled": None, "fullName": None, "keepTokens": None},
     {"email", "roles", "password", "disabled", "fullName", "keepTokens"}),
    ({"password": "tiny", "id": "x"}, {"password", "id"}),
]  # fmt: skip


def test_bad_changes_name_every_field_and_change_nothing(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    for body, fields in BAD_CHANGES:
        answer = client.patch(path(made), json=body, headers=admin)
        assert answer.status_code == 400, answer.text
        assert problem_of(answer)["errors"].keys() == fields
    assert client.get(path(made), headers=admin).json == made
    assert client.patch(NO_USER, json={"password": PASSWORD}, headers=admin).status_code == 404
    for bad in ("x", "%00", "01900000"):
        assert client.patch(f"{USERS}/{bad}", json={}, headers=admin).status_code == 404


def test_a_stale_edit_is_409(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    first = client.patch(path(made), json={"fullName": "One"}, headers={**admin, "If-Match": '"1"'})
    assert first.status_code == 200
    stale = client.patch(path(made), json={"fullName": "Two"}, headers={**admin, "If-Match": '"1"'})
    assert stale.status_code == 409 and problem_of(stale)["currentVersion"] == 2 and stale.headers["ETag"] == '"2"'
    assert client.delete(path(made), headers={**admin, "If-Match": '"1"'}).status_code == 409
    assert client.patch(path(made), json={"fullName": "3"}, headers={**admin, "If-Match": "*"}).status_code == 200
    for etag in ("3", '"x"', "W/3"):
        for answer in (
            client.patch(path(made), json={}, headers={**admin, "If-Match": etag}),
            client.delete(path(made), headers={**admin, "If-Match": etag}),
        ):
            assert answer.status_code == 400 and problem_of(answer)["errors"].keys() == {"If-Match"}
    assert client.patch(NO_USER, json={}, headers={**admin, "If-Match": "*"}).status_code == 404
    assert client.delete(path(made), headers={**admin, "If-Match": '"3"'}).status_code == 204


@pytest.mark.parametrize("way", ["disable", "delete", "password"])
def test_what_is_taken_away_counts_at_once(client: FlaskClient, admin: Headers, make: Make, way: str) -> None:
    made = make()
    opened: Any = login(client, "anna").json
    session = {"Authorization": f"Bearer {opened['token']}"}
    token = token_of(client, session)
    other = token_of(client, admin, "not-hers")
    assert client.get(ME, headers=session).status_code == client.get(ME, headers=token).status_code == 200
    if way == "delete":
        assert client.delete(path(made), headers=admin).status_code == 204
    else:
        body: dict[str, Any] = {"disabled": True} if way == "disable" else {"password": NEW_PASSWORD}
        assert client.patch(path(made), json=body, headers=admin).status_code == 200
    for headers in (session, token):
        answer = client.get(ME, headers=headers)
        assert answer.status_code == 401
        problem_of(answer)
    refreshed = client.post("/api/v1/authentication/refresh", json={"refreshToken": opened["refreshToken"]})
    assert refreshed.status_code == 401 and login(client, "anna").status_code == 401
    assert client.get(ME, headers=other).status_code == client.get(ME, headers=admin).status_code == 200
    if way == "disable":
        assert client.patch(path(made), json={"disabled": False}, headers=admin).status_code == 200
        assert client.get(ME, headers=session).status_code == 401, "a session that was ended does not come back"
        assert client.get(ME, headers=token).status_code == login(client, "anna").status_code == 200
    if way == "password":
        assert login(client, "anna", NEW_PASSWORD).status_code == 200


def test_tokens_may_be_kept_over_a_new_password(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make()
    session = headers_of(client, "anna")
    token = token_of(client, session)
    body = {"password": NEW_PASSWORD, "keepTokens": True}
    assert client.patch(path(made), json=body, headers=admin).status_code == 200
    assert client.get(ME, headers=session).status_code == 401
    assert client.get(ME, headers=token).status_code == 200


def test_other_roles_count_at_once(client: FlaskClient, admin: Headers, make: Make) -> None:
    made = make("anna", "Admin")
    session = headers_of(client, "anna")
    token = token_of(client, session, roles=["Admin"])
    for role, status in (("Viewer", 403), ("Admin", 200), ("Approver", 403)):
        assert client.patch(path(made), json={"roles": [role]}, headers=admin).status_code == 200
        for headers in (session, token):
            assert client.get(USERS, headers=headers).status_code == status
            assert client.get(ME, headers=headers).json["roles"] == [role]  # type: ignore[index]


def test_the_last_enabled_admin_stays(client: FlaskClient, admin: Headers, make: Make) -> None:
    make("anna", "Admin", disabled=True)
    me: Any = client.get(ME, headers=admin).json
    for body in ({"disabled": True}, {"roles": ["Approver"]}, None):
        answer = client.patch(path(me), json=body, headers=admin) if body else client.delete(path(me), headers=admin)
        assert answer.status_code == 409 and "last enabled Admin" in problem_of(answer)["detail"]
    assert client.get(path(me), headers=admin).json["roles"] == ["Admin"]  # type: ignore[index]
    for roles in (["Viewer", "Admin"], ["Admin"]):
        assert client.patch(path(me), json={"roles": roles}, headers=admin).status_code == 200


@pytest.mark.parametrize(
    "ways", [("disable", "disable"), ("delete", "delete"), ("demote", "delete"), ("disable", "demote")]
)
def test_of_the_last_two_admins_one_stays_whatever_comes_at_once(
    app: Flask, client: FlaskClient, admin: Headers, make: Make, orchestrator: Orchestrator, ways: tuple[str, str]
) -> None:
    """Two Admins each take the other one's right away, at the same moment, again and again."""
    builtin: Any = client.get(ME, headers=admin).json
    ids = [make(name, "Admin")["id"] for name in ("first", "second")]
    sessions = [headers_of(client, name) for name in ("second", "first")]
    bodies: dict[str, Any] = {"disable": {"disabled": True}, "demote": {"roles": ["Viewer"]}}
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("update users set disabled = true where id = %s", (builtin["id"],))
        try:
            barrier = threading.Barrier(2)
            statuses: Counter[int] = Counter()

            def take(identity: str, headers: Headers, way: str) -> None:
                caller = app.test_client()
                barrier.wait()
                target = f"{USERS}/{identity}"
                answer = (
                    caller.delete(target, headers=headers)
                    if way == "delete"
                    else caller.patch(target, json=bodies[way], headers=headers)
                )
                statuses[answer.status_code] += 1

            threads = [
                threading.Thread(target=take, args=arguments) for arguments in zip(ids, sessions, ways, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            left = connection.execute(
                "select count(*) from users where not disabled and 'Admin' = any(roles)"
            ).fetchone()
        finally:
            connection.execute("update users set disabled = false where id = %s", (builtin["id"],))
    assert left == (1,)
    # The other one was refused: as the last, or since its own right was gone already.
    done = statuses[200] + statuses[204]
    assert done == 1 and statuses[409] + statuses[401] + statuses[403] == 1, statuses


def test_the_second_of_two_waits_for_the_first_and_sees_what_it_did(
    app: Flask, client: FlaskClient, admin: Headers, make: Make, orchestrator: Orchestrator
) -> None:
    """The same with the moment between look and write held open, so that it is met each time."""
    make("anna", "Admin")
    me: Any = client.get(ME, headers=admin).json
    with psycopg.connect(orchestrator.settings.database_url) as first:
        first.execute("select from tenants for no key update")
        first.execute("update users set disabled = true where username = 'anna'")
        answers: list[TestResponse] = []
        second = threading.Thread(
            target=lambda: answers.append(
                app.test_client().patch(path(me), json={"roles": ["Viewer"]}, headers=admin)
            )
        )
        second.start()
        with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as looking:
            while not looking.execute("select from pg_locks where not granted").fetchall():
                assert second.is_alive()
        first.commit()
        second.join()
    assert answers[0].status_code == 409


def test_two_of_one_name_at_once_make_one(app: Flask, admin: Headers) -> None:
    statuses: Counter[int] = Counter()

    def create() -> None:
        statuses[app.test_client().post(USERS, json=_body(), headers=admin).status_code] += 1

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {201: 1, 409: 3}


def test_a_log_in_does_not_outrun_the_change_of_its_user(
    client: FlaskClient, admin: Headers, make: Make, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right password is verified; before the session is opened the user is disabled, removed, or has another."""
    for number, change in enumerate(({"disabled": True}, {"password": NEW_PASSWORD}, None)):
        made = make(f"user-{number}")

        def verified(encoded: str | None, password: str, change: Any = change, made: Any = made) -> bool:
            right = verify_password(encoded, password)
            method = "PATCH" if change else "DELETE"
            answer = client.open(path(made), method=method, json=change, headers=admin)
            assert right and answer.status_code in (200, 204)
            return right

        monkeypatch.setattr(authentication, "verify_password", verified)
        with pytest.raises(NotAuthenticated):
            authentication.log_in(orchestrator, f"user-{number}", PASSWORD)
        monkeypatch.setattr(authentication, "verify_password", verify_password)


def test_a_new_token_does_not_outrun_the_end_of_its_session(
    client: FlaskClient, admin: Headers, make: Make, orchestrator: Orchestrator
) -> None:
    """Identified, then the password is changed, then the token would be made."""
    made = make()
    opened = authentication.log_in(orchestrator, "anna", PASSWORD)
    requester: Requester = authentication.identify(orchestrator, opened.id)
    assert client.patch(path(made), json={"password": NEW_PASSWORD}, headers=admin).status_code == 200
    with pytest.raises(NotAuthenticated):
        api_tokens.create(orchestrator, requester, name="too-late")
    opened = authentication.log_in(orchestrator, "anna", NEW_PASSWORD)
    requester = authentication.identify(orchestrator, opened.id)
    assert client.delete(path(made), headers=admin).status_code == 204
    with pytest.raises(NotAuthenticated):
        api_tokens.create(orchestrator, requester, name="too-late")


PASSWORD_PATH = "/api/v1/authentication/password"


def test_ones_own_password(client: FlaskClient, make: Make) -> None:
    make()
    here, elsewhere = headers_of(client, "anna"), headers_of(client, "anna")
    token = token_of(client, here)
    by_token = client.post(PASSWORD_PATH, json={"currentPassword": PASSWORD, "password": NEW_PASSWORD}, headers=token)
    assert by_token.status_code == 403 and "API token" in problem_of(by_token)["detail"]
    bad = client.post(PASSWORD_PATH, json={"password": "annas-password", "more": 1}, headers=here)
    assert bad.status_code == 400 and problem_of(bad)["errors"].keys() == {"currentPassword", "password", "more"}
    wrong = client.post(PASSWORD_PATH, json={"currentPassword": "x", "password": NEW_PASSWORD}, headers=here)
    assert wrong.status_code == 400 and problem_of(wrong)["errors"] == {"currentPassword": ["is wrong"]}
    done = client.post(
        PASSWORD_PATH, json={"currentPassword": PASSWORD, "password": NEW_PASSWORD, "keepTokens": True}, headers=here
    )
    assert done.status_code == 204, done.text
    assert client.get(ME, headers=here).status_code == client.get(ME, headers=token).status_code == 200
    assert client.get(ME, headers=elsewhere).status_code == login(client, "anna").status_code == 401
    back = client.post(
        PASSWORD_PATH, json={"currentPassword": NEW_PASSWORD, "password": PASSWORD}, headers=here
    )
    assert back.status_code == 204 and client.get(ME, headers=token).status_code == 401


def test_guessing_in_a_session_locks_the_name(client: FlaskClient, make: Make) -> None:
    make()
    here = headers_of(client, "anna")
    guess = {"currentPassword": "x", "password": NEW_PASSWORD}
    statuses = [client.post(PASSWORD_PATH, json=guess, headers=here).status_code for _ in range(6)]
    assert statuses == [400] * 5 + [423]
    right = client.post(PASSWORD_PATH, json={**guess, "currentPassword": PASSWORD}, headers=here)
    assert right.status_code == login(client, "anna").status_code == 423
    assert int(right.headers["Retry-After"]) > 0


def _lock(client: FlaskClient, username: str) -> None:
    assert [login(client, username, "wrong").status_code for _ in range(6)] == [401] * 5 + [423]


@pytest.mark.parametrize("change", [{"locked": False}, {"password": NEW_PASSWORD}], ids=["unlock", "new password"])
def test_an_admin_sees_a_lock_and_lifts_it(
    client: FlaskClient, admin: Headers, make: Make, change: dict[str, Any]
) -> None:
    made = make("anna")
    assert made["lockedUntil"] is None
    make("otto")
    _lock(client, "anna")
    shown: Any = client.get(f"{USERS}/{made['id']}", headers=admin).json
    assert shown["lockedUntil"] > shown["createdAt"] and shown["version"] == made["version"]
    listed: Any = client.get(USERS, headers=admin).json
    locks = {user["username"]: user["lockedUntil"] for user in listed}
    assert (locks["anna"], locks["otto"]) == (shown["lockedUntil"], None)
    other: Any = client.patch(f"{USERS}/{made['id']}", json={"fullName": "Anna B"}, headers=admin).json
    assert other["lockedUntil"] == shown["lockedUntil"], "any other change leaves it"
    lifted: Any = client.patch(f"{USERS}/{made['id']}", json=change, headers=admin)
    assert (lifted.status_code, lifted.json["lockedUntil"]) == (200, None)
    assert login(client, "anna", str(change.get("password", PASSWORD))).status_code == 200
    assert [login(client, "anna", "wrong").status_code for _ in range(5)] == [401] * 5, "it counts from zero again"


def test_nobody_locks_a_user_and_a_refused_change_lifts_nothing(
    client: FlaskClient, admin: Headers, make: Make
) -> None:
    made = make("anna")
    path = f"{USERS}/{made['id']}"
    for wrong in (True, "no", None):
        refused = client.patch(path, json={"locked": wrong}, headers=admin)
        assert problem_of(refused)["errors"].keys() == {"locked"}
    _lock(client, "anna")
    stale = client.patch(path, json={"locked": False}, headers={**admin, "If-Match": '"77"'})
    assert stale.status_code == 409
    assert login(client, "anna").status_code == 423
    by_token = client.patch(path, json={"locked": False}, headers=token_of(client, admin, roles=["Admin"]))
    assert by_token.status_code == 403, "or who has found a token could guess passwords without end"
    assert login(client, "anna").status_code == 423
