-- The reconciler's SQL. `reconciling.py` is its only caller.

-- name: claims
-- Every claim with its executor: whether its row exists, how often it was renewed, whether its lock is held.
-- Looks in pg_locks and never tries the lock.
with held as (
    select ((classid::bigint << 32) | objid::bigint) as key from pg_locks
     where locktype = 'advisory' and objsubid = 1 and granted
       and database = (select oid from pg_database where datname = current_database())
), claimed as (
    select executor_id, id, deployment_id, attempt from stages where executor_id is not null
     union all
    select executor_id, id, deployment_id, attempt from node_operations where executor_id is not null
)
select c.executor_id, c.id, c.deployment_id, c.attempt, e.renewals, h.key is not null
  from claimed c
  left join executors e on e.id = c.executor_id
  left join held h on h.key = e.lock_key

-- name: postmaster
select pg_postmaster_start_time()::text

-- name: spent
select id, deployment_id, attempt from stages where executor_id is not null and deadline_at < hotswap_now()
 union all
select id, deployment_id, attempt from node_operations where executor_id is not null and deadline_at < hotswap_now()

-- name: owed
-- Wake-ups that are due again, by anybody. Rows that another reconciler holds are passed over.
update outbox
   set published = published + 1,
       publish_at = hotswap_now() + least(%(backoff)s * power(2, least(published, 4)), 60) * interval '1 second'
 where work_id in (
    select work_id from outbox where publish_at <= hotswap_now() and queue = any(%(queues)s)
     order by publish_at limit %(batch)s for update skip locked)
returning work_id, deployment_id, task, queue, root_id, parent_id, trace_id

-- name: pauses_expired
select id from deployments where paused and paused_until <= hotswap_now()
   and status not in ('Succeeded', 'Failed', 'RolledBack', 'Rejected', 'Expired', 'Cancelled', 'Superseded')

-- name: silent_nodes
-- Nodes with an operation in flight, for how long they have been silent or have not ended a resolve, and what their
-- deployment tolerates. Silence counts only while somebody listens to agents.
with listened as (
    select max(hotswap_now() - started_at) as span from executors
     where role = 'agent-listener' and renewed_at > hotswap_now() - interval '5 seconds'
)
select o.deployment_id, o.node_id, coalesce(n.sequence, -1),
       extract(epoch from least(hotswap_now() - n.last_heartbeat, coalesce(listened.span, interval '0')))::float8,
       coalesce(extract(epoch from hotswap_now() - o.resolving_since), 0)::float8, d.policy->>'nodeLostAfter'
  from node_operations o
  join deployments d on d.id = o.deployment_id
  left join nodes n on n.id = o.node_id
 cross join listened
 where o.status in ('Dispatched', 'Running', 'Resolving')
   and d.status not in ('Succeeded', 'Failed', 'RolledBack', 'Rejected', 'Expired', 'Cancelled', 'Superseded')
   and (n.id is null or n.last_heartbeat < hotswap_now() - interval '4 seconds'
        or o.resolving_since < hotswap_now() - interval '4 seconds')

-- name: returned_nodes
-- Nodes that a rollout under way passed over, lost, or does not know yet, and that are heard from.
with latest as (
    select distinct on (o.deployment_id, o.node_id) o.deployment_id, o.node_id, o.status, o.active_digest, o.target_digest
      from node_operations o join deployments d on d.id = o.deployment_id
     where d.granted order by o.deployment_id, o.node_id, o.position desc
)
select d.id, n.id
  from deployments d
  join nodes n on n.environment_id = d.environment_id
  left join latest l on l.deployment_id = d.id and l.node_id = n.id
  left join releases r on r.id = d.release_id
 where d.granted and not n.drained
   and n.last_heartbeat > hotswap_now() - interval '4 seconds'
   and ((l.status = 'Skipped' and l.active_digest is distinct from l.target_digest and d.course = 'forward')
        or l.status = 'Lost'
        or (l.node_id is null and d.course = 'forward'
            and (d.targets is null or d.targets ? n.id::text)
            and n.labels @> coalesce(r.manifest->'placement', '{}'::jsonb)))

-- name: dead_executors
delete from executors e
 where e.renewed_at < hotswap_now() - interval '10 minutes'
   and not exists (select 1 from stages s where s.executor_id = e.id)
   and not exists (select 1 from node_operations o where o.executor_id = e.id)
