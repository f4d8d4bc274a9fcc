"""PostgreSQL and Valkey for a benchmark: as durable as in production, in a folder of their own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from app.infrastructure.db.migrate import upgrade
from deploy.local.ports import free_ports
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey


@contextmanager
def running(command: list[str], environment: dict[str, str], answers: Callable[[], bool], log: Path) -> Iterator[None]:
    """A server process until the block ends; waits up to a minute until it answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-1000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """Both servers; yields the HOTSWAP_* environment that an orchestrator needs to use them."""
    from agent.certificates import issue_orchestrator_certificate, make_ca

    postgres = Postgres(folder / "postgres", free_ports(1)[0], secrets.token_hex(16))
    valkey = Valkey(folder, free_ports(1)[0], secrets.token_hex(16))
    postgres.prepare()
    valkey.prepare()
    authority = make_ca()
    (folder / "ca.pem").write_bytes(authority.certificate)
    issue_orchestrator_certificate(authority, ["127.0.0.1"]).write(
        folder / "orchestrator.pem", folder / "orchestrator.key"
    )

    def postgres_answers() -> bool:
        try:
            psycopg.connect(postgres.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    with (
        running(postgres.command(), postgres.environment(), postgres_answers, folder / "postgres.log"),
        running(valkey.command(), dict(os.environ), valkey.answers, folder / "valkey.log"),
    ):
        upgrade(postgres.url().replace("postgresql://", "postgresql+psycopg://", 1))
        yield {
            "HOTSWAP_DATABASE_URL": postgres.url(),
            "HOTSWAP_BROKER_URL": valkey.url(0),
            "HOTSWAP_JWT_SECRET": secrets.token_hex(32),
            "HOTSWAP_TLS_CA": str(folder / "ca.pem"),
            "HOTSWAP_TLS_CERTIFICATE": str(folder / "orchestrator.pem"),
            "HOTSWAP_TLS_KEY": str(folder / "orchestrator.key"),
            "HOTSWAP_ARTIFACTS_DIR": str(folder / "artifacts"),
        }
