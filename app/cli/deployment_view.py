"""A deployment as the API shows it, typed as far as the command line looks at it. Unknown fields are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.cli.durations import wire_seconds
from app.cli.exit_codes import ExitCode
from app.cli.output import one_line, when

TERMINAL = frozenset({"Succeeded", "Failed", "RolledBack", "Rejected", "Expired", "Cancelled", "Superseded"})
WAITING_FOR_A_PERSON = frozenset({"PendingApproval", "Paused"})
_IN_FLIGHT = frozenset({"Dispatched", "Running", "Resolving"})
_BAD = frozenset({"Failed", "Lost"})
_ENDED_WITH_IT = ("not reached", "ended with the deployment")  # app/domain/ending.py


@dataclass(frozen=True, slots=True)
class WaveView:
    """`number` counts from 1."""

    number: int
    status: str
    nodes: int
    deployed: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class StageView:
    name: str
    status: str
    strategy: str | None
    start: datetime | None
    end: datetime | None
    seconds: float | None
    deployed: int
    failed: int
    skipped: int
    message: str | None
    output_tail: str | None
    waves: tuple[WaveView, ...]
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    kind: str
    text: str
    until: str | None

    def __str__(self) -> str:
        return f"{self.text} (until {when(self.until)})" if self.until else self.text


@dataclass(frozen=True, slots=True)
class NodeView:
    """One operation on one node; `back` when it takes another one back."""

    name: str
    wave: int
    status: str
    back: bool
    from_version: str | None
    to_version: str | None
    error: str | None
    output_tail: str | None

    @property
    def in_flight(self) -> bool:
        return self.status in _IN_FLIGHT

    @property
    def bad(self) -> bool:
        return self.status in _BAD


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """`raw` is the answer as it came."""

    id: str
    module: str
    version: str
    environment: str
    status: str
    start: datetime | None
    end: datetime | None
    stages: tuple[StageView, ...]
    waiting: tuple[Waiting, ...]
    reason: str | None
    requested_by: str | None
    retry_of: str | None
    rollback_of: str | None
    superseded_by: str | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def waits_for_a_person(self) -> bool:
        return self.status in WAITING_FOR_A_PERSON

    @property
    def exit_code(self) -> ExitCode:
        """Of one that has ended."""
        return ExitCode.DONE if self.status == "Succeeded" else ExitCode.NOT_SUCCEEDED

    def seconds(self, now: datetime) -> float:
        """How long it took, or has taken so far."""
        return ((self.end or now) - self.start).total_seconds() if self.start else 0.0


def deployment_view(raw: Mapping[str, Any]) -> DeploymentView:
    """Read an answer of `GET /deployments/{id}`."""
    return DeploymentView(
        id=one_line(raw.get("executionId")),
        module=one_line(raw.get("moduleName")),
        version=one_line(raw.get("version") or "(no release)"),
        environment=one_line(raw.get("targetEnvironment")),
        status=one_line(raw.get("status")),
        start=moment(raw.get("startTime")),
        end=moment(raw.get("endTime")),
        stages=tuple(_stage(each, _text(raw.get("reason"))) for each in raw.get("stages") or ()),
        waiting=tuple(_waiting(each) for each in raw.get("waitingFor") or ()),
        reason=_text(raw.get("reason")),
        requested_by=_text(raw.get("requestedBy")),
        retry_of=_text(raw.get("retryOf")),
        rollback_of=_text(raw.get("rollbackOf")),
        superseded_by=_text(raw.get("supersededBy")),
        raw=raw,
    )


def node_view(raw: Mapping[str, Any]) -> NodeView:
    """Read an item of `GET /deployments/{id}/nodes`."""
    return NodeView(
        name=one_line(raw.get("hostname") or raw.get("nodeId")),
        wave=_count(raw.get("wave")),
        status=one_line(raw.get("status")),
        back=raw.get("direction") == "back",
        from_version=_text(raw.get("fromVersion")),
        to_version=_text(raw.get("toVersion")),
        error=_text(raw.get("error")),
        output_tail=_text(raw.get("outputTail")),
    )


def moment(value: object) -> datetime | None:
    """A time of the wire; None for none."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def without_reason(message: str, reason: str | None = None) -> str:
    """What the server says of a stage that the deployment's end ended, without why the deployment ended.

    That is the same for each of them, and told once of the whole. `reason` None: whatever it is.
    """
    for words in _ENDED_WITH_IT:
        if message.startswith(f"{words}: ") and reason in (None, message[len(words) + 2 :]):
            return words
    return message


def _stage(raw: Mapping[str, Any], reason: str | None) -> StageView:
    message = _text(raw.get("message"))
    return StageView(
        name=one_line(raw.get("name")),
        status=one_line(raw.get("status")),
        strategy=_text(raw.get("strategy")),
        start=moment(raw.get("startTime")),
        end=moment(raw.get("endTime")),
        seconds=wire_seconds(raw.get("duration")),
        deployed=_count(raw.get("nodesDeployed")),
        failed=_count(raw.get("nodesFailed")),
        skipped=_count(raw.get("nodesSkipped")),
        message=without_reason(message, reason) if message and reason else message,
        output_tail=_text(raw.get("outputTail")),
        waves=tuple(_wave(each) for each in raw.get("waves") or ()),
        details=raw["details"] if isinstance(raw.get("details"), Mapping) else {},
    )


def _wave(raw: Mapping[str, Any]) -> WaveView:
    return WaveView(
        number=_count(raw.get("wave")) + 1,
        status=one_line(raw.get("status")),
        nodes=_count(raw.get("nodes")),
        deployed=_count(raw.get("nodesDeployed")),
        failed=_count(raw.get("nodesFailed")),
        skipped=_count(raw.get("nodesSkipped")),
    )


def _waiting(raw: Mapping[str, Any]) -> Waiting:
    return Waiting(one_line(raw.get("kind")), one_line(raw.get("text")), _text(raw.get("until")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
