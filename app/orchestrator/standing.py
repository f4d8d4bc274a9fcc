"""Gauges that only PostgreSQL and Redis know: asked for at a scrape, all at once, each within its time limit.

What does not answer in time is absent from that scrape, never 0. What got stuck keeps its thread and is not asked
again before it came back. Answers are kept for a second, so that many scrapes cost as much as one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis

import app.infrastructure.db
from agent.telemetry.names import Field
from app.infrastructure.db.queries import load as load_queries
from app.infrastructure.metrics import Declared, asked
from app.infrastructure.outbox import PUBLISHED_AT
from app.orchestrator.context import Orchestrator
from app.orchestrator.dispatching import QUEUES
from config.settings import Settings

log = logging.getLogger(__name__)

CACHED_SECONDS = 1.0
SQL = load_queries(Path(app.infrastructure.db.__path__[0]) / "standing.sql")

QUEUE_DEPTH = asked("hotswap_queue_depth", "Messages that wait in the broker.", Field.QUEUE)
OLDEST_MESSAGE = asked(
    "hotswap_queue_oldest_message_seconds",
    "For how long the next message of a queue has waited; 0 where none waits, absent where that is unknown.",
    Field.QUEUE,
)
OUTBOX_ROWS = asked(
    "hotswap_outbox_rows",
    "Wake-ups that nobody has claimed: later (not due yet), overdue (to be published again).",
    Field.STATE,
)
OUTBOX_OVERDUE = asked(
    "hotswap_outbox_overdue_seconds", "For how long the oldest wake-up has been owed and not published; 0: none is."
)
CLAIMS = asked("hotswap_claims", "Leases: claims that are held, of stages and of node operations.", Field.KIND)
LANES = asked("hotswap_lanes_held", "Lanes that a deployment holds.")
DEPLOYMENTS = asked("hotswap_deployments", "Deployments that have not ended.", Field.STATUS)
EXECUTORS = asked("hotswap_executors", "Processes that showed their presence within 10 s.", Field.ROLE)
NODES = asked("hotswap_nodes", "Nodes: heard (within 10 s), silent, drained.", Field.ENVIRONMENT, Field.STATE)
MODULES = asked(
    "hotswap_module_instances",
    "Modules on nodes by what their agents say: running, restarting, crashLoop, ...",
    Field.ENVIRONMENT,
    Field.STATUS,
)

Ask = Callable[[], Iterable[Metric]]


class Standing(Collector):
    """One for each process that answers scrapes."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        settings = orchestrator.settings
        self._timeout = settings.health_timeout
        self._asks: Mapping[str, Ask] = {
            "broker": _asking_broker(settings),
            "work": lambda: _work(orchestrator),
            "nodes": lambda: _nodes(orchestrator),
        }
        self._pool = ThreadPoolExecutor(max_workers=len(self._asks), thread_name_prefix="standing")
        self._running: dict[str, Future[list[Metric]]] = {}
        self._lock = threading.Lock()
        self._answers: list[Metric] = []
        self._at = -CACHED_SECONDS

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._at >= CACHED_SECONDS:
                self._answers = self._ask()
                self._at = time.monotonic()
            return list(self._answers)

    def _ask(self) -> list[Metric]:
        begun = time.monotonic()
        for name, ask in self._asks.items():
            if name not in self._running:
                self._running[name] = self._pool.submit(_asked, ask)
        return [metric for name in self._asks for metric in self._answer(name, begun)]

    def _answer(self, name: str, begun: float) -> list[Metric]:
        left = max(0.0, self._timeout - (time.monotonic() - begun))
        try:
            metrics = self._running[name].result(timeout=left)
        except FutureTimeoutError:
            log.info("metrics of %s are absent: no answer in time", name)
            return []
        except Exception as error:  # a scrape must not fail for what a database or broker makes of its trouble
            del self._running[name]
            log.info("metrics of %s are absent: %r", name, error)
            return []
        del self._running[name]
        return metrics


def _asked(ask: Ask) -> list[Metric]:
    return list(ask())


def _asking_broker(settings: Settings) -> Ask:
    timeout = min(settings.redis_timeout, settings.health_timeout)
    client = Redis.from_url(
        settings.broker_url,
        socket_connect_timeout=min(settings.redis_connect_timeout, timeout),
        socket_timeout=timeout,
    )

    def ask() -> Iterable[Metric]:
        depth, oldest = QUEUE_DEPTH.family(), OLDEST_MESSAGE.family()
        with client.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.llen(queue)
                pipeline.lindex(queue, -1)  # kombu pushes on the left and takes from the right
            answers: list[Any] = pipeline.execute()
        for queue, waiting, next_ in zip(QUEUES, answers[::2], answers[1::2], strict=True):
            depth.add_metric([queue], waiting)
            age = 0.0 if next_ is None else message_age(next_, time.time())
            if age is not None:
                oldest.add_metric([queue], age)
        return (depth, oldest)

    return ask


def message_age(message: bytes, now: float) -> float | None:
    """Seconds since a message of Celery's was published, as its header says; None where it does not."""
    try:
        return max(0.0, now - float(json.loads(message)["headers"][PUBLISHED_AT]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _work(orchestrator: Orchestrator) -> Iterable[Metric]:
    with orchestrator.database.raw() as connection:
        work: Any = connection.execute(SQL["work"]).fetchone()
        later, overdue, age, stages, operations, lanes = work
        deployments: Any = connection.execute(SQL["deployments"]).fetchall()
        executors: Any = connection.execute(SQL["executors"]).fetchall()
    yield _filled(OUTBOX_ROWS, [("later", later), ("overdue", overdue)])
    yield _filled(OUTBOX_OVERDUE, [(age,)])
    yield _filled(CLAIMS, [("stage", stages), ("node operation", operations)])
    yield _filled(LANES, [(lanes,)])
    yield _filled(DEPLOYMENTS, deployments)
    yield _filled(EXECUTORS, executors)


def _nodes(orchestrator: Orchestrator) -> Iterable[Metric]:
    with orchestrator.database.raw() as connection:
        nodes: Any = connection.execute(SQL["nodes"]).fetchall()
        modules: Any = connection.execute(SQL["modules"]).fetchall()
    yield _filled(NODES, nodes)
    yield _filled(MODULES, modules)


def _filled(declared: Declared, rows: Iterable[tuple[Any, ...]]) -> GaugeMetricFamily:
    """Of rows that have the labels' values and then the number."""
    family = declared.family()
    for *labels, value in rows:
        family.add_metric([str(label) for label in labels], float(value))
    return family
