"""What runs where: for each module and environment the release that was decided on, by whom, and what differs.

It is read from the desired state, which the terminal transaction of a deployment writes, so it needs no heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.domain.deployment import TERMINAL
from app.orchestrator.context import Orchestrator, Requester

MOST_LANES = 5000
_LANES = text(
    """
    with counted as (
        select w.module_id, n.environment_id, w.version, count(*) as nodes, max(w.since) as since,
               (array_agg(w.deployment_id order by w.since desc))[1] as deployment_id
        from desired_releases w join nodes n on n.id = w.node_id
        where w.tenant_id = :tenant and w.version is not null
        group by w.module_id, n.environment_id, w.version
    ), decided as (
        -- What most nodes are to run. They differ where a rollout went on without some, or was left in the middle.
        select distinct on (module_id, environment_id) counted.*,
               jsonb_agg(jsonb_build_object('version', version, 'nodes', nodes)) over lane as versions
        from counted
        window lane as (partition by module_id, environment_id order by nodes desc, since desc
                        rows between unbounded preceding and unbounded following)
        order by module_id, environment_id, nodes desc, since desc
    )
    select m.name as module, e.name as environment, decided.version, decided.since as decided_at,
           decided.deployment_id, made.id as made_by_id, made.requested_by, made.ended_at as made_at,
           earlier.version as previous_version, decided.versions,
           coalesce(pending.them, '[]'::jsonb) as pending,
           coalesce(drift.them, '[]'::jsonb) as drift
    from decided
    join modules m on m.id = decided.module_id
    join environments e on e.id = decided.environment_id
    left join lateral (
        -- Who brought this version here: a deployment that went back names what it found, not itself; one that found
        -- nothing to change, or repaired a node, brought nothing. One that was ended half-way and stayed there did.
        select d.id, d.requested_by, d.ended_at, d.place from deployments d
        where d.module_id = decided.module_id and d.environment_id = decided.environment_id
          and d.status in ('Succeeded', 'Cancelled', 'Failed') and d.version = decided.version and d.kind <> 'system'
          and exists (select from node_operations o where o.deployment_id = d.id and o.status = 'Succeeded')
        order by d.id desc limit 1
    ) made on true
    left join lateral (
        select d.version from deployments d
        where d.module_id = decided.module_id and d.environment_id = decided.environment_id
          and d.status = 'Succeeded' and d.version <> decided.version and d.id < made.id and d.kind <> 'system'
        order by d.id desc limit 1
    ) earlier on true
    left join lateral (
        select jsonb_agg(jsonb_build_object('executionId', d.id, 'version', d.version, 'status', d.status)
                         order by d.id) as them
        from deployments d
        where d.module_id = decided.module_id and d.environment_id = decided.environment_id
          and d.status not in {terminal}
    ) pending on true
    left join lateral (
        select jsonb_agg(jsonb_build_object('nodeId', n.id, 'hostname', n.hostname, 'version', r.version,
                                            'desiredVersion', w.version) order by n.hostname) as them
        from desired_releases w
        join nodes n on n.id = w.node_id
        left join node_releases r on r.node_id = w.node_id and r.module_name = m.name
        where w.module_id = decided.module_id and n.environment_id = decided.environment_id
          and r.digest is distinct from w.digest
          and not exists (select from lanes l where l.module_id = w.module_id
                          and l.environment_id = n.environment_id and l.holder is not null)
    ) drift on true
    where (cast(:module as text) is null or m.name = :module)
    order by m.name, e.position, e.name limit :limit
    """.replace("{terminal}", "(" + ", ".join(f"'{status.value}'" for status in sorted(TERMINAL)) + ")")
)


@dataclass(frozen=True, slots=True)
class Placement:
    """A module in an environment.

    `version` is what most nodes are to run, `versions` how many are to run which, most first (one entry, where all are
    alike). `pending` are deployments under way there, `drift` the nodes that report another digest than was decided
    (none while a deployment holds the lane).
    """

    module_name: str
    environment: str
    version: str
    versions: Sequence[dict[str, Any]]
    since: datetime
    deployed_by: str | None
    execution_id: UUID
    previous_version: str | None
    pending: Sequence[dict[str, Any]]
    drift: Sequence[dict[str, Any]]


def placements(orchestrator: Orchestrator, requester: Requester, module: str | None = None) -> Sequence[Placement]:
    """By module and environment, at most `MOST_LANES`."""
    values = {"tenant": requester.tenant_id, "module": module, "limit": MOST_LANES}
    with orchestrator.database.session() as session:
        return [_placement(row) for row in session.execute(_LANES, values)]


def _placement(row: Any) -> Placement:
    return Placement(
        module_name=row.module,
        environment=row.environment,
        version=row.version,
        versions=row.versions,
        since=row.made_at or row.decided_at,
        deployed_by=row.requested_by,
        execution_id=row.made_by_id or row.deployment_id,
        previous_version=row.previous_version,
        pending=row.pending,
        drift=row.drift,
    )
