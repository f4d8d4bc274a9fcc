"""Real servers for every test: one PostgreSQL and one Valkey a session, a database of its own for each test.

`database_url` is migrated (by a copy of a template that was migrated once), `empty_database_url` is not.
`broker_url` is an empty numbered database of the broker.
"""

import ctypes
import gc
import itertools
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from deploy.local.ports import free_ports
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey

# The settings of a stack that whoever runs the tests has at hand are none of theirs; what tests themselves are asked by
# stays.
_SWITCHES = ("HOTSWAP_E2E_SWAPS", "HOTSWAP_TEST_SWAPS", "HOTSWAP_HYPOTHESIS")
for _name in [name for name in os.environ if name.startswith(("HOTSWAP_", "OTEL_")) and name not in _SWITCHES]:
    del os.environ[_name]

START_LIMIT = 60.0
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None)


END_TO_END = "tests/e2e/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End-to-end tests first: they take about as long as all others together, see `pytest_xdist_make_scheduler`."""
    items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


def pytest_collection_finish() -> None:
    """What was collected stays until the end: looking through it for garbage again and again took seconds, in which a
    server may end a transaction of the test's that idles."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For two processes at once (`make test`): one takes the end-to-end tests, which share a stack and mostly wait, the
    other all else, file by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return END_TO_END if nodeid.startswith(END_TO_END) else nodeid.partition("::")[0]

    return ByFile(config, log)


def _end_with_parent() -> None:
    """In the child: SIGKILL when the test session dies, however it dies (PR_SET_PDEATHSIG is 1)."""
    _libc.prctl(1, signal.SIGKILL)


@contextmanager
def _running(
    command: list[str], log: Path, answers: Callable[[], bool], stop: signal.Signals, environment: dict[str, str]
) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_end_with_parent,
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[-3:]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL 18; its superuser may create databases. It does not wait for the disk."""
    folder = tmp_path_factory.mktemp("pg")
    server = Postgres(folder / "data", free_ports(1)[0], secrets.token_hex(16), durable=False)
    server.prepare()

    def answers() -> bool:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    with _running(server.command(), folder / "log", answers, signal.SIGQUIT, server.environment()):
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A running Valkey 9 with a password and an append-only file."""
    folder = tmp_path_factory.mktemp("valkey")
    server = Valkey(folder, free_ports(1)[0], secrets.token_hex(16), databases=4096)
    server.prepare()
    with _running(server.command(), folder / "log", server.answers, signal.SIGTERM, dict(os.environ)):
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database with every migration applied, to be copied and never used itself."""
    from app.infrastructure.db.migrate import upgrade  # unit tests need not wait for it

    name = "template_hotswap"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    upgrade(postgres.url(name).replace("postgresql://", "postgresql+psycopg://", 1))
    return name


@contextmanager
def _database(server: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            yield server.url(name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres: Postgres, migrated_template: str) -> Iterator[str]:
    """The URL (postgresql://...) of a migrated database of this test's own, dropped after it."""
    with _database(postgres, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a database without a table, dropped after the test."""
    with _database(postgres, "template0") as url:
        yield url


@pytest.fixture
def broker_url(valkey: Valkey) -> str:
    """The URL (redis://...) of an empty broker database of this test's own."""
    return valkey.url(next(_numbers) % valkey.databases)
