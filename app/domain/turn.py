"""One call of `decide()` under way: the state so far, and the commands collected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from app.domain.deployment import (
    Deployment,
    DeploymentStatus,
    NodeOperation,
    OperationStatus,
    Stage,
    StageStatus,
    WaitingKind,
)
from app.domain.events import Command, Dispatch, Emit


@dataclass(slots=True)
class Turn:
    """Mutable only within `decide()`; `now` is the durable clock's time, `new_id` makes ids."""

    state: Deployment
    now: datetime
    new_id: Callable[[], UUID]
    commands: list[Command] = field(default_factory=list)

    def emit(self, kind: str, **body: Any) -> None:
        self.commands.append(Emit(kind, {key: value for key, value in body.items() if value is not None}))

    def set_status(self, status: DeploymentStatus, reason: str | None = None) -> None:
        if status is not self.state.status:
            self.state = replace(self.state, status=status)
            self.emit("deployment." + status.value[0].lower() + status.value[1:], reason=reason)

    # --- stages

    def dispatch_stage(self, stage: Stage, due_at: datetime | None = None, **changes: Any) -> None:
        """Make a stage open work again, from `due_at` on (at once without)."""
        self.state = self.state.with_stage(replace(stage, claimable=True, due_at=due_at, **changes))
        self.commands.append(Dispatch(stage.id))

    def hold_stage(self, stage: Stage, kind: WaitingKind, due_at: datetime, message: str) -> None:
        """Let a stage wait until `due_at`. It was answered, so that earlier losses of its claim are forgotten."""
        told = stage.waiting is kind and stage.message == message
        self.dispatch_stage(stage, due_at, status=StageStatus.WAITING, waiting=kind, message=message, losses=0)
        if not told:
            self.emit("stage.waiting", stage=self.state.name_of(stage), reason=message)

    def end_stage(
        self, stage: Stage, status: StageStatus, message: str | None = None, output_tail: str | None = None
    ) -> None:
        self.state = self.state.with_stage(
            replace(
                stage,
                status=status,
                claimable=False,
                due_at=None,
                waiting=None,
                message=message,
                output_tail=output_tail or stage.output_tail,
            )
        )
        self.emit(
            "stage." + status.value[0].lower() + status.value[1:], stage=self.state.name_of(stage), message=message
        )

    # --- node operations

    def add_operation(self, operation: NodeOperation) -> None:
        self.state = self.state.with_operations((operation,))

    def dispatch_operation(self, operation: NodeOperation, due_at: datetime | None = None, **changes: Any) -> None:
        changes = {"status": OperationStatus.DISPATCHED, **changes}
        self.state = self.state.with_operations((replace(operation, claimable=True, due_at=due_at, **changes),))
        self.commands.append(Dispatch(operation.id))

    def end_operation(self, operation: NodeOperation, status: OperationStatus, **changes: Any) -> NodeOperation:
        ended = replace(operation, status=status, claimable=False, due_at=None, **changes)
        self.state = self.state.with_operations((ended,))
        self.emit(
            "operation." + status.value[0].lower() + status.value[1:],
            operationId=str(operation.id),
            node=operation.node_name,
            wave=operation.wave,
            direction=operation.direction.value,
            version=operation.target.version if operation.target else None,
            error=ended.error,
        )
        return ended

    def resolve_operation(self, operation: NodeOperation, error: str | None, due_at: datetime | None = None) -> None:
        """Give an operation up: from now on only a resolve may be sent for it."""
        self.dispatch_operation(
            operation,
            due_at,
            status=OperationStatus.RESOLVING,
            error=error if error is not None else operation.error,
        )
