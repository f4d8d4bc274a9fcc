"""Deployments as people ask for them: submit, try dry, cancel, pause, resume, promote, retry, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agent.manifest.versions import parse_version
from app.domain.deployment import Deployment, DeploymentKind, DeploymentStatus, Version
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.events import (
    CancelRequested,
    Event,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
    RetryRequested,
)
from app.domain.policy import Policy, StrategyKind, parse_policy
from app.domain.strategies import BUILT
from app.infrastructure.db.deployment_store import Loaded
from app.infrastructure.db.engine import Raw
from app.orchestrator import outcomes, submitting
from app.orchestrator.cluster_facts import read_targets, release_manifest
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.planning import describe
from app.orchestrator.submitting import Draft


@dataclass(frozen=True, slots=True)
class Submission:
    """What `POST /deployments` asks for, already checked for shape."""

    module_name: str
    version: str
    target_environment: str
    requester_email: str | None = None
    require_approval: bool = False
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    strategy: str | None = None
    not_before: datetime | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    execution_id: UUID
    status: str
    start_time: datetime
    estimated_duration: timedelta
    trace_id: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class RollbackAccepted:
    rollback_id: UUID
    status: str
    nodes_affected: int


def submit(
    orchestrator: Orchestrator,
    requester: Requester,
    submission: Submission,
    *,
    trace_id: str,
    idempotency_key: str | None = None,
    body_hash: str = "",
) -> Accepted:
    """Accept a deployment: durable when this returns.

    Raises NotFound (no such release), Invalid (unknown environment, what this version cannot do), Conflict (same
    idempotency key, other body).
    """
    with orchestrator.database.raw() as connection:
        if idempotency_key:
            earlier = _remembered(connection, requester, idempotency_key, body_hash)
            if earlier:
                return earlier
        draft = draft_of(connection, requester, submission, trace_id)
        inserted = submitting.insert(connection, orchestrator, draft)
        if idempotency_key and not _remember(connection, requester, idempotency_key, body_hash, inserted.state.id):
            connection.rollback()
            earlier = _remembered(connection, requester, idempotency_key, body_hash)
            if earlier is None:
                raise Conflict("The deployment of this Idempotency-Key has just been removed; use another key.")
            return earlier
        estimate = _estimate(connection, draft)
    orchestrator.publisher.publish(inserted.wakes)
    return Accepted(inserted.state.id, inserted.state.status.value, inserted.now, estimate, trace_id)


def dry_run(orchestrator: Orchestrator, requester: Requester, submission: Submission) -> dict[str, Any]:
    """The plan of what `submit` would do, in wire form; changes nothing. Raises as `submit` does."""
    with orchestrator.database.raw() as connection:
        draft = draft_of(connection, requester, submission, trace_id="")
        return describe(connection, orchestrator, draft)


# --- submission ---------------------------------------------------------------------------------------------------


_RELEASE = """
select m.id, r.id, r.digest, r.manifest from modules m
  left join releases r on r.module_id = m.id and r.version = %(version)s
 where m.tenant_id = %(tenant_id)s and m.name = %(module)s
"""
_ENVIRONMENT = """
select id, name, policy from environments where tenant_id = %(tenant_id)s and lower(name) = lower(%(environment)s)
"""


def draft_of(connection: Raw, requester: Requester, submission: Submission, trace_id: str) -> Draft:
    """Check a submission whole, and say what it would insert. Raises as `submit` does."""
    values = {
        "tenant_id": requester.tenant_id,
        "module": submission.module_name,
        "version": submission.version,
        "environment": submission.target_environment,
    }
    environment: Any = connection.execute(_ENVIRONMENT, values).fetchone()
    if environment is None:
        raise Invalid({"targetEnvironment": [f"there is no environment {submission.target_environment}"]})
    release: Any = connection.execute(_RELEASE, values).fetchone()
    if release is None or release[1] is None:
        raise NotFound(f"There is no release {submission.module_name} {submission.version}.")
    module_id, release_id, digest, manifest = release
    policy = parse_policy(environment[2])
    strategy = _strategy(submission.strategy, policy)
    draft = Draft(
        kind=DeploymentKind.DEPLOY,
        tenant_id=requester.tenant_id,
        module_id=module_id,
        module_name=submission.module_name,
        release_id=release_id,
        release=Version(digest, submission.version),
        environment_id=environment[0],
        environment_name=environment[1],
        strategy=strategy,
        policy=policy,
        requested_by=requester.username,
        trace_id=trace_id,
        requester_email=submission.requester_email,
        description=submission.description,
        metadata=submission.metadata,
        not_before=submission.not_before,
        force=submission.force,
    )
    _refuse_what_is_not_built(draft, manifest, submission.require_approval)
    _refuse_downgrade(connection, draft)
    return draft


def _strategy(asked: str | None, policy: Policy) -> StrategyKind:
    if asked is None:
        return policy.strategy
    words = {kind.value.lower(): kind for kind in StrategyKind}
    if asked.lower() not in words:
        raise Invalid({"strategy": ["must be one of " + ", ".join(kind.value for kind in StrategyKind)]})
    return words[asked.lower()]


def _refuse_what_is_not_built(draft: Draft, manifest: Mapping[str, Any], require_approval: bool) -> None:
    """What this version of the product stores and shows, but cannot do, is refused by name, never ignored."""
    errors: dict[str, list[str]] = {}
    policy = draft.policy
    if manifest.get("build"):
        errors["version"] = ["the release has a build, which this version of HotSwap cannot run yet"]
    elif manifest.get("test"):
        errors["version"] = ["the release has tests, which this version of HotSwap cannot run yet"]
    if draft.strategy not in BUILT:
        errors["strategy"] = [f"{draft.strategy.value} is not built yet; direct and rolling are"]
    if require_approval:
        errors["requireApproval"] = ["approvals are not built yet"]
    if policy.approvals.required:
        errors["targetEnvironment"] = [f"the policy of {draft.environment_name} asks for approvals: not built yet"]
    scan = policy.to_json()["scan"]
    if scan["stopAt"] not in ("high", "critical", "never") or scan["osvData"] == "required":
        errors["targetEnvironment"] = [
            f"the policy of {draft.environment_name} asks for a stricter scan: not built yet"
        ]
    for name in ("predecessors", "freeze"):
        if policy.later.get(name):
            errors["targetEnvironment"] = [f"the policy of {draft.environment_name} has {name}: not built yet"]
    if errors:
        raise Invalid(errors)


def _refuse_downgrade(connection: Raw, draft: Draft) -> None:
    if draft.policy.allow_downgrade:
        return
    rows: Any = connection.execute(
        "select distinct w.version from desired_releases w join nodes n on n.id = w.node_id"
        " where w.module_id = %s and n.environment_id = %s and w.version is not null",
        (draft.module_id, draft.environment_id),
    ).fetchall()
    newer = [row[0] for row in rows if parse_version(row[0]) > parse_version(draft.release.version)]
    if newer:
        raise Invalid({"version": [f"{newer[0]} runs in {draft.environment_name}, whose policy allows no downgrade"]})


def _remembered(connection: Raw, requester: Requester, key: str, body_hash: str) -> Accepted | None:
    row: Any = connection.execute(
        "select k.body_hash, d.id, d.status, d.submitted_at, d.trace_id from idempotency_keys k"
        " join deployments d on d.id = k.deployment_id"
        " where k.tenant_id = %s and k.username = %s and k.key = %s",
        (requester.tenant_id, requester.username, key),
    ).fetchone()
    if row is None:
        return None
    if row[0] != body_hash:
        raise Conflict("This Idempotency-Key was used with another body.")
    return Accepted(row[1], row[2], row[3], timedelta(seconds=30), row[4], replayed=True)


def _remember(connection: Raw, requester: Requester, key: str, body_hash: str, deployment_id: UUID) -> bool:
    """False when the same key was used at the same moment: the other one wins, this transaction is dropped."""
    inserted = connection.execute(
        "insert into idempotency_keys (tenant_id, username, key, body_hash, deployment_id) values (%s, %s, %s, %s, %s)"
        " on conflict do nothing",
        (requester.tenant_id, requester.username, key, body_hash, deployment_id),
    )
    return inserted.rowcount == 1


def _estimate(connection: Raw, draft: Draft) -> timedelta:
    """The mean of the lane's last five successful deployments, or half a minute where there is none."""
    row: Any = connection.execute(
        "select avg(ended_at - submitted_at) from (select ended_at, submitted_at from deployments"
        " where module_id = %s and environment_id = %s and status = 'Succeeded' order by place desc limit 5) as last",
        (draft.module_id, draft.environment_id),
    ).fetchone()
    return row[0] or timedelta(seconds=30)


# --- requests to one under way --------------------------------------------------------------------------------------


def cancel(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, rollback: bool) -> str:
    """Returns the status that follows. Raises NotFound, Conflict (as do the next four)."""
    return _ask(orchestrator, requester, deployment_id, CancelRequested(rollback, requester.username))


def pause(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    return _ask(orchestrator, requester, deployment_id, PauseRequested(requester.username))


def resume(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    return _ask(orchestrator, requester, deployment_id, ResumeRequested(requester.username))


def promote(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> str:
    return _ask(orchestrator, requester, deployment_id, PromoteRequested(requester.username))


def _ask(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, event: Event) -> str:
    _owned(orchestrator, requester, deployment_id)
    return outcomes.apply(orchestrator, deployment_id, event).status.value


def _owned(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> Any:
    """The row of a deployment of the requester's tenant. Raises NotFound."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(
            "select id, kind, status, module_id, module_name, release_id, version, digest, environment_id,"
            " environment_name, strategy, description, details, force, targets, policy"
            " from deployments where id = %s and tenant_id = %s",
            (deployment_id, requester.tenant_id),
        ).fetchone()
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return row


# --- new ones made of old ones ----------------------------------------------------------------------------------------


def retry(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, trace_id: str) -> Accepted:
    """Of an ended one a new deployment; of a paused one the same, which tries again in place what failed."""
    row = _owned(orchestrator, requester, deployment_id)
    if not DeploymentStatus(row[2]).terminal:
        state = outcomes.apply(orchestrator, deployment_id, RetryRequested(requester.username))
        return _accepted_again(orchestrator, state, trace_id)
    with orchestrator.database.raw() as connection:
        draft = replace(_again(connection, requester, row, trace_id), retry_of=deployment_id)
        inserted = submitting.insert(connection, orchestrator, draft)
        estimate = _estimate(connection, draft)
    orchestrator.publisher.publish(inserted.wakes)
    return Accepted(inserted.state.id, inserted.state.status.value, inserted.now, estimate, trace_id)


def _accepted_again(orchestrator: Orchestrator, state: Deployment, trace_id: str) -> Accepted:
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute("select submitted_at from deployments where id = %s", (state.id,)).fetchone()
    return Accepted(state.id, state.status.value, row[0], timedelta(seconds=30), trace_id)


def _again(connection: Raw, requester: Requester, row: Any, trace_id: str) -> Draft:
    """The draft of an ended deployment, with today's policy of its environment."""
    kind = DeploymentKind(row[1])
    if kind is DeploymentKind.DEPLOY:
        submission = Submission(
            row[4], row[6], row[9], description=row[11], metadata=row[12], strategy=row[10], force=row[13]
        )
        return draft_of(connection, requester, submission, trace_id)
    return Draft(
        kind=kind,
        tenant_id=requester.tenant_id,
        module_id=row[3],
        module_name=row[4],
        release_id=row[5],
        release=Version(row[7], row[6]),
        environment_id=row[8],
        environment_name=row[9],
        strategy=StrategyKind(row[10]),
        policy=parse_policy(row[15]),
        requested_by=requester.username,
        trace_id=trace_id,
        description=row[11],
        targets=read_targets(row[14]),
    )


_BEFORE = """
select distinct on (o.node_id) o.node_id, o.before_digest, o.before_version, r.digest, n.id is not null
  from node_operations o
  left join nodes n on n.id = o.node_id
  left join node_releases r on r.node_id = o.node_id and r.module_name = %(module_name)s
 where o.deployment_id = %(deployment_id)s and o.direction = 'forward'
 order by o.node_id, o.position
"""
GOING_BACK_POLICY = {
    "strategy": "direct",
    "unavailableNodes": "skip",
    "maxUnavailableAtStart": "100%",
    "onNodeLost": "continue",
    "rolling": {"batch": "100%", "minInService": None},
    "supersede": False,
    "allowDowngrade": True,
}


def rollback(
    orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, preempt: bool, trace_id: str
) -> RollbackAccepted:
    """A new deployment of what ran before this one, ahead of what waits. Raises NotFound, Conflict (not ended)."""
    row = _owned(orchestrator, requester, deployment_id)
    if not DeploymentStatus(row[2]).terminal:
        raise Conflict(
            f"A deployment that is {row[2]} cannot be rolled back; one that has ended can. Cancel it instead."
        )
    with orchestrator.database.raw() as connection:
        before: list[Any] = connection.execute(
            _BEFORE, {"deployment_id": deployment_id, "module_name": row[4]}
        ).fetchall()
        here = [each for each in before if each[4]]
        targets = {str(each[0]): Version(each[1], each[2] or "") if each[1] else None for each in here}
        affected = sum(each[1] != each[3] for each in here)
        draft = _going_back(connection, requester, row, targets, deployment_id, trace_id)
        inserted = submitting.insert(connection, orchestrator, draft)
        holder: Any = connection.execute(
            "select holder from lanes where module_id = %s and environment_id = %s", (row[3], row[8])
        ).fetchone()
    orchestrator.publisher.publish(inserted.wakes)
    if preempt and holder and holder[0] and holder[0] != inserted.state.id:
        _preempt(orchestrator, requester, holder[0])
    return RollbackAccepted(inserted.state.id, inserted.state.status.value, affected)


def _preempt(orchestrator: Orchestrator, requester: Requester, holder: UUID) -> None:
    """Cancel who holds the lane. A deployment goes back; one that itself goes back or repairs stays where it has come
    to. One that is ending anyway needs no push."""

    def cancelled(_connection: Raw, loaded: Loaded) -> Event:
        return CancelRequested(loaded.state.kind is DeploymentKind.DEPLOY, f"{requester.username} (rollback)")

    try:
        outcomes.apply(orchestrator, holder, cancelled)
    except Conflict:
        return


def _going_back(
    connection: Raw,
    requester: Requester,
    row: Any,
    targets: Mapping[str, Version | None],
    rollback_of: UUID,
    trace_id: str,
) -> Draft:
    versions = [target for target in targets.values() if target]
    # Of one that brought the first release, going back is to have none; of one that changed nothing, to stay.
    if versions:
        release = max(set(versions), key=versions.count)
    else:
        release = Version("", "none") if targets else Version(row[7], row[6])
    release_row: Any = connection.execute(
        "select id from releases where module_id = %s and version = %s", (row[3], release.version)
    ).fetchone()
    environment: Any = connection.execute("select policy from environments where id = %s", (row[8],)).fetchone()
    policy = parse_policy({**environment[0], **GOING_BACK_POLICY})
    manifest = release_manifest(connection, row[3], release)
    return Draft(
        kind=DeploymentKind.ROLLBACK,
        tenant_id=requester.tenant_id,
        module_id=row[3],
        module_name=row[4],
        release_id=release_row[0] if release_row and manifest is not None else None,
        release=release,
        environment_id=row[8],
        environment_name=row[9],
        strategy=StrategyKind.DIRECT,
        policy=policy,
        requested_by=requester.username,
        trace_id=trace_id,
        description=f"rollback of {row[4]} {row[6]}"
        + ("" if versions or not targets else ": no release ran before it"),
        rollback_of=rollback_of,
        targets=targets,
    )
