"""Desired state, kept: a node that runs something else than was decided gets a deployment of the system's own kind.

Such a deployment is in every list (`requestedBy: system`), takes the lane and a token like any other, and gives way
to people's. It touches nothing while anybody else has business in the lane. One that failed is tried again later and
later, so that a node that cannot be repaired does not fill the history.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

from app.domain.deployment import DeploymentKind, Version
from app.domain.module_policy import effective
from app.domain.policy import StrategyKind, parse_policy
from app.infrastructure.db.engine import Raw
from app.orchestrator import submitting
from app.orchestrator.context import Orchestrator
from app.orchestrator.submitting import Draft

log = logging.getLogger(__name__)

_ADOPT = """
insert into desired_releases (node_id, module_id, tenant_id, digest, version, fencing_token, deployment_id, since)
select n.id, w.module_id, w.tenant_id, w.digest, w.version, w.fencing_token, w.deployment_id, hotswap_now()
  from (select distinct on (d.module_id, m.environment_id) d.*, m.environment_id
          from desired_releases d join nodes m on m.id = d.node_id
         where d.digest is not null
         order by d.module_id, m.environment_id, d.fencing_token desc) as w
  join runnable_releases r on r.module_id = w.module_id and r.version = w.version and r.digest = w.digest
  join nodes n on n.environment_id = w.environment_id and not n.drained
       and n.labels @> coalesce(r.manifest->'placement', '{}'::jsonb)
 where not exists (select 1 from desired_releases x where x.node_id = n.id and x.module_id = w.module_id)
    on conflict do nothing
"""
_DRIFT = """
select m.id, m.name, m.tenant_id, e.id, e.name, e.policy, n.id, w.digest, w.version, r.id, p.overrides
  from desired_releases w
  join nodes n on n.id = w.node_id
  join modules m on m.id = w.module_id
  join environments e on e.id = n.environment_id
  left join module_policies p on p.environment_id = e.id and p.module_id = m.id
  left join node_releases o on o.node_id = n.id and o.module_name = m.name
  left join runnable_releases r on r.module_id = m.id and r.version = w.version and r.digest = w.digest
 where o.digest is distinct from w.digest and not n.drained
   and n.last_heartbeat > hotswap_now() - interval '6 seconds'
   and not exists (
        select 1 from deployments d where d.module_id = m.id and d.environment_id = e.id
           and d.status not in ('Succeeded', 'Failed', 'RolledBack', 'Rejected', 'Expired', 'Cancelled', 'Superseded',
                                'Scheduled'))
   and not exists (
        select 1 from deployments d where d.module_id = m.id and d.environment_id = e.id and d.kind = 'system'
           and d.status <> 'Succeeded' and d.status <> 'Superseded' and d.targets ? n.id::text
           and d.ended_at > hotswap_now() - least(
               30 * power(2, (select count(*) from deployments f
                               where f.module_id = m.id and f.environment_id = e.id and f.kind = 'system'
                                 and f.status not in ('Succeeded', 'Superseded') and f.targets ? n.id::text
                                 and f.ended_at > hotswap_now() - interval '1 day')), 3600) * interval '1 second')
 order by m.id, e.id
 limit 2000
"""
_POLICY = {
    "strategy": "rolling",
    # Of the one node that has come back, no share can be kept in service.
    "rolling": {"batch": "25%", "minInService": None},
    "unavailableNodes": "skip",
    "maxUnavailableAtStart": "100%",
    "onNodeLost": "continue",
    "maxFailedNodes": 100_000,
}


def repair(orchestrator: Orchestrator) -> int:
    """One look at all drift. Returns how many deployments were made. Safe to run twice at once: lanes keep order."""
    made = 0
    with orchestrator.database.raw() as connection:
        connection.execute(_ADOPT)
        rows: list[Any] = connection.execute(_DRIFT).fetchall()
    for lane in dict.fromkeys((row[0], row[3]) for row in rows):
        drifted = [row for row in rows if (row[0], row[3]) == lane]
        with orchestrator.database.raw() as connection:
            inserted = _submit(connection, orchestrator, drifted)
        if inserted is not None:
            submitting.announce(orchestrator, inserted)
            made += 1
    return made


def _submit(connection: Raw, orchestrator: Orchestrator, drifted: list[Any]) -> submitting.Inserted | None:
    module_id, module_name, tenant_id, environment_id, environment, policy, *_rest = drifted[0]
    # The lane's row orders this with every submission; whoever came first while we looked is left alone.
    key = (module_id, environment_id)
    connection.execute("select 1 from lanes where module_id = %s and environment_id = %s for update", key)
    busy = connection.execute(
        "select 1 from deployments where module_id = %s and environment_id = %s and status not in"
        " ('Succeeded', 'Failed', 'RolledBack', 'Rejected', 'Expired', 'Cancelled', 'Superseded', 'Scheduled')",
        key,
    ).fetchone()
    if busy:
        return None
    targets = {str(row[6]): Version(row[7], row[8] or "") if row[7] else None for row in drifted}
    wanted = [target for target in targets.values() if target]
    release = max(set(wanted), key=wanted.count) if wanted else Version("", "none")
    draft = Draft(
        kind=DeploymentKind.SYSTEM,
        tenant_id=tenant_id,
        module_id=module_id,
        module_name=module_name,
        release_id=next((row[9] for row in drifted if row[7] == release.digest), None),
        release=release,
        environment_id=environment_id,
        environment_name=environment,
        strategy=StrategyKind.ROLLING,
        policy=parse_policy({**effective(policy, drifted[0][10]).policy.to_json(), **_POLICY}),
        requested_by="system",
        trace_id=secrets.token_hex(16),
        description=f"brings {len(targets)} node(s) to desired state",
        targets=targets,
    )
    return submitting.insert(connection, orchestrator, draft)
