"""An API over a database of its own, clients of it with every role, and archives to publish."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg import sql
from redis import Redis
from werkzeug.test import TestResponse

from agent import signatures
from agent.certificates import CertificateAuthority, issue_orchestrator_certificate, make_ca
from app.api.application import create_app
from app.infrastructure.db.engine import Database
from app.infrastructure.outbox import SilentPublisher
from app.orchestrator.bootstrap import bootstrap, prepare_folders
from app.orchestrator.context import Orchestrator
from config.settings import Settings, load
from deploy.local.ports import free_ports
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey

_BROKER_DATABASE = 4000
PASSWORD = "correct-horse-battery"
Headers = dict[str, str]


@pytest.fixture(scope="session")
def signing_key() -> signatures.PrivateKey:
    return signatures.generate()


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """One migrated database for all tests of the API: making one takes as long as three of the tests."""
    name = "test_api"
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as server:
        server.execute(copy)
    yield postgres.url(name)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def environment(
    shared_database: str,
    valkey: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
    signing_key: signatures.PrivateKey,
    authority: CertificateAuthority,
) -> Headers:
    """The variables that a process of the orchestrator needs."""
    folder = tmp_path_factory.mktemp("api")
    keys, tls = folder / "keys", folder / "tls"
    keys.mkdir()
    (keys / "build-server.pub").write_bytes(signatures.public_pem(signing_key.public_key()))
    tls.mkdir()
    (tls / "ca.pem").write_bytes(authority.certificate)
    issue_orchestrator_certificate(authority, ["127.0.0.1"]).write(tls / "orchestrator.pem", tls / "orchestrator.key")
    port, agent_port = free_ports(2)
    return {
        "HOTSWAP_DATABASE_URL": shared_database,
        "HOTSWAP_BROKER_URL": valkey.url(_BROKER_DATABASE),
        "HOTSWAP_JWT_SECRET": "0123456789abcdefghijklmnopqrstuvwxyz",
        "HOTSWAP_PORT": str(port),
        "HOTSWAP_AGENT_PORT": str(agent_port),
        "HOTSWAP_TLS_CA": str(tls / "ca.pem"),
        "HOTSWAP_TLS_CERTIFICATE": str(tls / "orchestrator.pem"),
        "HOTSWAP_TLS_KEY": str(tls / "orchestrator.key"),
        "HOTSWAP_ARTIFACTS_DIR": str(folder / "artifacts"),
        "HOTSWAP_TRUSTED_KEYS_DIR": str(keys),
        "HOTSWAP_ARCHIVE_BYTES": str(2 * 1024 * 1024),
        "HOTSWAP_BODY_BYTES": str(256 * 1024),
        **{f"HOTSWAP_{name}_PASSWORD": PASSWORD for name in ("ADMIN", "DEPLOYER", "APPROVER", "VIEWER")},
    }


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return make_ca()


@pytest.fixture(scope="session")
def settings(environment: Headers) -> Settings:
    return load(environment)


@pytest.fixture(scope="session")
def shared_orchestrator(settings: Settings) -> Iterator[Orchestrator]:
    database = Database(settings)
    yield Orchestrator(database, settings, SilentPublisher())
    database.close()


@pytest.fixture
def orchestrator(shared_orchestrator: Orchestrator) -> Orchestrator:
    """One as it is after its first start: no row but the tenant, the built-in users (whose hashes take long), the
    environments and the trusted key; an empty artifact store; an empty broker."""
    settings = shared_orchestrator.settings
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        # Deleting is many times faster than truncating for a handful of rows; replica mode asks for no order.
        emptying = connection.execute(
            "select string_agg(format('delete from %I', tablename), '; ') from pg_tables where schemaname = 'public'"
            " and tablename not in ('alembic_version', 'tenants', 'users')"
        ).fetchone()
        assert emptying is not None
        connection.execute(f"set session_replication_role = replica; {emptying[0]}".encode())
        connection.execute("set session_replication_role = origin")
        connection.execute("delete from users where username not in ('admin', 'deployer', 'approver', 'viewer')")
    with Redis.from_url(settings.broker_url) as broker:
        broker.flushdb()
    shutil.rmtree(settings.artifacts_dir, ignore_errors=True)
    prepare_folders(settings)
    bootstrap(shared_orchestrator)
    return shared_orchestrator


class NoLogs:
    """Nobody's logs: tests that read logs bring their own."""

    def module_log(self, *_: Any, **__: Any) -> str:
        raise AssertionError("no test asked for it")

    def follow_module_log(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no test asked for it")


@pytest.fixture
def app(orchestrator: Orchestrator) -> Flask:
    return create_app(orchestrator, node_logs=NoLogs())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def log_in(client: FlaskClient) -> Callable[[str], Headers]:
    """A header with a token of a user, logged in once for each test."""
    known: dict[str, Headers] = {}

    def as_user(username: str) -> Headers:
        if username not in known:
            answer = client.post("/api/v1/authentication/login", json={"username": username, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            known[username] = {"Authorization": f"Bearer {answer.json['token']}"}  # type: ignore[index]
        return known[username]

    return as_user


@pytest.fixture
def viewer(log_in: Callable[[str], Headers]) -> Headers:
    return log_in("viewer")


@pytest.fixture
def deployer(log_in: Callable[[str], Headers]) -> Headers:
    return log_in("deployer")


@pytest.fixture
def admin(log_in: Callable[[str], Headers]) -> Headers:
    return log_in("admin")


def archive(name: str = "payment-processor", version: str = "1.0.0", extra: Mapping[str, bytes] | None = None) -> bytes:
    """A small valid archive of a `process` module."""
    manifest = f"""name: {name}
version: {version}
kind: process
run:
  command: ["python3", "-m", "http.server"]
  listen: "127.0.0.1:0"
health: {{path: /}}
"""
    files = {"hotswap.yaml": manifest.encode(), "app.py": b"print('hello')\n", **(extra or {})}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz", compresslevel=1) as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


@dataclass
class Publisher:
    """Publishes as a build server does."""

    client: FlaskClient
    headers: Headers
    key: signatures.PrivateKey

    def __call__(self, content: bytes, name: str = "payment-processor", **parts: Any) -> TestResponse:
        digest = signatures.Digest(hashlib.sha256(content).digest())
        form = {
            "artifact": (io.BytesIO(content), "module.tar.gz"),
            "signature": signatures.sign(self.key, digest),
            "keyId": signatures.key_id(self.key.public_key()),
            **parts,
        }
        return self.client.post(
            f"/api/v1/modules/{name}/releases",
            data={key: value for key, value in form.items() if value is not None},
            headers=self.headers,
            content_type="multipart/form-data",
        )


@pytest.fixture
def publish(client: FlaskClient, deployer: Headers, signing_key: signatures.PrivateKey) -> Publisher:
    return Publisher(client, deployer, signing_key)


def problem_of(answer: TestResponse) -> dict[str, Any]:
    """The body of an answer that must be a problem, whole."""
    assert answer.content_type == "application/problem+json", answer.text
    body: dict[str, Any] = answer.get_json(force=True)
    assert body["status"] == answer.status_code
    assert {"type", "title", "status", "detail", "instance", "error", "traceId"} <= body.keys()
    assert "\n" not in body["error"]
    if answer.status_code == 400:
        assert body["errors"]
    return body
