"""Is this orchestrator able to work: every check really asks, all at once, each within its time limit.

A check that got stuck keeps its thread; it is not asked again before it came back, and counts as failed meanwhile. The
report is kept for a second, so that many askers cost as much as one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis
from sqlalchemy import func, select, text

from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.db.models import Executor, Node
from app.infrastructure.presence import AGENT_LISTENER
from app.orchestrator.beat_ticks import BEAT_KEY, BEAT_KEY_SECONDS
from app.orchestrator.context import Orchestrator
from app.orchestrator.dispatching import QUEUES
from config.settings import Settings

CACHED_SECONDS = 1.0
NEEDED_TO_SUBMIT = ("postgresql", "artifacts")
_WORKER_SILENCE = text("interval '10 seconds'")


class Overall(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class CheckResult:
    passed: bool
    latency_ms: float
    detail: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    status: Overall
    checks: Mapping[str, CheckResult]


class _NotGoodError(Exception):
    """A check that got an answer which is not good enough; the text is its detail."""


Check = Callable[[], str]


class HealthMonitor:
    """One for each process. Unavailable until each check has passed once; then while one that is needed fails."""

    def __init__(self, orchestrator: Orchestrator, artifacts: ArtifactStore) -> None:
        settings = orchestrator.settings
        self._timeout = settings.health_timeout
        self._checks: dict[str, Check] = {
            "postgresql": lambda: _postgresql(orchestrator),
            "redis": _asking_redis(settings, settings.redis_url),
            "broker": _asking_redis(settings, settings.broker_url),
            "workers": lambda: _workers(orchestrator),
            "beat": _asking_beat(settings),
            "artifacts": lambda: _artifacts(artifacts),
            "nodes": lambda: _nodes(orchestrator),
        }
        self._pool = ThreadPoolExecutor(max_workers=len(self._checks), thread_name_prefix="health")
        self._running: dict[str, Future[tuple[str, float]]] = {}
        self._passed_once: set[str] = set()
        self._lock = threading.Lock()
        self._report: HealthReport | None = None
        self._at = 0.0

    def report(self) -> HealthReport:
        """The report of now, at most a second old."""
        with self._lock:
            if self._report is None or time.monotonic() - self._at > CACHED_SECONDS:
                self._report = self._ask()
                self._at = time.monotonic()
            return self._report

    def _ask(self) -> HealthReport:
        begun = time.monotonic()
        for name, check in self._checks.items():
            if name not in self._running:
                self._running[name] = self._pool.submit(_timed, check)
        results = {name: self._result(name, begun) for name in self._checks}
        self._passed_once.update(name for name, result in results.items() if result.passed)
        return HealthReport(self._overall(results), results)

    def _result(self, name: str, begun: float) -> CheckResult:
        running = self._running[name]
        try:
            left = max(0.0, self._timeout - (time.monotonic() - begun))
            detail, seconds = running.result(timeout=left)
        except FutureTimeoutError:
            return CheckResult(False, self._timeout * 1000, f"no answer within {self._timeout:g} s")
        except Exception as error:
            del self._running[name]
            return CheckResult(False, _milliseconds(time.monotonic() - begun), _sentence(error))
        del self._running[name]
        return CheckResult(True, _milliseconds(seconds), detail)

    def _overall(self, results: Mapping[str, CheckResult]) -> Overall:
        if all(result.passed for result in results.values()):
            return Overall.OK
        never = set(self._checks) - self._passed_once
        if never or not all(results[name].passed for name in NEEDED_TO_SUBMIT):
            return Overall.UNAVAILABLE
        return Overall.DEGRADED


def _timed(check: Check) -> tuple[str, float]:
    begun = time.monotonic()
    return check(), time.monotonic() - begun


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _sentence(error: Exception) -> str:
    text_of = str(getattr(error, "orig", None) or error).strip()
    return (text_of.splitlines() or [type(error).__name__])[0][:200]


def _postgresql(orchestrator: Orchestrator) -> str:
    with orchestrator.database.session() as session:
        version = session.execute(text("show server_version")).scalar_one()
    return f"PostgreSQL {version}"


def _client(settings: Settings, url: str) -> Redis:
    timeout = min(settings.redis_timeout, settings.health_timeout)
    return Redis.from_url(
        url, socket_connect_timeout=min(settings.redis_connect_timeout, timeout), socket_timeout=timeout
    )


def _asking_redis(settings: Settings, url: str) -> Check:
    client = _client(settings, url)

    def ask() -> str:
        client.ping()
        return "answers"

    return ask


def _workers(orchestrator: Orchestrator) -> str:
    """Processes that execute claims renew their row every second; every queue needs one (`deploy`, `deploy-2`, ...)."""
    fresh = Executor.renewed_at > func.hotswap_now() - _WORKER_SILENCE
    works = Executor.role != AGENT_LISTENER
    with orchestrator.database.session() as session:
        rows = session.execute(
            select(Executor.role, func.count()).where(fresh, works).group_by(Executor.role).order_by(Executor.role)
        ).all()
    missing = [queue for queue in QUEUES if not any(role.partition("-")[0] == queue for role, _count in rows)]
    if missing:
        raise _NotGoodError(f"no worker of {', '.join(missing)} has been heard from for 10 s")
    return ", ".join(f"{role}: {count}" for role, count in rows)


def _asking_beat(settings: Settings) -> Check:
    """A tick that went from beat over the broker to a worker leaves a key that expires."""
    client = _client(settings, settings.redis_url)

    def ask() -> str:
        left: Any = client.ttl(BEAT_KEY)
        if left < 0:
            raise _NotGoodError(f"no tick has arrived for {BEAT_KEY_SECONDS} s")
        return f"the last tick arrived {BEAT_KEY_SECONDS - left} s ago"

    return ask


def _artifacts(artifacts: ArtifactStore) -> str:
    artifacts.prove()
    return "written and read"


def _nodes(orchestrator: Orchestrator) -> str:
    """As many nodes as are expected are enrolled and were heard from lately."""
    expected = orchestrator.settings.expected_nodes
    heard = func.count().filter(func.hotswap_now() - Node.last_heartbeat < text("interval '30 seconds'"))
    with orchestrator.database.session() as session:
        enrolled, heard_from = session.execute(select(func.count(), heard).select_from(Node)).one()
    if heard_from < (expected or 0):
        raise _NotGoodError(f"{heard_from} of {expected} expected nodes were heard from, {enrolled} are enrolled")
    return f"{heard_from} of {enrolled} enrolled nodes were heard from" + (f", {expected} expected" if expected else "")
