"""A little engine around `decide()`: it claims, reports, and keeps what it was told, as the orchestrator does.

What a claim does is the contract of `app/domain/deployment.py`: `attempt` grows by one, the work is no longer
claimable, a stage and a dispatched operation become Running, a resolving one stays Resolving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.domain.deployment import (
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    Direction,
    NodeOperation,
    OperationStatus,
    Stage,
    StageKind,
    StageStatus,
    Version,
)
from app.domain.events import (
    BudgetSpent,
    CancelRequested,
    ClaimEnded,
    Command,
    CountStale,
    Dispatch,
    Emit,
    Event,
    GrantLane,
    LaneOffered,
    NodeFact,
    NodeLost,
    NodeReturned,
    OperationReported,
    Outcome,
    PauseRequested,
    RecordDesired,
    ReleaseLane,
    ResumeRequested,
    RetryRequested,
    StageReported,
)
from app.domain.pipeline import Decision, decide, plan, start
from app.domain.policy import Policy, StrategyKind, parse_policy

OLD = Version("sha256:" + "0" * 64, "1.0.0")
NEW = Version("sha256:" + "1" * 64, "1.1.0")
OTHER = Version("sha256:" + "2" * 64, "0.9.0")
START = datetime(2026, 1, 1, tzinfo=UTC)


def ids() -> Callable[[], UUID]:
    count = iter(range(1, 10**9))
    return lambda: UUID(int=next(count))


def node_id(number: int) -> UUID:
    return UUID(int=10**12 + number)


def node(number: int, active: Version | None = OLD, **changes: Any) -> NodeFact:
    """Node `number`, available, running OLD as was decided, unless said otherwise."""
    fact = NodeFact(node_id(number), f"qa-{number}", available=True, active=active, desired=active, wanted=NEW)
    return replace(fact, **changes)


def nodes(count: int) -> list[NodeFact]:
    return [node(number) for number in range(1, count + 1)]


def submitted(policy: Policy, new_id: Callable[[], UUID], **changes: Any) -> Deployment:
    """A deployment of NEW to QA as the use case makes it: six stages, those that do not apply skipped."""
    asked = {name: changes.pop(name, False) for name in ("builds", "tests", "approvals")}
    asked |= {name: changes.pop(name, None) for name in ("built_in", "tested_in")}
    planned = plan(changes.get("kind", DeploymentKind.DEPLOY), **asked)
    stages = tuple(
        Stage(
            new_id(),
            stage.kind,
            StageStatus.SKIPPED if stage.skipped else StageStatus.PENDING,
            message=stage.skipped,
            steps=stage.steps,
        )
        for stage in planned
    )
    state = Deployment(
        id=new_id(),
        kind=DeploymentKind.DEPLOY,
        status=DeploymentStatus.QUEUED,
        release=NEW,
        environment="QA",
        policy=policy,
        strategy=policy.strategy,
        stages=stages,
    )
    return replace(state, **changes)


class Play:
    """One deployment, the events it was given, and the commands that came of them."""

    def __init__(self, policy: dict[str, Any] | None = None, **changes: Any) -> None:
        self.now = START
        self.new_id = ids()
        self.commands: list[Command] = []
        self.last: tuple[Command, ...] = ()
        self._take(start(submitted(parse_policy(policy or {}), self.new_id, **changes), self.now, self.new_id))

    @classmethod
    def of(cls, decision: Decision) -> Play:
        """Go on from a decision."""
        play = cls()
        play.commands = []
        play._take(decision)
        return play

    def _take(self, decision: Decision) -> None:
        self.state = decision.state
        self.last = decision.commands
        self.commands += decision.commands

    def send(self, event: Event) -> tuple[Command, ...]:
        self._take(decide(self.state, event, self.now, self.new_id))
        return self.last

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def status(self) -> DeploymentStatus:
        return self.state.status

    # --- stages

    def stage(self, kind: StageKind) -> Stage:
        return self.state.stage(kind)

    def claim_stage(self, kind: StageKind) -> Stage:
        stage = self.stage(kind)
        assert stage.claimable, f"{kind} is not open work"
        claimed = replace(stage, attempt=stage.attempt + 1, claimable=False, status=StageStatus.RUNNING)
        self.state = self.state.with_stage(claimed)
        return claimed

    def run_stage(self, kind: StageKind, succeeded: bool = True, message: str | None = None) -> tuple[Command, ...]:
        stage = self.claim_stage(kind)
        return self.send(StageReported(stage.id, stage.attempt, succeeded, message))

    def offer_lane(self, facts: Iterable[NodeFact], unmet: str | None = None) -> tuple[Command, ...]:
        stage = self.claim_stage(StageKind.DEPLOY)
        return self.send(LaneOffered(stage.id, stage.attempt, tuple(facts), unmet))

    def lose_claim(self, work: Stage | NodeOperation, poison: bool = False) -> tuple[Command, ...]:
        return self.send(ClaimEnded(work.id, work.attempt, poison, "its process died"))

    def cancel(self, rollback: bool = True) -> tuple[Command, ...]:
        return self.send(CancelRequested(rollback, "ann"))

    def pause(self) -> tuple[Command, ...]:
        return self.send(PauseRequested("ann"))

    def resume(self) -> tuple[Command, ...]:
        return self.send(ResumeRequested("ann"))

    def retry(self) -> tuple[Command, ...]:
        return self.send(RetryRequested("ann"))

    # --- node operations

    def spend(self, work: Stage | NodeOperation) -> tuple[Command, ...]:
        return self.send(BudgetSpent(work.id, work.attempt))

    def lose(self, number: int) -> tuple[Command, ...]:
        return self.send(NodeLost(node_id(number)))

    def come_back(self, number: int, active: Version | None = OLD, **changes: Any) -> tuple[Command, ...]:
        return self.send(NodeReturned(node(number, active, **changes)))

    def claim(self, operation: NodeOperation) -> NodeOperation:
        operation = self.fresh(operation)
        assert operation.claimable, f"{operation.node_name} is not open work"
        status = OperationStatus.RUNNING if operation.status is OperationStatus.DISPATCHED else operation.status
        claimed = replace(operation, attempt=operation.attempt + 1, claimable=False, status=status)
        self.state = self.state.with_operations((claimed,))
        return claimed

    def fresh(self, operation: NodeOperation) -> NodeOperation:
        found = self.state.operation(operation.id)
        assert found is not None
        return found

    def report(
        self, operation: NodeOperation, outcome: Outcome, active: str | None = None, error: str | None = None
    ) -> tuple[Command, ...]:
        return self.send(OperationReported(operation.id, operation.attempt, outcome, active, error, output_tail=error))

    def succeed(self, number: int) -> tuple[Command, ...]:
        """Claim what is to be done on the node, and let the node do it."""
        operation = self.claim(self.on(number))
        return self.report(operation, Outcome.SUCCEEDED, operation.target.digest if operation.target else None)

    def fail(self, number: int, error: str = "never_healthy") -> tuple[Command, ...]:
        """Claim what is to be done on the node, and let it fail there: the node is back at what was active before."""
        operation = self.claim(self.on(number))
        return self.report(operation, Outcome.FAILED, operation.active, error)

    def on(self, number: int) -> NodeOperation:
        """The newest operation of the node."""
        return self.state.latest_by_node()[node_id(number)]

    def numbers(self, *statuses: OperationStatus, direction: Direction | None = None) -> list[int]:
        """The nodes whose newest operation has one of these statuses."""
        return [
            operation.node_id.int - 10**12
            for operation in self.state.latest_by_node().values()
            if operation.status in statuses and direction in (None, operation.direction)
        ]

    def in_flight(self) -> list[int]:
        return self.numbers(OperationStatus.DISPATCHED, OperationStatus.RUNNING, OperationStatus.RESOLVING)

    # --- what was said

    def dispatched(self) -> set[UUID]:
        return {command.work_id for command in self.commands if isinstance(command, Dispatch)}

    def emitted(self, kind: str) -> list[Emit]:
        return [command for command in self.commands if isinstance(command, Emit) and command.kind == kind]

    def stale(self) -> list[CountStale]:
        return [command for command in self.commands if isinstance(command, CountStale)]

    def grants(self) -> int:
        return sum(isinstance(command, GrantLane) for command in self.commands)

    def releases(self) -> int:
        return sum(isinstance(command, ReleaseLane) for command in self.commands)

    def desired(self) -> dict[int, Version | None]:
        """The desired state that the terminal transaction recorded, by number of the node."""
        (record,) = [command for command in self.commands if isinstance(command, RecordDesired)]
        return {key.int - 10**12: version for key, version in record.desired.items()}


def deploying(count: int, policy: dict[str, Any] | None = None, **changes: Any) -> Play:
    """A deployment to `count` nodes that has just got its lane. Direct unless the policy says otherwise."""
    play = Play({"strategy": "direct", **(policy or {})}, **changes)
    play.run_stage(StageKind.SCAN)
    play.offer_lane(nodes(count))
    return play


def rolling(count: int, batch: int | str, policy: dict[str, Any] | None = None, **rolling_fields: Any) -> Play:
    return deploying(count, {"strategy": "rolling", "rolling": {"batch": batch, **rolling_fields}, **(policy or {})})


__all__ = ["NEW", "OLD", "OTHER", "Play", "StrategyKind", "deploying", "node", "nodes", "rolling"]
