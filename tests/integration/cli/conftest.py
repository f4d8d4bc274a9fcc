"""A real API (gunicorn over PostgreSQL and Valkey) for the command line to talk to; one for all tests of this folder.

Where tests need stages to run, a pipeline worker runs too; nodes need agents, which the end-to-end tests have.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from agent.certificates import issue_orchestrator_certificate, make_ca
from agent.signatures import generate, private_pem, public_pem
from app.cli.invocation import Invocation
from app.cli.main import COMMANDS
from app.cli.program import run
from deploy.local.ports import free_ports
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
ADMIN = "the-first-of-all-passwords"
DEPLOYER = "another-long-passphrase"
VIEWER = "looking-is-all-it-may"


def _start(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def _stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Server:
    """The API's process. `key` is the publisher's key that it trusts everywhere."""

    url: str
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    key: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "config" / "gunicorn_api.py")]
        self.process = _start([*command, "app.api.wsgi:application"], self.environment, self.folder / "api.log")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if httpx.get(f"{self.url}/health/live", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "api.log").read_text()[-3000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            _stop(self.process, signal.SIGQUIT)  # gunicorn's quick end: streams have no end of their own
            self.process = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """With a worker for the pipeline's stages, as Procfile has it."""
        command = [sys.executable, "-m", "celery", "-A", "workers.celery_app", "worker"]
        command += ["-Q", "pipeline,scan", "-n", "pipeline@%h", "-P", "prefork", "-c", "1"]
        process = _start(command, {**self.environment, "REMAP_SIGTERM": "SIGQUIT"}, self.folder / "worker.log")
        try:
            yield
        finally:
            _stop(process)


@pytest.fixture(scope="package")
def server(
    postgres: Postgres, valkey: Valkey, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cli-server")
    with ExitStack() as stack:
        database = stack.enter_context(_database(postgres, migrated_template))
        server = _prepared(folder, database, valkey.url(valkey.databases - 1))
        server.start()
        stack.callback(server.stop)
        yield server


@contextmanager
def _database(postgres: Postgres, template: str) -> Iterator[str]:
    name = sql.Identifier("cli_test")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))
        yield postgres.url("cli_test")
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _prepared(folder: Path, database: str, broker: str) -> Server:
    (folder / "trusted").mkdir()
    (folder / "artifacts").mkdir()
    key = generate()
    (folder / "publisher.key").write_bytes(private_pem(key))
    (folder / "trusted" / "publisher.pub").write_bytes(public_pem(key.public_key()))
    authority = make_ca()
    certificate = issue_orchestrator_certificate(authority)
    for name, content in [
        ("ca.pem", authority.certificate),
        ("orchestrator.pem", certificate.certificate),
        ("orchestrator.key", certificate.key),
    ]:
        (folder / name).write_bytes(content)
    port, agents = free_ports(2)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOTSWAP_DATABASE_URL": database,
        "HOTSWAP_BROKER_URL": broker,
        "HOTSWAP_PORT": str(port),
        "HOTSWAP_AGENT_PORT": str(agents),
        "HOTSWAP_API_PROCESSES": "1",
        "HOTSWAP_OUTBOX_BACKOFF": "1",
        "HOTSWAP_JWT_SECRET": secrets.token_hex(32),
        "HOTSWAP_TLS_CA": str(folder / "ca.pem"),
        "HOTSWAP_TLS_CERTIFICATE": str(folder / "orchestrator.pem"),
        "HOTSWAP_TLS_KEY": str(folder / "orchestrator.key"),
        "HOTSWAP_ARTIFACTS_DIR": str(folder / "artifacts"),
        "HOTSWAP_TRUSTED_KEYS_DIR": str(folder / "trusted"),
        "HOTSWAP_ADMIN_PASSWORD": ADMIN,
        "HOTSWAP_DEPLOYER_PASSWORD": DEPLOYER,
        "HOTSWAP_VIEWER_PASSWORD": VIEWER,
    }
    return Server(f"http://127.0.0.1:{port}", environment, folder, folder / "publisher.key")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Hotswap = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environment(server: Server, home: Path) -> dict[str, str]:
    """What the command finds around it: a home of its own, and an administrator's name and password."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HOTSWAP_URL": server.url,
        "HOTSWAP_USERNAME": "admin",
        "HOTSWAP_PASSWORD": ADMIN,
        "HOTSWAP_SIGNING_KEY": str(server.key),
        "HOTSWAP_DATA_DIR": str(home / "no-stack"),
    }


@pytest.fixture
def hotswap(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Hotswap:
    """Runs a command in this process: `hotswap("status", HOTSWAP_TOKEN="...")`; an empty variable is none."""

    def invoke(*arguments: str, **more: str) -> Result:
        capsys.readouterr()
        code = run(COMMANDS, arguments, Invocation({**environment, **more}))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return invoke
