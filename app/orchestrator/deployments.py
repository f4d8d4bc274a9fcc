"""Deployments as people ask for them: submit, try dry, cancel, pause, resume, promote. New of old: succession.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agent.manifest.versions import parse_version
from app.domain.deployment import DeploymentKind, Version
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.events import (
    CancelRequested,
    Event,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
)
from app.domain.module_policy import effective
from app.domain.policy import Policy, StrategyKind
from app.domain.strategies import BUILT
from app.infrastructure.db.engine import Raw
from app.orchestrator import outcomes, submitting
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
        expected = estimate(connection, draft)
    submitting.announce(orchestrator, inserted)
    return Accepted(inserted.state.id, inserted.state.status.value, inserted.now, expected, trace_id)


def dry_run(orchestrator: Orchestrator, requester: Requester, submission: Submission) -> dict[str, Any]:
    """The plan of what `submit` would do, in wire form; changes nothing. Raises as `submit` does."""
    with orchestrator.database.raw() as connection:
        draft = draft_of(connection, requester, submission, trace_id="")
        return describe(connection, orchestrator, draft)


# --- submission ---------------------------------------------------------------------------------------------------


_RELEASE = """
select m.id, r.id, coalesce(b.digest, r.digest), r.manifest, b.deployment_id, p.deployment_id, r.retired_at
  from modules m join releases r on r.module_id = m.id
  left join built_artifacts b on b.release_id = r.id
  left join passed_tests p on p.release_id = r.id
 where m.tenant_id = %(tenant_id)s and m.name = %(module)s and r.version = %(version)s
   -- Against being retired at the same time: whoever retires it takes it for update.
   for key share of r
"""
_ENVIRONMENT = """
select e.id, e.name, e.policy,
       (select p.overrides from module_policies p join modules m on m.id = p.module_id
         where p.environment_id = e.id and m.tenant_id = e.tenant_id and m.name = %(module)s)
  from environments e where e.tenant_id = %(tenant_id)s and lower(e.name) = lower(%(environment)s)
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
    if release is None:
        raise NotFound(f"There is no release {submission.module_name} {submission.version}.")
    module_id, release_id, digest, manifest, built_in, tested_in, retired_at = release
    if retired_at is not None:
        raise Conflict(
            f"{submission.module_name} {submission.version} was retired on {retired_at:%Y-%m-%d}: its artifact is not"
            " kept any more. Publish the same archive again to bring it back."
        )
    policy = effective(environment[2], environment[3]).policy
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
        requested_with=requester.token_name,
        trace_id=trace_id,
        requester_email=submission.requester_email,
        description=submission.description,
        metadata=submission.metadata,
        not_before=submission.not_before,
        force=submission.force,
        builds="build" in manifest,
        tests="test" in manifest,
        approvals=submission.require_approval or policy.approvals.required > 0,
        built_in=built_in,
        tested_in=tested_in,
    )
    _refuse_what_is_not_built(draft)
    _refuse_downgrade(connection, draft)
    return draft


def _strategy(asked: str | None, policy: Policy) -> StrategyKind:
    if asked is None:
        return policy.strategy
    words = {kind.value.lower(): kind for kind in StrategyKind}
    if asked.lower() not in words:
        raise Invalid({"strategy": ["must be one of " + ", ".join(kind.value for kind in StrategyKind)]})
    return words[asked.lower()]


def lacking_strategy(strategy: StrategyKind) -> str | None:
    """What to say to who asks for a strategy that this version does not have; None for one that it has."""
    return None if strategy in BUILT else f"{strategy.value} is not built yet; direct and rolling are"


def _refuse_what_is_not_built(draft: Draft) -> None:
    """What this version of the product stores and shows, but cannot do, is refused by name, never ignored."""
    errors: dict[str, list[str]] = {}
    policy = draft.policy
    if lacking := lacking_strategy(draft.strategy):
        errors["strategy"] = [lacking]
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


def estimate(connection: Raw, draft: Draft) -> timedelta:
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
    owned(orchestrator, requester, deployment_id)
    return outcomes.apply(orchestrator, deployment_id, event).status.value


def owned(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID) -> Any:
    """The row of a deployment of the requester's tenant. Raises NotFound."""
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(
            "select id, kind, status, module_id, module_name, release_id, version, digest, environment_id,"
            " environment_name, strategy, description, details, force, targets, policy, needs_approval"
            " from deployments where id = %s and tenant_id = %s",
            (deployment_id, requester.tenant_id),
        ).fetchone()
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return row
