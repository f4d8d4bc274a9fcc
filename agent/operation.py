"""An operation while it runs, and what is answered about it."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from enum import StrEnum

from agent.failures import OperationFailed
from agent.logs import as_tail
from agent.protocol import Command, OperationState


class Step(StrEnum):
    """Where an operation is; hooks of `files` modules are steps by their own names."""

    ACCEPTED = "accepted"
    STAGING = "staging"
    STAGED = "staged"
    STARTING = "starting"
    HEALTHY = "healthy"
    INSTALLING = "installing"
    COMMITTED = "committed"
    SWITCHED = "switched"


class StopReason(StrEnum):
    """Why an operation was told to stop before its commit."""

    SUPERSEDED = "a newer operation with a higher fencing token took its place"
    GIVEN_UP = "the orchestrator gave it up"
    TIMEOUT = "it took longer than its timeout"
    SHUTDOWN = "the agent was stopped"


@dataclass(frozen=True, slots=True)
class ActiveView:
    """What is active at the moment an answer is made."""

    digest: str | None
    version: str | None
    endpoint: str | None


class Operation:
    """One accepted command on its way. Only the engine ends it."""

    def __init__(self, command: Command, accepted_at: float) -> None:
        self.command = command
        self.accepted_at = accepted_at
        self.step: str = Step.ACCEPTED
        self.steps: dict[str, float] = {}
        self.stop: StopReason | None = None
        self.committed = False
        self.changed = False
        self.output_tail = ""
        self.ended = asyncio.Event()
        self.work: asyncio.Task[None] | None = None
        self._entered = time.monotonic()
        self._deadline = self._entered + command.timeout

    @property
    def names(self) -> dict[str, str | None]:
        """What log lines and spans say of it."""
        command = self.command
        return {
            "deployment": command.context.deployment_id,
            "work": command.operation_id,
            "module": command.key.module,
            "version": command.target.version if command.target is not None else None,
        }

    def enter(self, step: str) -> None:
        """Begin a step; the time since the last one counts for that."""
        now = time.monotonic()
        self.steps[self.step] = self.steps.get(self.step, 0.0) + now - self._entered
        self.step, self._entered = step, now

    @property
    def remaining(self) -> float:
        """Seconds until its timeout, at least 0."""
        return max(0.0, self._deadline - time.monotonic())

    def request_stop(self, reason: StopReason) -> bool:
        """Stop it at its next step; False if it is past its commit or was told already. Cancels exactly once, so
        that undoing is not cut short by a second reason."""
        if self.committed or self.stop is not None:
            return False
        self.stop = reason
        if self.work is not None:
            self.work.cancel()
        return True


@dataclass(frozen=True, slots=True)
class Ending:
    """How an operation came out."""

    state: OperationState
    error: OperationFailed | None = None


def snapshot(
    operation: Operation, active: ActiveView, sequence: int, ending: Ending | None = None, ended_at: float | None = None
) -> dict[str, object]:
    """The wire's snapshot, or with `ending` its result."""
    error = ending.error if ending is not None else None
    tail = error.output_tail if error is not None and error.output_tail else operation.output_tail
    steps = {name: round(seconds, 4) for name, seconds in operation.steps.items()}
    return {
        "operationId": operation.command.operation_id,
        "state": (ending.state if ending is not None else OperationState.RUNNING).value,
        "step": str(operation.step),
        "changed": operation.changed,
        "activeDigest": active.digest,
        "activeVersion": active.version,
        "endpoint": active.endpoint,
        "stateSequence": sequence,
        "error": None if error is None else {"code": error.code.value, "message": as_tail(error.message)},
        "outputTail": as_tail(tail),
        "startedAt": rfc3339(operation.accepted_at),
        "endedAt": None if ended_at is None else rfc3339(ended_at),
        "steps": steps,
    }


def void_snapshot(operation_id: str, active: ActiveView, sequence: int, recorded_at: float) -> dict[str, object]:
    """The answer for an id that was given up before it ever started."""
    return {
        "operationId": operation_id,
        "state": OperationState.VOID.value,
        "step": Step.ACCEPTED.value,
        "changed": False,
        "activeDigest": active.digest,
        "activeVersion": active.version,
        "endpoint": active.endpoint,
        "stateSequence": sequence,
        "error": None,
        "outputTail": "",
        "startedAt": rfc3339(recorded_at),
        "endedAt": rfc3339(recorded_at),
        "steps": {},
    }


def rfc3339(seconds: float) -> str:
    """Seconds of the epoch as RFC 3339 in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
