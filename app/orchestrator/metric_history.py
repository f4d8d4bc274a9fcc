"""The history of a cluster's metrics: what was sampled, summed by bucket. How samples are made: heartbeats.py.

Samples are by node for a while (`metrics_detail`), afterwards by cluster and minute, so that a week of 500 nodes is
ten thousand rows and not twenty million. Both hold what was counted since the sample before, so that a bucket is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from app.domain import metric_window
from app.infrastructure.db.reading import read
from app.orchestrator import environments
from app.orchestrator.context import Orchestrator, Requester

_NOW: LiteralString = "select hotswap_now()"
_BUCKETS: LiteralString = """
with told as (
    select at, cpu, (cpu is not null)::integer as cpu_samples, memory, (memory is not null)::integer as memory_samples,
           requests, errors, timed, seconds
      from node_samples where environment_id = %(environment)s and at >= %(start)s and at < %(end)s
     union all
    select at, cpu, cpu_samples, memory, memory_samples, requests, errors, timed, seconds
      from cluster_samples where environment_id = %(environment)s and at >= %(start)s and at < %(end)s
)
select date_bin(%(interval)s, at, timestamptz 'epoch') as bucket,
       sum(cpu) / nullif(sum(cpu_samples), 0), sum(memory) / nullif(sum(memory_samples), 0),
       1000 * sum(seconds) / nullif(sum(timed), 0), sum(errors) / nullif(sum(requests), 0)
  from told group by bucket
"""
# The oldest first, so that a tick that could not do all is gone on with by the next. What another tick has in hand is
# left to it; the sums are made in one order, so that two that meet in a minute wait for each other and do not lock up.
_ROLL_UP: LiteralString = """
with old as (
    select ctid from node_samples where at < date_trunc('minute', hotswap_now() - %(detail)s)
     order by at limit %(most)s for update skip locked
), taken as (
    delete from node_samples where ctid in (select ctid from old) returning *
), summed as (
    insert into cluster_samples (environment_id, at, tenant_id, cpu, cpu_samples, memory, memory_samples, requests,
                                 errors, timed, seconds)
    select environment_id, date_trunc('minute', at) as minute, tenant_id, coalesce(sum(cpu), 0), count(cpu),
           coalesce(sum(memory), 0), count(memory), sum(requests), sum(errors), sum(timed), sum(seconds)
      from taken group by environment_id, minute, tenant_id order by environment_id, minute
        on conflict (environment_id, at) do update
       set cpu = cluster_samples.cpu + excluded.cpu, cpu_samples = cluster_samples.cpu_samples + excluded.cpu_samples,
           memory = cluster_samples.memory + excluded.memory,
           memory_samples = cluster_samples.memory_samples + excluded.memory_samples,
           requests = cluster_samples.requests + excluded.requests, errors = cluster_samples.errors + excluded.errors,
           timed = cluster_samples.timed + excluded.timed, seconds = cluster_samples.seconds + excluded.seconds
)
select count(*) from taken
"""
_FORGET: LiteralString = """
with old as (
    select ctid from cluster_samples where at < hotswap_now() - %(retention)s
     order by at limit %(most)s for update skip locked
), gone as (
    delete from cluster_samples where ctid in (select ctid from old) returning 1
)
select count(*) from gone
"""
_BATCH = 20_000
_MOST_BATCHES = 10


@dataclass(frozen=True, slots=True)
class Point:
    """A bucket from `at` on: shares from 0 to 1, milliseconds. None: nobody said anything, which is not zero."""

    at: datetime
    cpu: float | None
    memory: float | None
    latency: float | None
    error_rate: float | None


@dataclass(frozen=True, slots=True)
class History:
    environment: str
    interval: timedelta
    points: Sequence[Point]


def history(
    orchestrator: Orchestrator,
    requester: Requester,
    environment: str,
    begin: datetime | None,
    end: datetime | None,
    interval: timedelta | None,
) -> History:
    """Every bucket of the window, oldest first, those with nothing in them too. Raises NotFound, Invalid."""
    found = environments.identified(orchestrator, requester, environment)
    now = read(orchestrator.database, _NOW, {})[0][0]
    asked = metric_window.window(now, begin, end, interval)
    values = {"environment": found.id, "start": asked.start, "end": asked.end, "interval": asked.interval}
    rows: dict[datetime, Any] = {row[0]: row[1:] for row in read(orchestrator.database, _BUCKETS, values)}
    nothing = (None, None, None, None)
    points = [Point(bucket, *rows.get(bucket, nothing)) for bucket in asked.buckets()]
    return History(found.name, asked.interval, points)


def keep(orchestrator: Orchestrator) -> int:
    """Sum up what is too old for detail, and forget what is too old altogether. Returns how many rows went.

    Bounded: what is more than some batches waits for the next tick. Safe to run twice, and at once.
    """
    settings = orchestrator.settings
    detail, retention = timedelta(seconds=settings.metrics_detail), timedelta(seconds=settings.metrics_retention)
    return _batches(orchestrator, _ROLL_UP, {"detail": min(detail, retention)}) + _batches(
        orchestrator, _FORGET, {"retention": retention}
    )


def _batches(orchestrator: Orchestrator, statement: LiteralString, values: dict[str, Any]) -> int:
    gone = 0
    for _ in range(_MOST_BATCHES):
        done = int(read(orchestrator.database, statement, {**values, "most": _BATCH})[0][0])
        gone += done
        if done < _BATCH:
            break
    return gone
