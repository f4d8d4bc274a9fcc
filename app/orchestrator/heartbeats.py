"""What a node says of itself, every few seconds, and what it is told in return (docs/agent-protocol.md).

500 nodes at a beat every 2 s are 250 transactions a second, so a beat is one statement and one round trip, prepared
once for each connection. A beat is applied only if its sequence is higher than the node's last one, and a module's row
only if no newer report (an operation's result) wrote it. All parts of the statement see the same snapshot.

The first beat in each `metrics_sample_interval` also leaves a sample: the node's load, and what its modules
counted since the sample before. A counter that became less, or is another release's, began anew at 0. One that was
never seen before tells of nobody knows how long, and counts from the next sample on. One that is not told this time
(the agent could not ask the module) is kept for the next.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg.errors

from app.domain.durations import parse_duration
from app.domain.errors import Conflict, NotPermitted
from app.infrastructure.db.models import DEFAULT_TENANT
from app.orchestrator.context import Orchestrator

_MOST_VOID = 100
# A beat which is not applied to the node is not applied to its modules either. One that a crash loses is followed by
# the next: nobody waits for the disk 250 times a second, so the setting is that of this statement's own transaction.
_STATEMENT = """
with unhurried as (
    select set_config('synchronous_commit', 'off', true) as setting
), applied as (
    insert into nodes (id, tenant_id, environment_id, hostname, address, agent_version, boot_id, sequence, labels,
                       resources, metrics, highest_token)
    select %(node)s, e.tenant_id, e.id, %(hostname)s, %(address)s, %(agent_version)s, %(boot_id)s, %(sequence)s,
           %(labels)s, %(resources)s, %(metrics)s, %(highest_token)s
      from environments e where e.tenant_id = %(tenant)s and lower(e.name) = lower(%(environment)s)
        on conflict (id) do update
       set environment_id = excluded.environment_id, hostname = excluded.hostname, address = excluded.address,
           agent_version = excluded.agent_version, boot_id = excluded.boot_id, sequence = excluded.sequence,
           labels = excluded.labels, resources = excluded.resources, metrics = excluded.metrics,
           highest_token = greatest(nodes.highest_token, excluded.highest_token), last_heartbeat = hotswap_now()
     where nodes.sequence < excluded.sequence
    returning id, tenant_id, environment_id
{sampled}), gone as (
    delete from node_releases r using applied
     where r.node_id = applied.id and r.sequence < %(sequence)s and r.module_name <> all(%(names)s)
), reported as (
    insert into node_releases (node_id, module_name, tenant_id, digest, version, status, endpoint, fencing_token,
                               sequence, standby, metrics)
    select applied.id, m.module, applied.tenant_id, m.digest, m.version, m.status, m.endpoint, m.token, %(sequence)s,
           m.standby, nullif(m.metrics, 'null'::jsonb)
      from applied, jsonb_to_recordset(%(modules)s) as m (module text, digest text, version text, status text,
                                                          endpoint text, token bigint, standby jsonb, metrics jsonb)
        on conflict (node_id, module_name) do update
       set digest = excluded.digest, version = excluded.version, status = excluded.status,
           endpoint = excluded.endpoint, fencing_token = excluded.fencing_token, sequence = excluded.sequence,
           standby = excluded.standby, metrics = excluded.metrics, updated_at = hotswap_now()
     where node_releases.sequence < excluded.sequence
)
select (select policy->>'nodeLostAfter' from environments
         where tenant_id = %(tenant)s and lower(name) = lower(%(environment)s)),
       array(select id from node_operations where node_id = %(node)s and status = 'Lost'
              order by id desc limit %(most)s),
       (select json_agg(json_build_array(w.tenant_id, m.name, w.fencing_token))
          from desired_releases w join modules m on m.id = w.module_id where w.node_id = %(node)s)
  from unhurried
"""


_SAMPLED = """), slot as (
    select date_bin(%(sampling)s, hotswap_now(), timestamptz 'epoch') as at
), earlier as (
    select at, totals from node_samples where node_id = %(node)s order by at desc limit 1
), sampled as (
    insert into node_samples (node_id, at, tenant_id, environment_id, cpu, memory, requests, errors, timed, seconds,
                              totals)
    select applied.id, slot.at, applied.tenant_id, applied.environment_id, %(cpu)s::float8, %(memory)s::float8,
           grown.requests, grown.errors, grown.timed, grown.seconds,
           coalesce((select jsonb_object_agg(key, value) from jsonb_each(earlier.totals) where key = any(%(names)s)),
                    '{}'::jsonb) || %(totals)s::jsonb
      from applied cross join slot left join earlier on true
     cross join lateral (
           select coalesce(sum((n.now->>1)::float8 - goes_on * (was->>1)::float8), 0) as requests,
                  coalesce(sum((n.now->>2)::float8 - goes_on * (was->>2)::float8), 0) as errors,
                  coalesce(sum((n.now->>3)::float8 - goes_on * (was->>3)::float8), 0) as timed,
                  coalesce(sum((n.now->>4)::float8 - goes_on * (was->>4)::float8), 0) as seconds
             from jsonb_each(%(totals)s::jsonb) as n (module, now)
            cross join lateral (select earlier.totals->n.module as was) as before
            cross join lateral (
                  select (was->>0 = n.now->>0 and (was->>1)::float8 <= (n.now->>1)::float8
                          and (was->>2)::float8 <= (n.now->>2)::float8 and (was->>3)::float8 <= (n.now->>3)::float8
                          and (was->>4)::float8 <= (n.now->>4)::float8)::integer as goes_on) as counter
            where was is not null) as grown
     where earlier.at is null or earlier.at < slot.at
        on conflict do nothing
"""
_BEAT = _STATEMENT.replace("{sampled}", "")
_BEAT_AND_SAMPLE = _STATEMENT.replace("{sampled}", _SAMPLED)


@dataclass(frozen=True, slots=True)
class ModuleReport:
    module: str
    digest: str | None
    version: str | None
    status: str
    endpoint: str | None
    fencing_token: int
    standby: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any] | None
    totals: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`node_id` and `environment` are from the certificate, never from the body."""

    node_id: UUID
    environment: str
    hostname: str
    address: str
    agent_version: str
    boot_id: str
    sequence: int
    labels: Mapping[str, str]
    resources: Mapping[str, Any]
    metrics: Mapping[str, Any]
    highest_token: int
    modules: Sequence[ModuleReport]


@dataclass(frozen=True, slots=True)
class TokenFloor:
    tenant: UUID
    module: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the node is told: seconds, operation ids that must never start, tokens that are the least."""

    interval: float
    node_lost_after: float
    void: Sequence[UUID]
    token_floors: Sequence[TokenFloor]


class Turns:
    """Whose turn it is to leave a sample: of one process, each node once in an interval.

    That only spares the others' beats the longer statement, which takes 0.14 ms more. The interval that counts is the
    database's, in which a second sample of a node does not exist.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._slot = -1
        self._sampled: set[UUID] = set()

    def take(self, node_id: UUID) -> bool:
        """Whether it is this node's turn; then it is no more until the next interval."""
        slot = int(self._clock() // self._interval)
        with self._lock:
            if slot != self._slot:
                self._slot = slot
                self._sampled.clear()
            if node_id in self._sampled:
                return False
            self._sampled.add(node_id)
            return True


def beat(orchestrator: Orchestrator, heartbeat: Heartbeat, *, sample: bool = True) -> Instructions:
    """Take note of a heartbeat, and answer it. With `sample` it also leaves one, if there is none in this interval yet.

    Raises NotPermitted (the certificate's environment does not exist), Conflict (another node has this hostname).
    """
    try:
        with orchestrator.database.single() as connection:
            if sample:
                values = _values(heartbeat) | _sampling(orchestrator, heartbeat)
                told: Any = connection.execute(_BEAT_AND_SAMPLE, values).fetchone()
            else:
                told = connection.execute(_BEAT, _values(heartbeat)).fetchone()
    except psycopg.errors.UniqueViolation:
        raise Conflict(
            f"Another node is called {heartbeat.hostname}: remove it, or give this one another hostname."
        ) from None
    lost_after, void, floors = told
    if lost_after is None:
        raise NotPermitted(f"There is no environment {heartbeat.environment}, which this node's certificate names.")
    return Instructions(
        interval=orchestrator.settings.heartbeat_interval,
        node_lost_after=parse_duration(lost_after).total_seconds(),
        void=void,
        token_floors=[TokenFloor(UUID(tenant), module, token) for tenant, module, token in floors or ()],
    )


def _values(heartbeat: Heartbeat) -> dict[str, Any]:
    modules = [
        {
            "module": report.module,
            "digest": report.digest,
            "version": report.version,
            "status": report.status,
            "endpoint": report.endpoint,
            "token": report.fencing_token,
            "standby": list(report.standby),
            "metrics": report.metrics,
        }
        for report in heartbeat.modules
    ]
    return {
        "node": heartbeat.node_id,
        "tenant": DEFAULT_TENANT,
        "environment": heartbeat.environment,
        "hostname": heartbeat.hostname,
        "address": heartbeat.address,
        "agent_version": heartbeat.agent_version,
        "boot_id": heartbeat.boot_id,
        "sequence": heartbeat.sequence,
        "labels": json.dumps(dict(heartbeat.labels)),
        "resources": json.dumps(dict(heartbeat.resources)),
        "metrics": json.dumps(dict(heartbeat.metrics)),
        "highest_token": heartbeat.highest_token,
        "names": [report.module for report in heartbeat.modules],
        "modules": json.dumps(modules),
        "most": _MOST_VOID,
    }


_COUNTERS = ("requests", "errors", "timed", "seconds")
_MOST_COUNTED = 1e15


def _sampling(orchestrator: Orchestrator, heartbeat: Heartbeat) -> dict[str, Any]:
    """What a sample is made of. Figures that are none are left out: a node's odd metrics must not make it unheard."""
    totals = {}
    for report in heartbeat.modules:
        counted = [_figure(report.totals.get(name)) for name in _COUNTERS] if report.totals else []
        if report.digest and counted and None not in counted:
            totals[report.module] = [report.digest, *counted]
    return {
        "sampling": timedelta(seconds=orchestrator.settings.metrics_sample_interval),
        "cpu": _figure(heartbeat.metrics.get("cpuUsage")),
        "memory": _figure(heartbeat.metrics.get("memoryUsage")),
        "totals": json.dumps(totals),
    }


def _figure(value: object) -> float | None:
    plausible = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_COUNTED
    return float(value) if plausible else None  # type: ignore[arg-type]
