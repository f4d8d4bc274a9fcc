"""The operation engine: takes commands, runs one operation per module at a time, and records how each ended.

Everything between a check and the journal's write happens without an await, so no two commands can interleave there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol

from agent import commands
from agent.failures import FailureCode, OperationFailed, TokenSuperseded, failure_of
from agent.journal import Journal
from agent.metrics import Counters
from agent.operation import ActiveView, Ending, Operation, StopReason, snapshot, void_snapshot
from agent.protocol import Command, ModuleKey, OperationState, ResolveRequest
from agent.records import OperationRecord
from agent.refusals import Refusal, RefusalCode, unknown
from agent.telemetry import context, spans
from agent.telemetry.spans import SpanKind
from agent.telemetry.traceparent import SpanContext

log = logging.getLogger(__name__)

KEEP_OPERATIONS = 200
RETRY_RECORDING = 0.5  # seconds between attempts to record an end on a disk that is full
RETRY_COMPLETING = 1.0  # seconds between attempts to finish what was cut after its commit

Answer = tuple[bool, dict[str, object]]  # whether it has ended, and the snapshot or result


class Actions(Protocol):
    """What the engine runs; raises `OperationFailed`, having undone what it did before the commit."""

    async def perform(self, operation: Operation) -> None:
        """Carry an accepted operation out."""

    async def complete(self, operation: Operation) -> None:
        """Finish what an error cut after its commit; may be called again and again. Raises what keeps it from that."""

    def active(self, key: ModuleKey) -> ActiveView:
        """What is active now."""


class Engine:
    """Commands in, results out."""

    def __init__(
        self, journal: Journal, actions: Actions, counters: Counters, ready: Callable[[], bool]
    ) -> None:  # fmt: skip
        self._journal = journal
        self._actions = actions
        self._counters = counters
        self._ready = ready
        self._running: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # -- commands ---------------------------------------------------------------------------------------------

    def submit(self, command: Command, trace: SpanContext | None = None) -> Answer:
        """Take a command, or raise the `Refusal` that the protocol's checks give. `trace`: where it comes from."""
        view = self._journal.view(command.operation_id, command.key)
        match commands.check(command, view):
            case commands.Accept(supersedes):
                return self._accept(command, supersedes, trace)
            case commands.AnswerRecorded(outdated) | commands.AnswerRunning(outdated):
                if outdated:
                    self._late(command.operation_id, "known_id")
                return self._answer(command.operation_id)
            case refused:
                raise self._refusal(refused, command)

    def _refusal(self, decision: commands.Decision, command: Command) -> Refusal:
        match decision:
            case commands.RefuseMismatch():
                return Refusal(RefusalCode.MISMATCH, "this operation id was sent before with other content")
            case commands.RefuseVoid():
                self._late(command.operation_id, "void")
                self._learn_void(command)
                return Refusal(RefusalCode.VOID, "this operation was given up")
            case commands.RefuseStale(highest):
                return self._stale(command.operation_id, highest)
            case commands.RefuseBusy(other):
                message = "another operation runs under an equal token"
                return Refusal(RefusalCode.BUSY, message, {"operationId": other})
            case commands.RefuseUnexpected(active):
                message = "something else is active than the command expects"
                return Refusal(RefusalCode.UNEXPECTED_ACTIVE, message, {"activeDigest": active})
        raise AssertionError(f"{decision} is no refusal")

    def _late(self, operation_id: str, reason: str) -> None:
        """Something came too late: counted and told, and no node's failure."""
        self._counters.stale("agent", reason)
        log.warning("operation %s came too late: %s", operation_id, reason)

    def _stale(self, operation_id: str, highest: int) -> Refusal:
        self._late(operation_id, "stale")
        message = "the fencing token is lower than the highest seen"
        return Refusal(RefusalCode.STALE, message, {"highestToken": highest})

    def _learn_void(self, command: Command) -> None:
        """An id voided without a token learns it from the late request, so that it can be forgotten one day."""
        self._journal.record_void(command.operation_id, command.key, command.token, time.time())

    def _accept(self, command: Command, supersedes: Iterable[str], trace: SpanContext | None) -> Answer:
        if self._stopping or not self._ready():
            raise Refusal(RefusalCode.NOT_READY, "no heartbeat of this agent has been answered lately")
        operation = Operation(command, time.time())
        self._journal.next_sequence()
        self._journal.accept(command, operation.accepted_at)  # nothing after it can fail
        rivals = [self._running[other] for other in supersedes if other in self._running]
        for rival in rivals:
            rival.request_stop(StopReason.SUPERSEDED)
        self._running[command.operation_id] = operation
        self._start(self._traced(operation, rivals, trace))
        return self._answer(command.operation_id)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, context=context.detached())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _traced(self, operation: Operation, rivals: list[Operation], trace: SpanContext | None) -> None:
        """Everything that the operation does, and what it leaves going on, knows whose it is."""
        names = operation.names
        with (
            context.bound(**names),
            spans.continued(trace),
            spans.span("agent operation", kind=SpanKind.SERVER) as span,
        ):
            span.set(action=operation.command.action.value, **names)
            ending = await self._carry_out(operation, rivals)
            span.set(outcome=ending.state.value, step=str(operation.step))
            if ending.error is not None:
                span.fail(f"{ending.error.code.value}: {ending.error.message}"[:300])

    async def _carry_out(self, operation: Operation, rivals: list[Operation]) -> Ending:
        operation.work = asyncio.create_task(self._work(operation, rivals))
        if operation.stop is not None:
            operation.work.cancel()
        timer = asyncio.get_running_loop().call_later(
            operation.command.timeout, operation.request_stop, StopReason.TIMEOUT
        )
        await asyncio.wait([operation.work])
        timer.cancel()
        ending = self._ending(operation)
        if operation.committed and ending.state is not OperationState.SUCCEEDED:
            log.error("operation %s was cut after its commit: %s", operation.command.operation_id, ending.error)
            ending = await self._complete(operation)
        await self._finish(operation, ending)
        return ending

    async def _complete(self, operation: Operation) -> Ending:
        """The decision has fallen: go on until it is done, or until the agent ends and its next start does it."""
        while True:
            try:
                await self._actions.complete(operation)
                return Ending(OperationState.SUCCEEDED)
            except Exception:
                log.exception("cannot finish operation %s yet", operation.command.operation_id)
            await asyncio.sleep(RETRY_COMPLETING)

    async def _work(self, operation: Operation, rivals: list[Operation]) -> None:
        for rival in rivals:
            await rival.ended.wait()
        command = operation.command
        if command.expects_active and self._actions.active(command.key).digest != command.expected_active:
            # Only if the commit of the one before it was taken back.
            raise OperationFailed(FailureCode.INTERRUPTED, "what was active changed before it could begin")
        await self._actions.perform(operation)

    def _ending(self, operation: Operation) -> Ending:
        work = operation.work
        assert work is not None and work.done()
        if work.cancelled():
            return self._stopped_ending(operation)
        error = work.exception()
        if error is None:
            return Ending(OperationState.SUCCEEDED)
        if isinstance(error, TokenSuperseded):
            return Ending(OperationState.SUPERSEDED)
        failure = failure_of(error)
        if failure.code is FailureCode.INTERNAL and not isinstance(error, OperationFailed):
            log.error("operation %s failed unforeseen", operation.command.operation_id, exc_info=error)
        return Ending(OperationState.FAILED, failure)

    @staticmethod
    def _stopped_ending(operation: Operation) -> Ending:
        match operation.stop:
            case StopReason.TIMEOUT:
                message = f"not done after {operation.command.timeout:g} s, in step {operation.step}"
                return Ending(OperationState.FAILED, OperationFailed(FailureCode.TIMEOUT, message))
            case StopReason.SUPERSEDED | StopReason.GIVEN_UP:
                error = OperationFailed(FailureCode.INTERRUPTED, operation.stop.value)
                return Ending(OperationState.SUPERSEDED, error)
            case _:
                error = OperationFailed(FailureCode.INTERRUPTED, StopReason.SHUTDOWN.value)
                return Ending(OperationState.FAILED, error)

    async def _finish(self, operation: Operation, ending: Ending) -> None:
        command = operation.command
        operation.enter(operation.step)
        while True:
            try:
                sequence = self._journal.next_sequence()
                result = snapshot(operation, self._actions.active(command.key), sequence, ending, time.time())
                self._journal.finish(command.operation_id, ending.state, operation.step, json.dumps(result))
                break
            except (sqlite3.Error, OSError) as error:
                log.error("cannot record the end of %s: %s", command.operation_id, error)
                await asyncio.sleep(RETRY_RECORDING)
        del self._running[command.operation_id]
        self._counters.operation(command.action.value, ending.state.value)
        log.info("operation %s of %s: %s", command.operation_id, command.key, ending.state.value, extra={
            "action": command.action.value, "outcome": ending.state.value, "step": str(operation.step),
            "seconds": round(sum(operation.steps.values()), 4)})  # fmt: skip
        operation.ended.set()
        try:
            self._journal.prune(command.key, KEEP_OPERATIONS)
        except sqlite3.OperationalError as error:
            log.warning("cannot prune the journal now: %s", error)

    # -- answers ----------------------------------------------------------------------------------------------

    def _answer(self, operation_id: str) -> Answer:
        running = self._running.get(operation_id)
        if running is not None:
            return False, snapshot(running, self._actions.active(running.command.key), self._journal.sequence)
        record = self._journal.operation(operation_id)
        if record is None:
            raise unknown("no such operation here")
        return record.state is not OperationState.RUNNING, self._recorded(record)

    def _recorded(self, record: OperationRecord) -> dict[str, object]:
        if record.result is not None:
            result: dict[str, object] = json.loads(record.result)
            return result
        active = self._actions.active(record.key) if record.key is not None else ActiveView(None, None, None)
        if record.state is OperationState.RUNNING and record.command is not None:
            operation = Operation(record.command, record.accepted_at)
            operation.step = record.step
            return snapshot(operation, active, self._journal.sequence)
        return void_snapshot(record.operation_id, active, self._journal.sequence, record.accepted_at)

    async def wait(self, operation_id: str, seconds: float) -> Answer:
        """The result, waiting up to `seconds` for it; then a snapshot. Raises `Refusal` (unknown)."""
        running = self._running.get(operation_id)
        if running is not None and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await running.ended.wait()
            except TimeoutError:
                pass
        return self._answer(operation_id)

    # -- giving up --------------------------------------------------------------------------------------------

    async def resolve(self, request: ResolveRequest) -> Answer:
        """Give an operation up and answer its final result, or a snapshot while it still runs."""
        view = self._journal.view(request.operation_id, request.key)
        match commands.check_resolve(request, view):
            case commands.RefuseMismatch():
                raise Refusal(RefusalCode.MISMATCH, "this operation belongs to another module")
            case commands.RefuseStale(highest):
                raise self._stale(request.operation_id, highest)
            case commands.RecordVoid():
                self._journal.record_void(request.operation_id, request.key, request.token, time.time())
            case commands.StopAndWait(raised):
                self._raise(request.key, raised)
                running = self._running.get(request.operation_id)
                if running is not None:
                    running.request_stop(StopReason.GIVEN_UP)
            case commands.LetFinish(raised) | commands.AnswerFinal(raised):
                self._raise(request.key, raised)
        self._enforce(request.key)
        return await self.wait(request.operation_id, request.wait)

    def _raise(self, key: ModuleKey, token: int | None) -> None:
        if token is not None:
            self._journal.raise_token(key, token)

    def _enforce(self, key: ModuleKey) -> None:
        """Stop what runs below the module's highest token."""
        highest = self._journal.module(key).highest_token
        for operation in self._running.values():
            if operation.command.key == key and operation.command.token < highest:
                operation.request_stop(StopReason.SUPERSEDED)

    def void(self, operation_ids: Iterable[str]) -> None:
        """Give ids up that a heartbeat's answer names."""
        for operation_id in operation_ids:
            running = self._running.get(operation_id)
            if running is not None:
                running.request_stop(StopReason.GIVEN_UP)
            elif self._journal.operation(operation_id) is None:
                self._journal.record_void(operation_id, None, None, time.time())

    def raise_floors(self, floors: Iterable[tuple[ModuleKey, int]]) -> None:
        """Raise tokens as a heartbeat's answer says; what runs below them stops."""
        for key, token in floors:
            if token > self._journal.module(key).highest_token:
                self._journal.raise_token(key, token)
                self._enforce(key)

    # -- end --------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Operation]:
        """What has not ended."""
        return list(self._running.values())

    async def stop(self, seconds: float) -> None:
        """Take no more; stop what has not committed, and wait at most so long for all to end."""
        self._stopping = True
        for operation in self.running:
            operation.request_stop(StopReason.SHUTDOWN)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
