"""Activation of `process` modules over the holder's two sides.

The candidate runs on the side that has no traffic, is checked there, and one call switches. Nothing before the commit
touches what serves users, except with `handover: none`, where two cannot run at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent import crashpoints, logs
from agent.addresses import Endpoint, Program
from agent.failures import FailureCode, OperationFailed
from agent.health import HealthGate
from agent.holder.protocol import HolderError, HolderStopped, ProcessState, Side, SideBusy
from agent.journal import Journal
from agent.manifest import Handover
from agent.operation import Operation, Step
from agent.processes import Processes
from agent.protocol import ModuleKey
from agent.records import ModuleRecord, ReleaseRecord, Role, SideRecord
from agent.supervisor import Supervisor
from agent.telemetry import spans

log = logging.getLogger(__name__)

CANDIDATE_DRAIN = 5.0  # seconds for a candidate that no user ever reached


@dataclass(frozen=True, slots=True)
class Standing:
    """A healthy release on the idle side, and where it listens."""

    record: SideRecord
    process: ProcessState
    endpoints: tuple[Endpoint, ...]


class ProcessActivation:
    """Starts, previews, switches, retires."""

    def __init__(self, journal: Journal, processes: Processes, supervisor: Supervisor, gate: HealthGate) -> None:
        self._journal = journal
        self._processes = processes
        self._supervisor = supervisor
        self._gate = gate

    # -- preview ----------------------------------------------------------------------------------------------

    async def preview(self, operation: Operation, release: ReleaseRecord) -> None:
        """Start a release on the idle side, check it, and leave it there."""
        command = operation.command
        module = self._journal.module(command.key)
        program = self._processes.program(command.key, release)
        old = self._old(module)
        if Handover.NONE in (program.handover, old.handover if old is not None else None):
            raise OperationFailed(FailureCode.INTERNAL, "with `handover: none` there is no second side for a preview")
        standing = await self._stand(operation, program, module)
        self._supervisor.keep_warm(replace(standing.record, role=Role.PREVIEW, until=None))

    # -- activate ---------------------------------------------------------------------------------------------

    async def activate(self, operation: Operation, release: ReleaseRecord) -> None:
        """Start a release (or take the one that stands by), check it, commit, switch; the old one drains behind."""
        command = operation.command
        module = self._journal.module(command.key)
        program = self._processes.program(command.key, release)
        old = self._old(module)
        if self._nothing_to_do(operation, module):
            return
        if old is not None and Handover.NONE in (old.handover, program.handover):
            await self._interrupt(operation, module, old, program)
            return
        standing = await self._stand(operation, program, module)
        try:
            kept = self._commit(operation, module, standing.record)
        except BaseException:
            if standing.record.role is Role.CANDIDATE:
                await self._end_candidate(standing.record)
            raise
        await self._switch(operation, module, standing)
        self._supervisor.adopt(standing.record, standing.process)
        if kept is not None and old is not None:
            await self._leave(kept, old, standing.endpoints)
        operation.enter(Step.SWITCHED)
        crashpoints.reach("switched")

    def _nothing_to_do(self, operation: Operation, module: ModuleRecord) -> bool:
        target, active = operation.command.target, module.active
        if operation.command.force or active is None or target is None or active.digest != target.digest:
            return False
        return self._supervisor.is_running(module.key)

    def _old(self, module: ModuleRecord) -> Program | None:
        return self._processes.known_program(module.key, module.active) if module.active is not None else None

    def _commit(self, operation: Operation, module: ModuleRecord, candidate: SideRecord) -> SideRecord | None:
        """Make the candidate active; what becomes of the old side's record is returned."""
        command = operation.command
        old = None
        if module.active is not None and module.active_side is not None:
            warm = command.keep_warm > 0
            old = SideRecord(
                key=command.key,
                side=module.active_side,
                role=Role.WARM if warm else Role.DRAINING,
                release=module.active,
                operation_id=self._side(module.key, module.active_side).operation_id,
                until=time.time() + command.keep_warm if warm else None,
            )
        with spans.span("commit"):
            active = replace(candidate, role=Role.ACTIVE, until=None)
            self._journal.commit_active(command, candidate.release, active, old)
        operation.committed = operation.changed = True
        operation.enter(Step.COMMITTED)
        return old

    async def _switch(self, operation: Operation, module: ModuleRecord, standing: Standing) -> None:
        """Send users to the new side; take the commit back if the candidate died before anyone reached it."""
        process = await self._processes.find(standing.record)
        if process is None and self._supervisor.is_running(module.key):
            await self._take_back(operation, module, standing.record)
            tail = logs.tail(standing.process.log_file)
            raise OperationFailed(FailureCode.EXITED, "it ended between its last health check and the switch", tail)
        await self._steer_surely(standing)

    async def _steer_surely(self, standing: Standing) -> None:
        """The decision has fallen: go on until the holder, or the next one, has done it."""
        with spans.span("switch"):
            while True:
                try:
                    return await self._processes.steer(standing.endpoints, standing.record.side)
                except HolderStopped:
                    raise
                except HolderError as error:
                    log.error("cannot switch %s yet: %s", standing.record.key, error)
                    await asyncio.sleep(1.0)

    async def _take_back(self, operation: Operation, module: ModuleRecord, candidate: SideRecord) -> None:
        assert module.active_side is not None and module.active is not None
        before = self._side(module.key, module.active_side)
        self._journal.put_back_active(operation.command, module, (replace(before, role=Role.ACTIVE, until=None),))
        operation.committed = operation.changed = False
        await self._end_candidate(candidate)

    async def _leave(self, kept: SideRecord, old: Program, new: Sequence[Endpoint]) -> None:
        """Let the old release go: warm, or drained in the background."""
        gone = [
            endpoint for endpoint in self._processes.addresses.endpoints(old)
            if endpoint.key is not None and endpoint.key not in {other.key for other in new}
        ]  # fmt: skip
        # The old release listens where the new one does not: its side has to be idle there, too, to be retired.
        await self._processes.steer(gone, Side(kept.side).other)
        if kept.role is Role.WARM:
            self._supervisor.keep_warm(kept)
        else:
            self._supervisor.drain(kept, old.manifest.drain.timeout)

    # -- the idle side ----------------------------------------------------------------------------------------

    async def _stand(self, operation: Operation, program: Program, module: ModuleRecord) -> Standing:
        """A healthy process of the release on the idle side; undone if that fails or is stopped."""
        operation.enter(Step.STARTING)
        standby = self._standby(program, module)
        if standby is not None:
            process = await self._processes.find(standby)
            if process is not None:
                endpoints = await self._processes.addresses.listen(program)
                await self._check(operation, program, process, endpoints)
                return Standing(standby, process, tuple(endpoints))
        side = await self._free_side(module)
        record = SideRecord(program.key, side, Role.CANDIDATE, program.release, operation.command.operation_id)
        self._journal.put_side(record)
        self._journal.note_step(operation.command.operation_id, Step.STARTING)
        try:
            return await self._start(operation, program, record)
        except BaseException:
            await self._end_candidate(record)
            raise

    async def _free_side(self, module: ModuleRecord) -> Side:
        if module.active_side is not None:
            side = Side(module.active_side).other
            await self._supervisor.free_side(module.key, side)
            return side
        for each in Side:  # what was taken away may still drain on either side
            await self._supervisor.free_side(module.key, each)
        return Side.A

    async def _listen(self, program: Program, side: Side) -> list[Endpoint]:
        """Bind the addresses; where the active release does not serve them, a side is idle only if it is said so."""
        endpoints = await self._processes.addresses.listen(program)
        active = self._journal.module(program.key).active
        served = (
            self._processes.addresses.endpoints(self._processes.known_program(program.key, active))
            if active is not None
            else []
        )
        known = {endpoint.key for endpoint in served}
        await self._processes.steer([each for each in endpoints if each.key not in known], side.other)
        return endpoints

    def _standby(self, program: Program, module: ModuleRecord) -> SideRecord | None:
        """What stands by already and is the same release, told the same."""
        for side in self._journal.sides(program.key):
            same = side.release.digest == program.release.digest and side.release.settings == program.release.settings
            if same and side.role in (Role.PREVIEW, Role.WARM) and side.side != module.active_side:
                return side
        return None

    async def _start(self, operation: Operation, program: Program, record: SideRecord) -> Standing:
        endpoints = await self._listen(program, Side(record.side))
        log_file = program.folder.log / f"{record.side}.log"
        since = logs.size_of(log_file)
        try:
            with spans.span("start"):
                process = await self._processes.start(program, record, endpoints)
        except OperationFailed as error:
            raise OperationFailed(error.code, error.message, logs.tail(log_file, since)) from error
        except SideBusy as error:
            raise OperationFailed(FailureCode.INTERNAL, f"the idle side is not free: {error}") from error
        except asyncio.CancelledError:
            operation.output_tail = logs.tail(log_file, since)
            raise
        crashpoints.reach("started")
        await self._check(operation, program, process, endpoints, since)
        return Standing(record, process, tuple(endpoints))

    async def _check(
        self, operation: Operation, program: Program, process: ProcessState, endpoints: Sequence[Endpoint],
        since: int = 0,
    ) -> None:  # fmt: skip
        try:
            with spans.span("health"):
                await self._gate.pass_through(program, process, endpoints, since, active=False)
        except HolderError as error:
            raise OperationFailed(FailureCode.INTERNAL, f"the holder failed: {error}") from error
        finally:  # a stop says nothing itself, and what the candidate said may be why it came to that
            operation.output_tail = logs.tail(process.log_file, since)
        operation.enter(Step.HEALTHY)
        crashpoints.reach("healthy")

    async def _end_candidate(self, record: SideRecord) -> None:
        """End what no user ever reached, and wait for it, so that its side is free again."""
        process = await self._processes.find(record)
        if process is not None:
            await self._processes.stop(process.identity, CANDIDATE_DRAIN)
            await self._processes.gone(process.identity)
        self._journal.drop_side(record.key, record.side)

    def _side(self, key: ModuleKey, side: str) -> SideRecord:
        return next(record for record in self._journal.sides(key) if record.side == side)

    # -- handover: none ---------------------------------------------------------------------------------------

    async def _interrupt(self, operation: Operation, module: ModuleRecord, old: Program, program: Program) -> None:
        """Drain, stop, start: where two releases cannot run at once. A failure starts the old one again."""
        assert module.active_side is not None
        operation.enter(Step.STARTING)
        await self._supervisor.free_side(program.key, Side(module.active_side).other)
        self._journal.note_step(operation.command.operation_id, Step.STARTING)
        record = SideRecord(
            program.key, Side(module.active_side).other, Role.CANDIDATE, program.release, operation.command.operation_id
        )
        try:
            await self._supervisor.halt(module.key, old.manifest.drain.timeout)
            if program.handover is Handover.NONE:
                keys = [
                    endpoint.key for endpoint in self._processes.addresses.endpoints(old) if endpoint.key is not None
                ]
                await self._processes.release(keys)
            self._journal.put_side(record)
            standing = await self._start(operation, program, record)
            kept = self._commit(operation, module, record)
        except BaseException:
            try:
                await self._end_candidate(record)
            finally:  # the old release must come back, whatever becomes of the candidate
                await self._supervisor.resume(module.key)
            raise
        await self._steer_surely(standing)
        self._supervisor.adopt(record, standing.process)
        if kept is not None:
            self._journal.drop_side(kept.key, kept.side)
        operation.enter(Step.SWITCHED)

    # -- absent and retire ------------------------------------------------------------------------------------

    async def remove(self, operation: Operation) -> None:
        """The module is to be absent: commit that, then end all of it behind the result."""
        command = operation.command
        module = self._journal.module(command.key)
        if module.active is None or module.active_side is None:
            return
        old = self._processes.known_program(module.key, module.active)
        draining = replace(self._side(module.key, module.active_side), role=Role.DRAINING)
        self._journal.commit_active(command, None, None, draining)
        operation.committed = operation.changed = True
        self._supervisor.dismiss(module.key, old)
        operation.enter(Step.SWITCHED)

    async def retire(self, operation: Operation) -> None:
        """End what stands by on the idle side, and wait for its end."""
        module = self._journal.module(operation.command.key)
        for side in self._journal.sides(module.key):
            if side.side != module.active_side:
                await self._supervisor.free_side(module.key, side.side)
