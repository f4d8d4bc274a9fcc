"""From settings to a process that takes requests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from pydantic import SecretStr

from app.api.application import create_app
from app.api.starting import Preparation
from app.domain.errors import NotAuthenticated
from app.infrastructure.db.engine import Database
from app.infrastructure.outbox import SilentPublisher
from app.orchestrator.authentication import change_password, identify, log_in
from app.orchestrator.bootstrap import bootstrap
from app.orchestrator.context import Orchestrator
from config.settings import load
from deploy.local.ports import free_ports
from tests.integration.api.conftest import PASSWORD, Headers, NoLogs

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("module", "changes", "said"),
    [
        ("wsgi", {"HOTSWAP_JWT_SECRET": "weak"}, "HOTSWAP_JWT_SECRET"),
        ("wsgi", {"HOTSWAP_VIEWER_PASSWORD": "eye-of-the-viewer"}, "HOTSWAP_VIEWER_PASSWORD contains 'viewer'"),
        ("agent_wsgi", {"HOTSWAP_ARTIFACTS_DIR": "/proc/none"}, "artifact store"),
        ("agent_wsgi", {"HOTSWAP_TRUSTED_KEYS_DIR": "{bad keys}"}, "team.pub"),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(
    environment: Headers, tmp_path: Path, module: str, changes: Headers, said: str
) -> None:
    (tmp_path / "team.pub").write_text("no key")
    changes = {name: value.replace("{bad keys}", str(tmp_path)) for name, value in changes.items()}
    own = {name: value for name, value in os.environ.items() if not name.startswith("HOTSWAP_")}
    done = subprocess.run(
        [sys.executable, "-c", f"import app.api.{module}"],
        cwd=ROOT,
        env={**own, **environment, **changes},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("hotswap: ") and said in line


def test_a_built_in_user_that_was_removed_does_not_come_back(orchestrator: Orchestrator) -> None:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("delete from users where username = 'approver'")
        bootstrap(orchestrator)
        assert connection.execute("select from users where username = 'approver'").fetchone() is None
        # Without an Admin nobody could make users: then all that are missing are made, as at the first start.
        connection.execute("update users set disabled = true where username = 'admin'")
        bootstrap(orchestrator)
        connection.execute("update users set disabled = false where username = 'admin'")
        assert connection.execute("select roles from users where username = 'approver'").fetchone() == (["Approver"],)


def test_a_given_password_holds_until_somebody_changes_it(orchestrator: Orchestrator) -> None:
    """Each process of the API begins at its first request: that may be long after the stack did, and after a change."""
    begun = datetime.now(UTC)
    given = {"given_passwords": "viewer", "given_at": begun, "viewer_password": SecretStr("given-at-the-start")}
    starting = replace(orchestrator, settings=orchestrator.settings.model_copy(update=given))
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        before = connection.execute("select password_hash from users where username = 'viewer'").fetchone()
        assert before is not None
        try:
            session = log_in(orchestrator, "viewer", PASSWORD)
            bootstrap(starting)
            with pytest.raises(NotAuthenticated):
                identify(orchestrator, session.id)
            session = log_in(orchestrator, "viewer", "given-at-the-start")
            requester = identify(orchestrator, session.id)
            change_password(orchestrator, requester, "given-at-the-start", "changed-after-that", keep_tokens=True)
            bootstrap(starting)
            log_in(orchestrator, "viewer", "changed-after-that")
            # Given once more, at a later start.
            bootstrap(replace(starting, settings=starting.settings.model_copy(update={"given_at": datetime.now(UTC)})))
            log_in(orchestrator, "viewer", "given-at-the-start")
        finally:
            connection.execute(
                "update users set password_hash = %s, password_changed_at = null where username = 'viewer'", before
            )


def prepared(orchestrator: Orchestrator) -> Flask:
    app = create_app(orchestrator, node_logs=NoLogs())
    app.before_request(Preparation(orchestrator).ensure)
    return app


def test_a_process_prepares_the_database_when_it_is_there(environment: Headers, orchestrator: Orchestrator) -> None:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("delete from environments")
        client = prepared(orchestrator).test_client()
        assert client.get("/health/live").status_code == 200
        assert connection.execute("select count(*) from environments").fetchone() == (0,)
        client.get("/api/v1/clusters")
        assert connection.execute("select count(*) from environments").fetchone() == (4,)


def test_without_a_database_it_answers_503_and_live(environment: Headers) -> None:
    url = f"postgresql://hotswap:x@127.0.0.1:{free_ports(1)[0]}/hotswap"
    settings = load({**environment, "HOTSWAP_DATABASE_URL": url})
    database = Database(settings)
    client = prepared(Orchestrator(database, settings, SilentPublisher())).test_client()
    login = {"username": "admin", "password": "x"}
    assert client.post("/api/v1/authentication/login", json=login).status_code == 503
    assert client.post("/api/v1/authentication/login", json=login).status_code == 503
    assert client.get("/health/live").status_code == 200
    database.close()


def test_what_somebody_changed_stays(orchestrator: Orchestrator) -> None:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("delete from environments where name = 'Staging'")
        connection.execute("update users set email = 'me@example.com' where username = 'admin'")
        bootstrap(orchestrator)
        assert connection.execute("select count(*) from environments").fetchone() == (3,)
        assert connection.execute("select email from users where username = 'admin'").fetchone() == ("me@example.com",)
        assert connection.execute("select count(*) from publisher_keys").fetchone() == (1,)
        connection.execute("update users set email = 'admin@hotswap.internal' where username = 'admin'")
