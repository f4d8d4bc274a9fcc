"""New deployments made of old ones: another try of one that has ended, and going back to what ran before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.domain.deployment import Deployment, DeploymentKind, DeploymentStatus, Version
from app.domain.errors import Conflict
from app.domain.events import CancelRequested, Event, RetryRequested
from app.domain.module_policy import effective
from app.domain.policy import StrategyKind, parse_policy
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.engine import Raw
from app.orchestrator import outcomes, submitting
from app.orchestrator.cluster_facts import read_targets
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.deployments import Accepted, Submission, draft_of, estimate, owned
from app.orchestrator.submitting import Draft


@dataclass(frozen=True, slots=True)
class RollbackAccepted:
    rollback_id: UUID
    status: str
    nodes_affected: int


def retry(orchestrator: Orchestrator, requester: Requester, deployment_id: UUID, *, trace_id: str) -> Accepted:
    """Of an ended one a new deployment; of a paused one the same, which tries again in place what failed.

    Raises NotFound, Conflict (the state forbids it, a release of it is not kept any more), and what `submit` raises.
    """
    row = owned(orchestrator, requester, deployment_id)
    if not DeploymentStatus(row[2]).terminal:
        state = outcomes.apply(orchestrator, deployment_id, RetryRequested(requester.username))
        return _accepted_again(orchestrator, state)
    with orchestrator.database.raw() as connection:
        draft = replace(_again(connection, requester, row, trace_id), retry_of=deployment_id)
        inserted = submitting.insert(connection, orchestrator, draft)
        expected = estimate(connection, draft)
    submitting.announce(orchestrator, inserted)
    return Accepted(inserted.state.id, inserted.state.status.value, inserted.now, expected, trace_id)


_SUBMITTED = "select submitted_at, trace_id from deployments where id = %s"


def _accepted_again(orchestrator: Orchestrator, state: Deployment) -> Accepted:
    with orchestrator.database.raw() as connection:
        row: Any = connection.execute(_SUBMITTED, (state.id,)).fetchone()
    return Accepted(state.id, state.status.value, row[0], timedelta(seconds=30), row[1])


def _again(connection: Raw, requester: Requester, row: Any, trace_id: str) -> Draft:
    """The draft of an ended deployment, with the policy that holds there today."""
    kind = DeploymentKind(row[1])
    if kind is DeploymentKind.DEPLOY:
        submission = Submission(
            row[4],
            row[6],
            row[9],
            require_approval=row[16],
            description=row[11],
            metadata=row[12],
            strategy=row[10],
            force=row[13],
        )
        return draft_of(connection, requester, submission, trace_id)
    targets = read_targets(row[14])
    _refuse_what_is_not_kept(connection, row, targets or {})
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
        requested_with=requester.token_name,
        trace_id=trace_id,
        description=row[11],
        targets=targets,
    )


_BEFORE = """
select distinct on (o.node_id) o.node_id, o.before_digest, o.before_version, r.digest, n.id is not null
  from node_operations o
  left join nodes n on n.id = o.node_id
  left join node_releases r on r.node_id = o.node_id and r.module_name = %(module_name)s
 where o.deployment_id = %(deployment_id)s and o.direction = 'forward'
 order by o.node_id, o.position
"""
_POLICIES = """
select e.policy, p.overrides
  from environments e left join module_policies p on p.environment_id = e.id and p.module_id = %(module_id)s
 where e.id = %(environment_id)s
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
    """A new deployment of what ran before this one, ahead of what waits.

    Raises NotFound, Conflict (not ended, or what ran before on some node is not kept any more).
    """
    row = owned(orchestrator, requester, deployment_id)
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
        _refuse_what_is_not_kept(connection, row, targets)
        affected = sum(each[1] != each[3] for each in here)
        draft = _going_back(connection, requester, row, targets, deployment_id, trace_id)
        inserted = submitting.insert(connection, orchestrator, draft)
        holder: Any = connection.execute(
            "select holder from lanes where module_id = %s and environment_id = %s", (row[3], row[8])
        ).fetchone()
    submitting.announce(orchestrator, inserted)
    if preempt and holder and holder[0] and holder[0] != inserted.state.id:
        _preempt(orchestrator, requester, holder[0])
    return RollbackAccepted(inserted.state.id, inserted.state.status.value, affected)


# Against being retired at the same time: whoever retires one takes it for update, and looks for us afterwards.
_HOLD = """
select version, retired_at from releases where module_id = %(module_id)s and version = any(%(versions)s)
 order by id for key share
"""
_RUNNABLE = """
select version, digest from runnable_releases where module_id = %(module_id)s and version = any(%(versions)s)
"""


def _refuse_what_is_not_kept(connection: Raw, row: Any, targets: Mapping[str, Version | None]) -> None:
    """Hold every release that a node is to get until the transaction ends. Raises Conflict where one is retired, or
    was built anew since: before anything changes, not on the first node that cannot fetch it."""
    wanted = {target for target in targets.values() if target}
    values = {"module_id": row[3], "versions": sorted({target.version for target in wanted})}
    held: list[Any] = connection.execute(_HOLD, values).fetchall()
    retired = [f"{row[4]} {version} (retired on {at:%Y-%m-%d})" for version, at in held if at is not None]
    if retired:
        raise Conflict(
            f"What is to run again is not kept any more: {', '.join(retired)}. Publish the same archive again to bring"
            " it back."
        )
    runnable = set(connection.execute(_RUNNABLE, values).fetchall())
    gone = sorted(f"{row[4]} {each.version}" for each in wanted if (each.version, each.digest) not in runnable)
    if gone:
        raise Conflict(
            f"What is to run again is not there any more as it was: {', '.join(gone)} with the digest of then. Deploy a"
            " version instead."
        )


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
        "select id from runnable_releases where module_id = %s and version = %s and digest = %s",
        (row[3], release.version, release.digest),
    ).fetchone()
    environment: Any = connection.execute(_POLICIES, {"module_id": row[3], "environment_id": row[8]}).fetchone()
    policy = parse_policy({**effective(*environment).policy.to_json(), **GOING_BACK_POLICY})
    return Draft(
        kind=DeploymentKind.ROLLBACK,
        tenant_id=requester.tenant_id,
        module_id=row[3],
        module_name=row[4],
        release_id=release_row[0] if release_row else None,
        release=release,
        environment_id=row[8],
        environment_name=row[9],
        strategy=StrategyKind.DIRECT,
        policy=policy,
        requested_by=requester.username,
        requested_with=requester.token_name,
        trace_id=trace_id,
        description=f"rollback of {row[4]} {row[6]}"
        + ("" if versions or not targets else ": no release ran before it"),
        rollback_of=rollback_of,
        targets=targets,
    )
