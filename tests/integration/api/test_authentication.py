"""Log-ins, tokens, sessions, locks."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import PASSWORD, Headers, problem_of

LOGIN = "/api/v1/authentication/login"
ME = "/api/v1/authentication/me"


def login(client: FlaskClient, username: str = "deployer", password: str = PASSWORD) -> TestResponse:
    return client.post(LOGIN, json={"username": username, "password": password})


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def test_log_in_tells_who_it_is(client: FlaskClient) -> None:
    body: Any = login(client).json
    assert body["user"]["username"] == "deployer" and body["user"]["roles"] == ["Deployer"]
    assert body["expiresAt"].endswith("Z")
    me: Any = client.get(ME, headers=bearer(body["token"])).json
    assert me == body["user"]


def test_wrong_passwords_and_unknown_names_look_alike(client: FlaskClient) -> None:
    wrong, unknown = login(client, password="wrong"), login(client, username="nobody")
    assert wrong.status_code == unknown.status_code == 401
    assert problem_of(wrong)["detail"] == problem_of(unknown)["detail"]
    assert wrong.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("username", ["deployer", "nobody-of-that-name"])
def test_five_failures_lock_a_name_even_for_the_right_password(client: FlaskClient, username: str) -> None:
    assert [login(client, username, "wrong").status_code for _ in range(6)] == [401] * 5 + [423]
    locked = login(client, username)
    assert locked.status_code == 423 and int(locked.headers["Retry-After"]) > 0
    problem_of(locked)
    assert login(client, "viewer").status_code == 200


def test_a_success_forgets_the_failures_before_it(client: FlaskClient) -> None:
    for _ in range(3):
        for _ in range(4):
            login(client, password="wrong")
        assert login(client).status_code == 200


def test_parallel_guesses_get_no_more_than_five_chances(app: Flask) -> None:
    statuses: Counter[int] = Counter()

    def guess() -> None:
        statuses[login(app.test_client(), password="wrong").status_code] += 1

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {401: 5, 423: 7}


def test_parallel_successes_all_succeed(app: Flask) -> None:
    login(app.test_client(), password="wrong")
    statuses: Counter[int] = Counter()

    def enter() -> None:
        statuses[login(app.test_client()).status_code] += 1

    threads = [threading.Thread(target=enter) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {200: 12}


def test_a_refresh_token_is_good_once_and_reuse_ends_the_session(client: FlaskClient) -> None:
    first: Any = login(client).json
    refreshed = client.post("/api/v1/authentication/refresh", json={"refreshToken": first["refreshToken"]})
    assert refreshed.status_code == 200
    second: Any = refreshed.json
    assert client.get(ME, headers=bearer(second["token"])).status_code == 200
    again = client.post("/api/v1/authentication/refresh", json={"refreshToken": first["refreshToken"]})
    assert again.status_code == 401
    for stolen in (first["token"], second["token"]):
        assert client.get(ME, headers=bearer(stolen)).status_code == 401
    last = client.post("/api/v1/authentication/refresh", json={"refreshToken": second["refreshToken"]})
    assert last.status_code == 401


def test_log_out_revokes_every_token_of_the_session_only(client: FlaskClient) -> None:
    here: Any = login(client).json
    elsewhere: Any = login(client).json
    assert client.post("/api/v1/authentication/logout", headers=bearer(here["token"])).status_code == 204
    assert client.get(ME, headers=bearer(here["token"])).status_code == 401
    refresh = client.post("/api/v1/authentication/refresh", json={"refreshToken": here["refreshToken"]})
    assert refresh.status_code == 401
    assert client.get(ME, headers=bearer(elsewhere["token"])).status_code == 200
    by_refresh = client.post("/api/v1/authentication/logout", json={"refreshToken": elsewhere["refreshToken"]})
    assert by_refresh.status_code == 204
    assert client.get(ME, headers=bearer(elsewhere["token"])).status_code == 401


def forged(token: str, key: str = "another-secret-of-thirty-two-characters", **claims: Any) -> str:
    known = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode({**known, **claims}, key, algorithm="HS256")


def test_tokens_that_are_none_are_401(client: FlaskClient, orchestrator: Orchestrator) -> None:
    session: Any = login(client).json
    secret = orchestrator.settings.jwt_secret.get_secret_value()
    unsigned = jwt.encode(jwt.decode(session["token"], options={"verify_signature": False}), "", algorithm="none")
    for header in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        bearer("x"),
        bearer("a.b.c"),
        bearer("\u00e9.\u00e9.\u00e9"),
        bearer(session["token"][:-4] + "AAAA"),
        bearer(session["refreshToken"]),
        bearer(unsigned),
        bearer(forged(session["token"])),
        bearer(forged(session["token"], secret, exp=1)),
        bearer(forged(session["token"], secret, sid="no uuid")),
        bearer(forged(session["token"], secret, sid=None)),
        bearer(forged(session["token"], secret, sid="01900000-0000-7000-8000-000000000009")),
    ):
        answer = client.get(ME, headers=header)
        assert answer.status_code == 401, header
        problem_of(answer)
    for token in ("", "x", session["token"], forged(session["refreshToken"])):
        answer = client.post("/api/v1/authentication/refresh", json={"refreshToken": token})
        assert answer.status_code in (400, 401)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"username", "password"}),
        ({"username": 1, "password": None}, {"username", "password"}),
        ({"username": "a\x00b", "password": "\x00"}, {"username", "password"}),
        ({"username": "x" * 10_000, "password": "y" * 10_000}, {"username", "password"}),
        ({"username": "a", "password": "b", "more": 1}, {"more"}),
        ({"username": "\ud800", "password": ["b"]}, {"username", "password"}),
        ([], {"body"}),
        ("text", {"body"}),
        (["nested"] * 3, {"body"}),
    ],
)
def test_bad_bodies_name_every_bad_field(client: FlaskClient, body: Any, fields: set[str]) -> None:
    answer = client.post(LOGIN, json=body)
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == fields
