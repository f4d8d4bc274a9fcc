-- The engine's SQL, named, in one place. `deployment_store.py` is its only caller.
-- Order of locks, everywhere: the deployment's row, then its lane's row, then rows of stages, operations and outbox, which
-- only who holds the deployment's row waits for.

-- name: insert
-- A new deployment, whose place in the lane's line is taken already.
with deployment as (
    insert into deployments
           (id, tenant_id, kind, status, module_id, module_name, release_id, version, digest, environment_id,
            environment_name, strategy, policy, force, requested_by, requested_with, requester_email, description,
            details, trace_id, not_before, needs_approval, place, retry_of, rollback_of, targets, event_seq, submitted_at)
    values (%(id)s, %(tenant_id)s, %(kind)s, %(status)s, %(module_id)s, %(module_name)s, %(release_id)s, %(version)s,
            %(digest)s, %(environment_id)s, %(environment_name)s, %(strategy)s, %(policy)s, %(force)s, %(requested_by)s,
            %(requested_with)s, %(requester_email)s, %(description)s, %(details)s, %(trace_id)s, %(not_before)s,
            %(needs_approval)s, %(place)s, %(retry_of)s, %(rollback_of)s, %(targets)s,
            jsonb_array_length(%(events)s::jsonb), %(now)s)
), stage as (
    insert into stages (id, tenant_id, deployment_id, position, kind, status, claimable, message, steps, details, ended_at)
    select s.id, %(tenant_id)s, %(id)s, s.position, s.kind, s.status, s.claimable, s.message, s.steps, s.details,
           case when s.ended then hotswap_now() end
      from jsonb_to_recordset(%(stages)s::jsonb)
           as s (id uuid, position integer, kind text, status text, claimable boolean, message text, steps integer,
                 details jsonb, ended boolean)
), event as (
    insert into deployment_events (deployment_id, seq, tenant_id, kind, body, at)
    select %(id)s, n, %(tenant_id)s, e->>'kind', e->'body', %(now)s
      from jsonb_array_elements(%(events)s::jsonb) with ordinality as told(e, n)
)
insert into outbox (work_id, tenant_id, deployment_id, task, queue, root_id, parent_id, trace_id, publish_at)
select w."workId", %(tenant_id)s, %(id)s, w.task, w.queue, w."rootId", w."parentId", w."traceId",
       %(now)s + %(backoff)s * interval '1 second'
  from jsonb_to_recordset(%(wakes)s::jsonb)
       as w ("workId" uuid, task text, queue text, "rootId" uuid, "parentId" uuid, "traceId" text)

-- name: lock_deployment
-- The first statement of every transaction that decides; alone, so that what is read after it is current.
select d.id, d.tenant_id, d.kind, d.status, d.digest, d.version, d.environment_name, d.policy::text, d.strategy, d.force,
       d.course, d.ending, d.reason, d.paused, d.paused_until, d.granted, d.event_seq, d.module_id, d.environment_id,
       d.module_name, d.place, d.not_before, d.targets, d.trace_id, d.submitted_at
  from deployments d where d.id = %(deployment_id)s for no key update

-- name: read_stages
-- With the time, read after the lock was granted.
select id, kind, status, attempt, claimable, due_at, waiting, message, output_tail, losses, approval, step, steps,
       coalesce(started_at, waiting_since), hotswap_now()
  from stages where deployment_id = %(deployment_id)s order by position

-- name: read_operations
select id, node_id, node_name, wave, direction, status, before_digest, before_version, target_digest, target_version,
       attempt, claimable, due_at, follows, tries, changed, active_digest, error, output_tail, losses
  from node_operations where deployment_id = %(deployment_id)s order by position

-- name: now
select hotswap_now()

-- name: save
-- What an outcome changed of a deployment and its stages, with its events and its wake-ups: one statement, because a
-- stage's hot path pays for each. What has ended needs no wake-up any more.
with stage as (
    update stages
       set status = s.status, claimable = s.claimable, due_at = s.due_at, message = s.message,
           output_tail = s.output_tail, losses = s.losses, executor_id = null, deadline_at = null,
           blocked_by = s.blocked_by, approval = coalesce(s.approval, stages.approval), step = s.step,
           details = case when s.details is null then stages.details
                          else coalesce(stages.details, '{}') || s.details end,
           waiting_since = case when s.waiting is null then null
                                when stages.waiting is not distinct from s.waiting then stages.waiting_since
                                else %(now)s end,
           waiting = s.waiting,
           started_at = case when s.status = 'Skipped' and stages.started_at is null then null
                             when s.status in ('Pending', 'Waiting') then stages.started_at
                             else coalesce(stages.started_at, %(now)s) end,
           ended_at = case when s.ended then %(now)s::timestamptz end
      from jsonb_to_recordset(%(stages)s::jsonb)
           as s (id uuid, status text, claimable boolean, due_at timestamptz, waiting text, message text,
                 output_tail text, losses integer, blocked_by uuid, approval jsonb, step integer,
                 details jsonb, ended boolean)
     where stages.id = s.id and stages.deployment_id = %(id)s
), event as (
    insert into deployment_events (deployment_id, seq, tenant_id, kind, body, at)
    select %(id)s, %(event_seq)s + n, %(tenant_id)s, e->>'kind', e->'body', %(now)s
      from jsonb_array_elements(%(events)s::jsonb) with ordinality as told(e, n)
), wake as (
    insert into outbox (work_id, tenant_id, deployment_id, task, queue, root_id, parent_id, trace_id, publish_at)
    select w."workId", %(tenant_id)s, %(id)s, w.task, w.queue, w."rootId", w."parentId", w."traceId",
           coalesce(w."dueAt", %(now)s + %(backoff)s * interval '1 second')
      from jsonb_to_recordset(%(wakes)s::jsonb)
           as w ("workId" uuid, task text, queue text, "rootId" uuid, "parentId" uuid, "traceId" text, "dueAt" timestamptz)
        on conflict (work_id) do update
       set task = excluded.task, queue = excluded.queue, publish_at = excluded.publish_at, published = 0
), forgotten as (
    delete from outbox where deployment_id = %(id)s and %(ended)s
)
update deployments
   set status = %(status)s, digest = %(digest)s, course = %(course)s, ending = %(ending)s, reason = %(reason)s, paused = %(paused)s,
       paused_until = %(paused_until)s, granted = %(granted)s,
       event_seq = %(event_seq)s + jsonb_array_length(%(events)s::jsonb),
       superseded_by = coalesce(%(superseded_by)s, superseded_by),
       started_at = case when %(status)s in ('Queued', 'Scheduled') then started_at else coalesce(started_at, %(now)s) end,
       ended_at = case when %(ended)s then coalesce(ended_at, %(now)s) end
 where id = %(id)s

-- name: insert_operations
insert into node_operations
       (id, tenant_id, deployment_id, position, node_id, node_name, wave, direction, status, before_digest,
        before_version, target_digest, target_version, attempt, claimable, due_at, follows, tries, changed,
        active_digest, error, output_tail, losses, ended_at)
select o.id, %(tenant_id)s, %(deployment_id)s, o.position, o.node_id, o.node_name, o.wave, o.direction, o.status,
       o.before_digest, o.before_version, o.target_digest, o.target_version, 0, o.claimable, o.due_at, o.follows,
       o.tries, o.changed, o.active_digest, o.error, o.output_tail, o.losses, case when o.ended then %(now)s::timestamptz end
  from jsonb_to_recordset(%(operations)s::jsonb)
       as o (id uuid, position integer, node_id uuid, node_name text, wave integer, direction text, status text,
             before_digest text, before_version text, target_digest text, target_version text, claimable boolean,
             due_at timestamptz, follows uuid, tries integer, changed boolean, active_digest text, error text,
             output_tail text, losses integer, ended boolean)

-- name: save_operations
update node_operations
   set status = o.status, claimable = o.claimable, due_at = o.due_at, changed = o.changed,
       active_digest = o.active_digest, error = o.error, output_tail = o.output_tail, losses = o.losses,
       executor_id = null, deadline_at = null, ended_at = case when o.ended then %(now)s::timestamptz end,
       resolving_since = case when o.status = 'Resolving' then coalesce(node_operations.resolving_since, %(now)s) end
  from jsonb_to_recordset(%(operations)s::jsonb)
       as o (id uuid, status text, claimable boolean, due_at timestamptz, changed boolean, active_digest text, error text,
             output_tail text, losses integer, ended boolean)
 where node_operations.id = o.id and node_operations.deployment_id = %(deployment_id)s

-- name: claim_stage
-- A transaction of its own. The deployment is locked first, as everywhere; of the stage that then is updated PostgreSQL
-- takes the version that was committed while the lock was waited for, and looks again whether it is still claimable. (One
-- that becomes so in that very moment is not seen: its own wake-up, sent after that commit, is still to come.)
with locked as materialized (
    select id from deployments where id = %(deployment_id)s for no key update
), claimed as (
    update stages
       set status = 'Running', claimable = false, attempt = attempt + 1, executor_id = %(executor_id)s,
           claimed_at = hotswap_now(), started_at = coalesce(started_at, hotswap_now()), due_at = null,
           deadline_at = hotswap_now() + %(budget)s * interval '1 second'
      from locked
     where stages.id = %(work_id)s and stages.deployment_id = locked.id and claimable
       and (due_at is null or due_at <= hotswap_now())
 returning stages.id, deployment_id, tenant_id, kind, attempt, waiting, step
), woken as (
    delete from outbox using claimed where outbox.work_id = claimed.id
), numbered as (
    update deployments d
       set event_seq = event_seq + 1, started_at = coalesce(started_at, hotswap_now()),
           status = case when d.status = 'Queued' then 'Running' else d.status end
      from claimed where d.id = claimed.deployment_id and claimed.waiting is null
 returning d.id, d.event_seq, d.environment_name
), told as (
    insert into deployment_events (deployment_id, seq, tenant_id, kind, body)
    select claimed.deployment_id, numbered.event_seq, claimed.tenant_id, 'stage.running',
           jsonb_build_object('stage', case claimed.kind when 'Deploy' then 'Deploy to ' || numbered.environment_name
                                                         else claimed.kind end, 'attempt', claimed.attempt)
           || case when claimed.step > 1 then jsonb_build_object('step', claimed.step) else '{}' end
      from claimed join numbered on numbered.id = claimed.deployment_id
)
select attempt, kind, step, waiting is null as begins from claimed

-- name: lock_for_claim
-- Before claim_operation in one transaction, in a statement of its own: the cap counts what was committed meanwhile. Of
-- all claims that the cap of an environment is for, in whichever deployment, one goes at a time; it waits for nobody.
with locked as materialized (
    select id, environment_id from deployments where id = %(deployment_id)s for no key update
)
select pg_advisory_xact_lock(hashtextextended(locked.environment_id::text, 1))
  from locked join node_operations o on o.deployment_id = locked.id
 where o.id = %(work_id)s and o.status = 'Dispatched' and o.direction = 'forward'

-- name: claim_operation
with claimed as (
    update node_operations
       set status = case when status = 'Dispatched' then 'Running' else status end, claimable = false,
           attempt = attempt + 1, executor_id = %(executor_id)s, claimed_at = hotswap_now(), due_at = null,
           started_at = coalesce(started_at, hotswap_now()),
           deadline_at = hotswap_now() + %(budget)s * interval '1 second'
     where id = %(work_id)s and deployment_id = %(deployment_id)s and claimable
       and (due_at is null or due_at <= hotswap_now())
       -- The cap of the whole environment holds back what goes forward, and nothing that goes back or is resolved.
       and (status = 'Resolving' or direction = 'back' or %(cap)s > (
            select count(*) from node_operations other join deployments theirs on theirs.id = other.deployment_id
             where other.status = 'Running'
               and theirs.environment_id = (select environment_id from deployments where id = %(deployment_id)s)))
 returning *
), woken as (
    delete from outbox using claimed where outbox.work_id = claimed.id
), numbered as (
    update deployments d set event_seq = event_seq + 1
      from claimed where d.id = claimed.deployment_id and claimed.status = 'Running'
 returning d.id, d.event_seq
), told as (
    insert into deployment_events (deployment_id, seq, tenant_id, kind, body)
    select claimed.deployment_id, numbered.event_seq, claimed.tenant_id, 'operation.running',
           jsonb_build_object('operationId', claimed.id, 'node', claimed.node_name, 'wave', claimed.wave,
                              'direction', claimed.direction, 'version', claimed.target_version,
                              'attempt', claimed.attempt)
      from claimed join numbered on numbered.id = claimed.deployment_id
)
select c.attempt, c.status, c.direction, c.node_id, c.node_name, c.before_version, c.target_digest, c.target_version,
       c.active_digest, c.tenant_id, d.module_name, d.environment_name, d.fencing_token, d.force, n.address,
       r.size_bytes, r.signature, r.key_id, r.manifest, c.error, r.source_digest, r.attestation
  from claimed c
  join deployments d on d.id = c.deployment_id
  left join nodes n on n.id = c.node_id
  left join runnable_releases r
         on r.module_id = d.module_id and r.version = c.target_version and r.digest = c.target_digest

-- name: hand_back_stages
-- A process that stops in order gives back what it holds; the next attempt begins at once.
select id, deployment_id, attempt from stages where executor_id = %(executor_id)s
 union all
select id, deployment_id, attempt from node_operations where executor_id = %(executor_id)s

-- name: held_claim
select attempt from stages where id = %(work_id)s and executor_id = %(executor_id)s
 union all
select attempt from node_operations where id = %(work_id)s and executor_id = %(executor_id)s

-- name: lock_lane
select holder, fencing_token, granted_place from lanes
 where module_id = %(module_id)s and environment_id = %(environment_id)s for update

-- name: take_place
insert into lanes (module_id, environment_id, tenant_id, last_place) values (%(module_id)s, %(environment_id)s, %(tenant_id)s, 1)
    on conflict (module_id, environment_id) do update set last_place = lanes.last_place + 1
returning last_place

-- name: lane_line
-- Everybody of the lane who has not ended, in order of submission, with what the Deploy stage of each is doing.
select d.id, d.kind, d.place, d.status, d.version, s.status, s.waiting
  from deployments d join stages s on s.deployment_id = d.id and s.kind = 'Deploy'
 where d.module_id = %(module_id)s and d.environment_id = %(environment_id)s
   and d.status not in ('Succeeded', 'Failed', 'RolledBack', 'Rejected', 'Expired', 'Cancelled', 'Superseded')
 order by d.place

-- name: jump_tokens
-- Under a lock of this transaction, and then a new token is taken: two that jump at once get two.
with alone as (select pg_advisory_xact_lock(20260101))
select setval('fencing_tokens', greatest(%(seen)s, (select last_value from fencing_tokens))) from alone

-- name: grant_lane
-- The lane's row is locked already, and the token is taken after that. Returned with the highest that any node has seen.
with lane as (
    update lanes set holder = %(deployment_id)s, fencing_token = nextval('fencing_tokens'), granted_at = hotswap_now(),
           granted_place = greatest(granted_place, %(place)s)
     where module_id = %(module_id)s and environment_id = %(environment_id)s
       and (holder is null or holder = %(deployment_id)s)
 returning fencing_token
)
update deployments set fencing_token = lane.fencing_token from lane where id = %(deployment_id)s
returning deployments.fencing_token, (select coalesce(max(highest_token), 0) from nodes)

-- name: release_lane
update lanes set holder = null, granted_at = null
 where module_id = %(module_id)s and environment_id = %(environment_id)s and holder = %(deployment_id)s

-- name: wake_line
-- Those that wait for this lane look again at once. They are other deployments, whose rows we do not hold: what somebody
-- holds is passed over, stage and outbox row alike, and looks again anyway.
with waiting as (
    select s.id, s.deployment_id from stages s join deployments d on d.id = s.deployment_id
      join outbox o on o.work_id = s.id
     where d.module_id = %(module_id)s and d.environment_id = %(environment_id)s and s.claimable and s.waiting = 'lane'
     order by d.place limit 20 for update of s, o skip locked
), due as (
    update stages set due_at = hotswap_now() from waiting where stages.id = waiting.id
)
update outbox set publish_at = hotswap_now() + interval '1 second' from waiting where outbox.work_id = waiting.id
returning outbox.work_id, outbox.deployment_id, outbox.task, outbox.queue, outbox.root_id, outbox.parent_id,
          outbox.trace_id

-- name: record_desired
insert into desired_releases (node_id, module_id, tenant_id, digest, version, fencing_token, deployment_id, since)
select n.id, %(module_id)s, %(tenant_id)s, w->>'digest', w->>'version', d.fencing_token, d.id, hotswap_now()
  from jsonb_array_elements(%(desired)s::jsonb) as w
  join nodes n on n.id = (w->>'nodeId')::uuid
  join deployments d on d.id = %(deployment_id)s
    on conflict (node_id, module_id) do update
   set since = case when desired_releases.digest is distinct from excluded.digest then excluded.since
                    else desired_releases.since end,
       deployment_id = case when desired_releases.digest is distinct from excluded.digest then excluded.deployment_id
                            else desired_releases.deployment_id end,
       digest = excluded.digest, version = excluded.version, fencing_token = excluded.fencing_token
 where desired_releases.fencing_token <= excluded.fencing_token

-- name: record_observed
-- What a node's final answer says runs there, so that reads need not wait for its next heartbeat.
insert into node_releases (node_id, module_name, tenant_id, digest, version, status, endpoint, fencing_token, sequence)
select n.id, %(module_name)s, n.tenant_id, %(digest)s, %(version)s, %(status)s, %(endpoint)s, %(fencing_token)s, %(sequence)s
  from nodes n where n.id = %(node_id)s
    on conflict (node_id, module_name) do update
   set digest = excluded.digest, version = excluded.version, status = excluded.status, endpoint = excluded.endpoint,
       fencing_token = excluded.fencing_token, sequence = excluded.sequence, updated_at = hotswap_now()
 where node_releases.sequence < excluded.sequence

-- name: nodes_of_environment
select n.id, n.hostname, n.labels, n.drained, extract(epoch from hotswap_now() - n.last_heartbeat)::float8,
       r.digest, r.version, w.digest, w.version, w.node_id is not null
  from nodes n
  left join node_releases r on r.node_id = n.id and r.module_name = %(module_name)s
  left join desired_releases w on w.node_id = n.id and w.module_id = %(module_id)s
 where n.environment_id = %(environment_id)s
 order by n.hostname

-- name: release_manifest
select manifest from runnable_releases
 where module_id = %(module_id)s and version = %(version)s and digest = %(digest)s

-- name: versions_of_environment
-- What runs of other modules on the nodes of an environment, for `requires`.
select r.module_name, r.version, count(*) from node_releases r join nodes n on n.id = r.node_id
 where n.environment_id = %(environment_id)s and r.module_name = any(%(names)s) and r.digest is not null
 group by r.module_name, r.version

-- name: listened_for
-- For how many seconds somebody has been listening to agents; null when nobody does.
select max(extract(epoch from hotswap_now() - started_at))::float8 from executors
 where role = 'agent-listener' and renewed_at > hotswap_now() - interval '5 seconds'
