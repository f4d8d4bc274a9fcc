"""(a) Pipeline: six-stage pipelines with trivial stages, against a bare Celery chain of six no-ops.

Both run two prefork children on the same PostgreSQL and Valkey, in turns. Throughput counts from the first submission
to the end of the last; every stage of ours is claimed, decided and committed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import chain

from app.domain.deployment import DeploymentKind, Version
from app.domain.policy import StrategyKind, parse_policy
from app.infrastructure.db.engine import Database
from app.infrastructure.db.models import DEFAULT_TENANT
from app.infrastructure.publisher import BackgroundPublisher
from app.orchestrator import submitting
from app.orchestrator.context import Orchestrator
from app.orchestrator.submitting import Draft
from tests.benchmarks.figures import Figure, Section, median
from tests.benchmarks.servers import servers

PIPELINES = 200
ROUNDS = 3
SINGLE = 20
SETTLES = 4.0
"""Seconds in which a worker and its reconciler import what they need: no part of a rate."""
SHORTFALL = """
Why it falls short. A stage costs about 8 ms of CPU over all processes where the chain's step costs 3.5: both pay for
Celery's delivery, trace, result and publishing; a stage beside that for its claim (one statement), its outcome (lock
and read, decide, one write: two round trips) and PostgreSQL's share of them, and a commit on disk for each stage and
each submission, for which two children wait in turns. Tried without effect beyond the noise: publishing in line instead
of on a thread, a shorter switch interval, four children for both. What would help: one statement for lock and read (a
function in the database), and claiming the next stage with the outcome that opens it, at the price of Celery's chain.
""".strip()


@contextmanager
def _worker(application: str, queues: str) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", application, "worker", "-Q", queues, "-P", "prefork", "-c", "2"]
    process = subprocess.Popen(
        [*command, "-l", "ERROR", "--without-gossip", "--without-mingle"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(SETTLES)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Chain:
    """The yardstick."""

    def __init__(self) -> None:
        from tests.benchmarks.pipeline import chain as yardstick

        self._step: Any = yardstick.step

    def _start(self) -> Any:
        return chain(self._step.s(0, 0), *[self._step.s(number) for number in range(1, 6)]).apply_async()

    def warm(self) -> None:
        self._start().get(timeout=60)

    def throughput(self) -> float:
        begun = time.monotonic()
        for result in [self._start() for _ in range(PIPELINES)]:
            result.get(timeout=120)
        return PIPELINES / (time.monotonic() - begun)

    def latency(self) -> float:
        begun = time.monotonic()
        self._start().get(timeout=60, interval=0.001)
        return time.monotonic() - begun


# A lane for each pipeline, so that none waits for another, and one node that runs it already: the Deploy stage takes
# its lane and token, finds nothing to change, and records the desired state.
_ONE_NODE = """
insert into nodes (id, tenant_id, environment_id, hostname, address, agent_version, boot_id, sequence, last_heartbeat)
values (uuidv7(), %s, %s, 'bench', '127.0.0.1:1', '0', 'boot', 1, hotswap_now() + interval '1 day')
"""
_MODULES = """
insert into modules (id, tenant_id, name) select uuidv7(), %s, 'bench-' || n from generate_series(1, %s) as n
returning id, name
"""
_RUNS_IT = """
insert into node_releases (node_id, module_name, tenant_id, digest, version, status, sequence)
select nodes.id, modules.name, %s, %s, '1.0.0', 'running', 1 from nodes, modules
"""


class _Engine:
    """Ours."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        digest = "sha256:" + "0" * 64
        with orchestrator.database.raw() as connection:
            environment: Any = connection.execute(
                "insert into environments (id, tenant_id, name, position, policy, updated_by)"
                " values (uuidv7(), %s, 'QA', 2, '{}', 'bench') returning id",
                (DEFAULT_TENANT,),
            ).fetchone()
            connection.execute(_ONE_NODE, (DEFAULT_TENANT, environment[0]))
            modules: Any = connection.execute(_MODULES, (DEFAULT_TENANT, PIPELINES)).fetchall()
            connection.execute(_RUNS_IT, (DEFAULT_TENANT, digest))
        self._modules: list[tuple[UUID, str]] = list(modules)
        self._submitted = 0
        self._draft = Draft(
            kind=DeploymentKind.DEPLOY,
            tenant_id=DEFAULT_TENANT,
            module_id=self._modules[0][0],
            module_name=self._modules[0][1],
            release_id=None,
            release=Version(digest, "1.0.0"),
            environment_id=environment[0],
            environment_name="QA",
            strategy=StrategyKind.DIRECT,
            policy=parse_policy({}),
            requested_by="bench",
            trace_id="0" * 32,
            builds=True,
            tests=True,
            # Six claims: Build, the scan in two steps, Test, Deploy, Validation. An approval is nobody's task.
            approvals=False,
        )

    def _submit(self) -> UUID:
        module_id, name = self._modules[self._submitted % len(self._modules)]
        self._submitted += 1
        draft = replace(self._draft, module_id=module_id, module_name=name)
        with self._orchestrator.database.raw() as connection:
            inserted = submitting.insert(connection, self._orchestrator, draft)
        self._orchestrator.publisher.publish(inserted.wakes)
        return inserted.state.id

    def _open(self) -> int:
        with self._orchestrator.database.raw() as connection:
            row: Any = connection.execute("select count(*) from deployments where status <> 'Succeeded'").fetchone()
        return int(row[0])

    def warm(self) -> None:
        self._submit()
        while self._open():
            time.sleep(0.05)

    def throughput(self) -> float:
        begun = time.monotonic()
        for _ in range(PIPELINES):
            self._submit()
        while self._open():
            time.sleep(0.02)
        return PIPELINES / (time.monotonic() - begun)

    def latency(self) -> float:
        begun = time.monotonic()
        self._submit()
        while self._open():
            time.sleep(0.001)
        return time.monotonic() - begun


def measure(folder: Path) -> Section:
    with servers(folder) as environment:
        os.environ.update(environment)
        from config.settings import settings
        from workers.celery_app import publishing

        publisher = BackgroundPublisher(publishing)
        database = Database(settings())
        engine, yardstick = _Engine(Orchestrator(database, settings(), publisher)), _Chain()
        pairs, latencies = [], []
        for _ in range(ROUNDS):
            with _worker("tests.benchmarks.pipeline.chain", "chain"):
                yardstick.warm()
                bare = yardstick.throughput()
                bare_latency = median([yardstick.latency() for _ in range(SINGLE)])
            with _worker("tests.benchmarks.pipeline.engine", "pipeline,build,scan,deploy"):
                engine.warm()
                ours = engine.throughput()
                our_latency = median([engine.latency() for _ in range(SINGLE)])
            pairs.append((ours, bare))
            latencies.append((our_latency, bare_latency))
        publisher.stop()
        database.close()
    ratio = median([ours / bare for ours, bare in pairs])
    slower = median([ours / bare for ours, bare in latencies])
    rate = f"{median([ours for ours, _ in pairs]):.0f} pipelines/s"
    bare_rate = f"{median([bare for _, bare in pairs]):.0f} chains/s"
    one = f"{median([ours for ours, _ in latencies]) * 1000:.0f} ms"
    bare_one = f"{median([bare for _, bare in latencies]) * 1000:.0f} ms"
    return Section(
        "(a) Pipeline",
        f"{PIPELINES} pipelines of six trivial tasks, {ROUNDS} rounds in turns with a bare Celery chain of six no-ops"
        " on the same servers, two prefork children each. Every stage is claimed, decided and committed (fsync on).",
        (
            Figure("throughput", rate, bare_rate, ratio, "1.0, not under 0.6", ratio >= 0.6),
            Figure("latency of one, median", one, bare_one, slower, "reported", True),
        ),
        shortfall=SHORTFALL,
    )
