-- What metrics ask of the database at a scrape. `standing.py` is its only caller. All of it is bounded by what is open.

-- name: work
select count(*) filter (where o.publish_at > hotswap_now()), count(*) filter (where o.publish_at <= hotswap_now()),
       coalesce(extract(epoch from hotswap_now() - min(o.publish_at)
                                                   filter (where o.publish_at <= hotswap_now())), 0)::float8,
       (select count(*) from stages where executor_id is not null),
       (select count(*) from node_operations where executor_id is not null),
       (select count(*) from lanes where holder is not null)
  from outbox o

-- name: deployments
-- Every status that is not the last, also where none has it.
select s.status, sum(these.count)
  from tenants t
 cross join unnest(array['Queued', 'Scheduled', 'Running', 'PendingApproval', 'Soaking', 'Paused', 'Cancelling',
                         'RollingBack']) as s (status)
 cross join lateral (select count(*) from deployments d where d.tenant_id = t.id and d.status = s.status) as these
 group by s.status

-- name: executors
select role, count(*) from executors where renewed_at > hotswap_now() - interval '10 seconds' group by role

-- name: nodes
with seen as (
    select e.name as environment,
           case when n.drained then 'drained'
                when n.last_heartbeat > hotswap_now() - interval '10 seconds' then 'heard' else 'silent' end as state
      from nodes n join environments e on e.id = n.environment_id
)
select e.name, s.state, count(seen.state)
  from environments e cross join unnest(array['heard', 'silent', 'drained']) as s (state)
  left join seen on seen.environment = e.name and seen.state = s.state
 group by e.name, s.state

-- name: modules
select e.name, r.status, count(*)
  from node_releases r join nodes n on n.id = r.node_id join environments e on e.id = n.environment_id
 group by e.name, r.status
