"""Passwords, tokens and their hashes are in no log line, whatever happens to the request that carries them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient

from app.infrastructure.api_tokens import hash_of
from app.infrastructure.logs import configure_logging
from app.orchestrator import users
from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import PASSWORD, Headers

NEW_PASSWORD = "planted-and-never-seen"
WRONG = "wrong-and-never-seen"
TOKENS = "/api/v1/authentication/tokens"


@pytest.fixture
def logged(orchestrator: Orchestrator) -> Iterator[io.StringIO]:
    """Everything that this process logs, from debug on, as it does in production."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging(orchestrator.settings.model_copy(update={"log_level": "debug"}))
    stream = io.StringIO()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()


def test_no_secret_is_logged(
    app: Flask,
    client: FlaskClient,
    admin: Headers,
    orchestrator: Orchestrator,
    logged: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = client.post(TOKENS, json={"name": "ci", "roles": ["Admin"]}, headers=admin).json
    token = str(made["token"])  # type: ignore[index]
    bearer = {"Authorization": f"Bearer {token}"}
    bad = {"Authorization": f"Bearer {token[:-2]}__"}
    body = {"username": "anna", "email": "a@x.example", "fullName": "A", "roles": ["Viewer"], "password": NEW_PASSWORD}
    user: Any = client.post("/api/v1/users", json=body, headers=admin).json
    path = f"/api/v1/users/{user['id']}"
    client.post("/api/v1/users", json={**body, "email": 1}, headers=admin)
    client.patch(path, json={"password": NEW_PASSWORD + "-too"}, headers=admin)
    client.patch(path, json={"password": NEW_PASSWORD}, headers=bearer)
    client.post("/api/v1/authentication/login", json={"username": "anna", "password": WRONG})
    session: Any = client.post(
        "/api/v1/authentication/login", json={"username": "anna", "password": NEW_PASSWORD + "-too"}
    ).json
    client.post("/api/v1/authentication/refresh", json={"refreshToken": session["refreshToken"] + "x"})
    for headers in (bearer, bad):
        client.get("/api/v1/authentication/me", headers=headers)
    # Now the database refuses what it is given, and what the use case does not expect is a defect with its traceback.
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("alter table users add constraint planted check (full_name <> 'planted') not valid")
        try:
            monkeypatch.setattr(users, "IntegrityError", ZeroDivisionError)
            app.config["PROPAGATE_EXCEPTIONS"] = False
            failed = client.post(
                "/api/v1/users", json={**body, "username": "berta", "fullName": "planted"}, headers=admin
            )
        finally:
            connection.execute("alter table users drop constraint planted")
        hashes = [str(row[0]) for row in connection.execute("select password_hash from users").fetchall()]
    assert failed.status_code == 500
    text = logged.getvalue()
    assert '"token_name": "ci"' in text and "request.failed" in text and "CheckViolation" in text
    secrets = [
        token,
        token[:-2],
        admin["Authorization"].split()[1],
        session["token"],
        session["refreshToken"],
        PASSWORD,
        NEW_PASSWORD,
        WRONG,
        *hashes,
        (hash_of(token) or b"").hex(),
        "$argon2",
    ]
    assert [secret for secret in secrets if secret in text] == []
    assert [secret for secret in secrets if secret in failed.text] == []
