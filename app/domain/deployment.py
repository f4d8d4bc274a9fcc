"""The state of one deployment: what `decide()` reads and returns. Pure values, replaced and never changed in place.

A *stage* or *node operation* is open work when it is `claimable`: a worker may claim it once `due_at` has come, which
adds one to `attempt`. Only the latest attempt may report. Who claimed it, and whether that process still lives, is the
database's business (`app/orchestrator/claims.py`), not the domain's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.durations import Amount
from app.domain.policy import Policy, StrategyKind


class DeploymentKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    SYSTEM = "system"


class DeploymentStatus(StrEnum):
    QUEUED = "Queued"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    PENDING_APPROVAL = "PendingApproval"
    SOAKING = "Soaking"
    PAUSED = "Paused"
    CANCELLING = "Cancelling"
    ROLLING_BACK = "RollingBack"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset(
    {
        DeploymentStatus.SUCCEEDED,
        DeploymentStatus.FAILED,
        DeploymentStatus.ROLLED_BACK,
        DeploymentStatus.REJECTED,
        DeploymentStatus.EXPIRED,
        DeploymentStatus.CANCELLED,
        DeploymentStatus.SUPERSEDED,
    }
)


class StageKind(StrEnum):
    BUILD = "Build"
    SCAN = "Security Scan"
    TEST = "Test"
    APPROVAL = "Approval"
    DEPLOY = "Deploy"
    VALIDATION = "Validation"


class StageStatus(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        return self not in (StageStatus.PENDING, StageStatus.RUNNING, StageStatus.WAITING)

    @property
    def passed(self) -> bool:
        return self in (StageStatus.SUCCEEDED, StageStatus.SKIPPED)


class WaitingKind(StrEnum):
    LANE = "lane"
    DATE = "date"
    NODES = "nodes"
    PAUSED = "paused"
    BACKOFF = "backoff"
    APPROVAL = "approval"
    BUILD = "build"


class Direction(StrEnum):
    FORWARD = "forward"
    BACK = "back"


class OperationStatus(StrEnum):
    """PENDING is planned and not yet let into the window; DISPATCHED may be claimed; RESOLVING is being given up:
    nobody knows yet what the node made of it; LOST is RESOLVING on a node that stays silent."""

    PENDING = "Pending"
    DISPATCHED = "Dispatched"
    RUNNING = "Running"
    RESOLVING = "Resolving"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    LOST = "Lost"
    CANCELLED = "Cancelled"

    @property
    def in_flight(self) -> bool:
        return self in (OperationStatus.DISPATCHED, OperationStatus.RUNNING, OperationStatus.RESOLVING)

    @property
    def open(self) -> bool:
        return self is OperationStatus.PENDING or self.in_flight


class Course(StrEnum):
    """Where a deployment is heading: forward; back to what ran before; or settling what is in flight and no more."""

    FORWARD = "forward"
    BACK = "back"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Version:
    """A release as a node runs it: its digest (`sha256:...`) and its version. None stands for "no release"."""

    digest: str
    version: str


def digest_of(version: Version | None) -> str | None:
    return version.digest if version else None


UNKNOWN = "unknown"
"""In place of a digest: nobody knows what is active on the node, as it was passed over drained or unavailable."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What the Approval stage waits for: `required` different people of `roles`, until a deadline.

    `given` are the names of those who approved, in order. With `four_eyes` nobody decides on what they asked for.
    """

    required: int
    roles: tuple[str, ...]
    four_eyes: bool
    until: datetime
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """`steps` are claimed one after the other; `step` counts from 1 and is the one that is open, under way, or next.

    `details` go into the database and are not read back for deciding."""

    id: UUID
    kind: StageKind
    status: StageStatus
    attempt: int = 0
    claimable: bool = False
    due_at: datetime | None = None
    waiting: WaitingKind | None = None
    message: str | None = None
    output_tail: str | None = None
    losses: int = 0
    approval: Approval | None = None
    step: int = 1
    steps: int = 1
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeOperation:
    """One release put on one node. `before` is what was active when the lane was granted, `target` what is wanted.

    `follows` names the operation that this one takes back, or tries again. `active` is the digest known to be active:
    until the operation has ended the one that a command must expect there, afterwards the one that the node reported.
    It is UNKNOWN on a node that was passed over as drained or unavailable. `changed`: this deployment, by this
    operation or an earlier try, made another digest active.
    """

    id: UUID
    node_id: UUID
    node_name: str
    wave: int
    direction: Direction
    status: OperationStatus
    before: Version | None
    target: Version | None
    attempt: int = 0
    claimable: bool = False
    due_at: datetime | None = None
    follows: UUID | None = None
    tries: int = 1
    changed: bool = False
    active: str | None = None
    error: str | None = None
    output_tail: str | None = None
    losses: int = 0

    def passed_over(self) -> bool:
        """Skipped because the node was drained, unavailable or late, and not because it already runs what is wanted."""
        return self.status is OperationStatus.SKIPPED and not self.runs(self.target)

    def runs(self, version: Version | None) -> bool:
        """Whether the node is known to run this version (None: no release)."""
        return self.active == digest_of(version)


@dataclass(frozen=True, slots=True)
class Deployment:
    id: UUID
    kind: DeploymentKind
    status: DeploymentStatus
    release: Version
    environment: str
    policy: Policy
    strategy: StrategyKind
    stages: tuple[Stage, ...]
    operations: tuple[NodeOperation, ...] = ()
    course: Course = Course.FORWARD
    ending: DeploymentStatus | None = None
    reason: str | None = None
    paused: bool = False
    paused_until: datetime | None = None
    granted: bool = False
    force: bool = False

    @property
    def terminal(self) -> bool:
        return self.status.terminal

    def name_of(self, stage: Stage) -> str:
        """What people call a stage: `Deploy to QA`; the others are called as their kind."""
        return f"Deploy to {self.environment}" if stage.kind is StageKind.DEPLOY else stage.kind.value

    def stage(self, kind: StageKind) -> Stage:
        return next(stage for stage in self.stages if stage.kind is kind)

    def stage_by_id(self, stage_id: UUID) -> Stage | None:
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    def operation(self, operation_id: UUID) -> NodeOperation | None:
        return next((operation for operation in self.operations if operation.id == operation_id), None)

    def with_stage(self, changed: Stage) -> Deployment:
        return replace(self, stages=tuple(changed if stage.id == changed.id else stage for stage in self.stages))

    def with_operations(self, changed: Iterable[NodeOperation]) -> Deployment:
        """Replace operations by id; ids not known yet are added at the end."""
        by_id = {operation.id: operation for operation in changed}
        kept = tuple(by_id.pop(operation.id, operation) for operation in self.operations)
        return replace(self, operations=kept + tuple(by_id.values()))

    def deploying(self) -> bool:
        """Whether waves may still go forward: the Deploy stage has its lane and has neither ended nor turned round."""
        stage = self.stage(StageKind.DEPLOY)
        return self.granted and self.course is Course.FORWARD and stage.status is StageStatus.RUNNING

    def min_in_service(self) -> Amount | None:
        """`rolling.minInService` binds Rolling alone: Direct changes all at once, by its name."""
        return self.policy.rolling.min_in_service if self.strategy is StrategyKind.ROLLING else None

    def unresolved(self) -> bool:
        """Whether an operation is planned or under way: while one is, no deployment ends."""
        return any(operation.status.open for operation in self.operations)

    def forward(self) -> tuple[NodeOperation, ...]:
        return tuple(operation for operation in self.operations if operation.direction is Direction.FORWARD)

    def latest_by_node(self) -> dict[UUID, NodeOperation]:
        """The newest operation of each node, in either direction (operations are kept in order of creation)."""
        return {operation.node_id: operation for operation in self.operations}
