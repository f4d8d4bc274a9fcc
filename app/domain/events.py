"""What can happen to a deployment (events, the input of `decide()`) and what is to be done (commands, its output)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.deployment import Version


class Outcome(StrEnum):
    """What became of a node operation.

    VOID is no failure of the node: the operation never ran, or was interrupted and undone before it committed (the
    agent's `void`, `superseded`, and failures with the code `interrupted`). UNKNOWN is no answer: it must be resolved.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    VOID = "void"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A node as it is known at this moment. `desired` is what was decided for it and this module before, `wanted`
    what this deployment wants there: its release, or, when it goes back or repairs, what each node is to run again.
    `decided` tells "no release was decided" from "nothing was ever decided"."""

    node_id: UUID
    name: str
    available: bool
    active: Version | None
    desired: Version | None
    wanted: Version | None
    drained: bool = False
    why: str | None = None
    decided: bool = False


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageReported:
    """The worker that holds `attempt` of a stage says how it ended.

    `built` is the digest that Build made of the release, which is what nodes are to run from here on. `details` is what
    a person may want to see besides, in wire form: isolation, counts of tests, findings.
    """

    stage_id: UUID
    attempt: int
    succeeded: bool
    message: str | None = None
    output_tail: str | None = None
    built: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LaneOffered:
    """The Deploy stage may have its lane now, with these nodes, if it still wants it."""

    stage_id: UUID
    attempt: int
    nodes: tuple[NodeFact, ...]
    unmet: str | None = None


@dataclass(frozen=True, slots=True)
class LaneBusy:
    """Another deployment holds the lane or comes first; asked again at `retry_at`, or when the lane is released."""

    stage_id: UUID
    attempt: int
    retry_at: datetime
    text: str
    blocked_by: UUID | None


@dataclass(frozen=True, slots=True)
class DateAhead:
    """The Deploy stage may not begin before `until`."""

    stage_id: UUID
    attempt: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A newer deployment of the lane makes this one pointless; `by` is its id where it is known."""

    by: UUID | None
    text: str


@dataclass(frozen=True, slots=True)
class OperationReported:
    """The worker that holds `attempt` of a node operation says what the node answered.

    `active` is the digest that the node reports as active, None for "nothing". With UNKNOWN it does not count, and with
    VOID None means that the node did not say, so that what was known before still holds.
    """

    operation_id: UUID
    attempt: int
    outcome: Outcome
    active: str | None = None
    error: str | None = None
    output_tail: str | None = None


PROCESS_DIED = "its process died"


@dataclass(frozen=True, slots=True)
class ClaimEnded:
    """A claim ended without a report. `poison`: its process died under it, while the database was reachable."""

    work_id: UUID
    attempt: int
    poison: bool
    why: str


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A claim ran longer than its execution budget, which no renewal extends."""

    work_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node with an operation in flight stayed silent for `nodeLostAfter`."""

    node_id: UUID


@dataclass(frozen=True, slots=True)
class NodeReturned:
    """A node of the cluster is heard from (again): one that was skipped, lost, or is new."""

    node: NodeFact


@dataclass(frozen=True, slots=True)
class CancelRequested:
    rollback: bool
    by: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    by: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    by: str


@dataclass(frozen=True, slots=True)
class PromoteRequested:
    by: str


@dataclass(frozen=True, slots=True)
class RetryRequested:
    by: str


@dataclass(frozen=True, slots=True)
class ApprovalGiven:
    """Somebody with the right to do so approves. `own`: of what they asked for themselves."""

    by: str
    own: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRejected:
    """Somebody with the right to do so says no. `own`: to what they asked for themselves."""

    by: str
    own: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """The time to approve may have passed."""


@dataclass(frozen=True, slots=True)
class PauseExpired:
    """`pausedTimeout` has passed."""


Event = (
    StageReported
    | LaneOffered
    | LaneBusy
    | DateAhead
    | Overtaken
    | OperationReported
    | ClaimEnded
    | BudgetSpent
    | NodeLost
    | NodeReturned
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | PromoteRequested
    | RetryRequested
    | ApprovalGiven
    | ApprovalRejected
    | ApprovalExpired
    | PauseExpired
)

# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Put an outbox row for this stage or node operation, which is claimable from its `due_at` on."""

    work_id: UUID


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event of the deployment, for people and streams."""

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GrantLane:
    """Take the lane and a new fencing token for this deployment, in this transaction."""


@dataclass(frozen=True, slots=True)
class ReleaseLane:
    """Give the lane to the next in line, in this transaction."""


@dataclass(frozen=True, slots=True)
class RecordDesired:
    """Write the desired state of every node of the cluster: node -> release, or None for "no release"."""

    desired: Mapping[UUID, Version | None]


@dataclass(frozen=True, slots=True)
class CountStale:
    """A report was refused whose claim had been taken away. `reason`: see `hotswap_stale_commands_total`."""

    work_id: UUID
    attempt: int
    reason: str


Command = Dispatch | Emit | GrantLane | ReleaseLane | RecordDesired | CountStale
