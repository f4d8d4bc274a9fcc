"""The lane: the right to change one (tenant, module, environment). Entered by the Deploy stage, after the gates.

Kind of lock: a row in PostgreSQL, locked after the deployment's own row and never before it; whoever holds it has a
fencing token, which the agents check. Places are in order of submission: nobody enters while an earlier one of the
lane is still in Build, Security Scan or Test; one that waits for a date is overtaken. A rollback goes first; the
system's own repairs give way to everybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from agent.telemetry import spans
from app.domain.deployment import DeploymentKind, DeploymentStatus, WaitingKind
from app.domain.events import DateAhead, Event, LaneBusy, LaneOffered, NodeFact
from app.domain.events import Overtaken as OvertakenEvent
from app.domain.policy import Overtaken, Policy
from app.infrastructure.db.deployment_rows import Loaded
from app.infrastructure.db.deployment_store import SQL
from app.infrastructure.db.engine import Raw
from app.orchestrator import outcomes
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.cluster_facts import Scope, manifest_and_facts, unmet_requirement
from app.orchestrator.context import Orchestrator

LOOK_AGAIN = timedelta(seconds=2)
LATER_FOR_EACH_AHEAD = timedelta(seconds=0.25)
"""The end of a holder wakes those at the front; the others need not look often: a long line would look for ever."""
LATEST = timedelta(seconds=60)
LISTENING_MARGIN = 3.0
"""Seconds beyond `unavailableAfter` that nodes get after somebody began to listen."""


def enter(orchestrator: Orchestrator, claimed: ClaimedStage) -> str:
    """Take the lane for a claimed Deploy stage if it is free and its turn has come. Returns in a word what happened."""

    def offer(connection: Raw, loaded: Loaded) -> Event:
        return _offer(connection, loaded, claimed)

    with spans.span("lane entry") as span:
        state = outcomes.apply(orchestrator, claimed.deployment_id, offer)
        said = state.status.value if state.terminal else "entered" if state.granted else "waits"
        span.set(outcome=said)
    return said


def _offer(connection: Raw, loaded: Loaded, claimed: ClaimedStage) -> Event:
    state = loaded.state
    key = {"module_id": loaded.module_id, "environment_id": loaded.environment_id}
    with connection.pipeline():
        lane = connection.execute(SQL["lock_lane"], key)
        standing = connection.execute(SQL["lane_line"], key)
        holder, _token, granted_place = cast(Any, lane.fetchone())
        line = [_Place(*row) for row in standing.fetchall()]
    if loaded.not_before and loaded.now < loaded.not_before:
        return DateAhead(claimed.stage_id, claimed.attempt, loaded.not_before)
    overtaken = _overtaken(loaded, line, granted_place)
    if overtaken:
        return overtaken
    blocker = _blocker(loaded, line, holder)
    if blocker:
        text, blocked_by = blocker
        ahead = sum(each.place < loaded.place for each in line)
        again = loaded.now + min(LOOK_AGAIN + ahead * LATER_FOR_EACH_AHEAD, LATEST)
        return LaneBusy(claimed.stage_id, claimed.attempt, again, text, blocked_by)
    scope = Scope.of(state, loaded.module_id, loaded.module_name, loaded.environment_id, loaded.targets)
    manifest, facts = manifest_and_facts(connection, scope)
    unmet = None
    if state.kind is DeploymentKind.DEPLOY:
        unmet = unmet_requirement(connection, loaded.environment_id, manifest)
    if not _heard_out(connection, state.policy, facts):
        text = "waits until every node has had time to be heard from: agents are listened to only since a moment ago"
        return LaneBusy(claimed.stage_id, claimed.attempt, loaded.now + LOOK_AGAIN, text, None)
    return LaneOffered(claimed.stage_id, claimed.attempt, facts, unmet)


def _heard_out(connection: Raw, policy: Policy, facts: tuple[NodeFact, ...]) -> bool:
    """Whether a node that seems silent is silent, and not merely unheard because we were away (a restart of ours)."""
    if all(fact.available for fact in facts):
        return True
    row: Any = connection.execute(SQL["listened_for"]).fetchone()
    return row[0] is not None and row[0] > policy.unavailable_after.total_seconds() + LISTENING_MARGIN


class _Place:
    """One of the line: a deployment of the lane that has not ended."""

    def __init__(self, *row: Any) -> None:
        deployment_id, kind, place, status, version, stage_status, waiting = row
        self.deployment_id: UUID = deployment_id
        self.kind = DeploymentKind(kind)
        self.place: int = place
        self.status = DeploymentStatus(status)
        self.version: str = version
        self.stage_status: str = stage_status
        self.waiting: str | None = waiting

    @property
    def waits_for_a_date(self) -> bool:
        return self.waiting == WaitingKind.DATE.value or self.status is DeploymentStatus.PENDING_APPROVAL


def _overtaken(loaded: Loaded, line: list[_Place], granted_place: int) -> OvertakenEvent | None:
    state = loaded.state
    others = [each for each in line if each.deployment_id != state.id]
    if state.kind is DeploymentKind.SYSTEM:
        people = [each for each in others if each.kind is not DeploymentKind.SYSTEM and not each.waits_for_a_date]
        if people:
            return OvertakenEvent(people[0].deployment_id, f"gives way to {people[0].version}")
        return None
    if state.kind is not DeploymentKind.DEPLOY:
        return None
    newer = [each for each in others if each.kind is DeploymentKind.DEPLOY and each.place > loaded.place]
    if state.policy.supersede and newer:
        return OvertakenEvent(newer[-1].deployment_id, f"superseded by the newer {newer[-1].version}")
    if granted_place > loaded.place and state.policy.overtaken is Overtaken.SUPERSEDE:
        by = newer[-1].deployment_id if newer else None
        return OvertakenEvent(by, "a newer deployment was there first while this one waited")
    return None


def _blocker(loaded: Loaded, line: list[_Place], holder: UUID | None) -> tuple[str, UUID] | None:
    """Who stands in the way, as a sentence and an id; None when it is this one's turn."""
    state = loaded.state
    if holder is not None and holder != state.id:
        held = next((each for each in line if each.deployment_id == holder), None)
        return f"waits for {held.version if held else 'another deployment'}, which holds the lane", holder
    if state.kind is DeploymentKind.SYSTEM:
        return None
    for each in line:
        rollback_first = each.kind is DeploymentKind.ROLLBACK and state.kind is not DeploymentKind.ROLLBACK
        earlier = each.place < loaded.place and each.kind is state.kind and not each.waits_for_a_date
        if each.deployment_id != state.id and each.kind is not DeploymentKind.SYSTEM and (rollback_first or earlier):
            what = "a rollback" if each.kind is DeploymentKind.ROLLBACK else each.version
            return f"waits for {what}, which comes first", each.deployment_id
    return None
