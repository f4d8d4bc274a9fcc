"""At the agent's start: make the node agree with what the journal says was committed (docs/agent.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from agent.failures import FailureCode, OperationFailed
from agent.files_activation import FilesActivation
from agent.holder.protocol import ProcessState, UnknownProcess
from agent.journal import Journal
from agent.node_state import NodeState
from agent.operation import ActiveView, Ending, Operation, Step, snapshot
from agent.paths import NodeFolders
from agent.processes import Processes, Tag
from agent.protocol import OperationState
from agent.records import OperationRecord, Role, SideRecord
from agent.releases import sweep
from agent.restoring import Restoring

log = logging.getLogger(__name__)

STRANGER_DRAIN = 10.0  # seconds for a process that no record knows


class Recovery:
    """Runs once, before the API listens."""

    def __init__(
        self, journal: Journal, folders: NodeFolders, processes: Processes, restoring: Restoring,
        files: FilesActivation, state: NodeState,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._folders = folders
        self._processes = processes
        self._restoring = restoring
        self._files = files
        self._state = state

    async def run(self) -> None:
        """Undo what had not committed, go on with what had, and run exactly what was committed."""
        unfinished = self._journal.unfinished()
        for record in unfinished:
            if not record.committed:
                await self._undo(record)
        modules = self._journal.modules()
        await asyncio.gather(*(self._restoring.restore(module.key) for module in modules))
        await self._end_strangers()
        for record in unfinished:
            self._finish(record)
        for module in modules:
            sweep(self._folders.module(module.key))

    async def _undo(self, record: OperationRecord) -> None:
        command = record.command
        assert command is not None
        log.warning("operation %s was cut in step %s and is undone", record.operation_id, record.step)
        if record.step == Step.INSTALLING:
            try:
                await self._files.restore(command)
            except OperationFailed as error:
                log.error("cannot put %s back: %s", command.key, error)
        for side in self._journal.sides(command.key):
            if side.role is Role.CANDIDATE and side.operation_id == record.operation_id:
                await self._end(side)

    async def _end(self, side: SideRecord) -> None:
        process = await self._processes.find(side)
        if process is not None:
            await self._processes.stop(process.identity, STRANGER_DRAIN)
            await self._processes.gone(process.identity)
        self._journal.drop_side(side.key, side.side)

    async def _end_strangers(self) -> None:
        """End what the holder runs and no record knows."""
        known = {str(Tag.of(side)) for side in self._journal.sides()}
        state = await self._processes.holder.state()
        for process in state.processes:
            if process.tag not in known:
                await self._end_stranger(process)

    async def _end_stranger(self, process: ProcessState) -> None:
        try:
            if process.running:
                log.warning("%s (%s) is in no record and is ended", process.name, process.identity)
                await self._processes.retire(process, STRANGER_DRAIN)
            else:
                await self._processes.holder.forget(process.identity)
        except UnknownProcess:
            return

    def _finish(self, record: OperationRecord) -> None:
        command = record.command
        assert command is not None
        active, sequence, now = self._state.active(command.key), self._journal.next_sequence(), time.time()
        if record.committed:
            result = _completed(record, active, sequence, now)
            self._journal.finish(record.operation_id, OperationState.SUCCEEDED, Step.SWITCHED, result)
        else:
            result = _interrupted(record, active, sequence, now)
            self._journal.finish(record.operation_id, OperationState.FAILED, record.step, result)


def _interrupted(record: OperationRecord, active: ActiveView, sequence: int, now: float) -> str:
    """The result of an operation that an agent's death cut before its commit."""
    return _after_death(record, active, sequence, now, Ending(OperationState.FAILED, INTERRUPTED), changed=False)


def _completed(record: OperationRecord, active: ActiveView, sequence: int, now: float) -> str:
    """The result of an operation that had committed when the agent died and was finished at the next start."""
    return _after_death(record, active, sequence, now, Ending(OperationState.SUCCEEDED), changed=True)


INTERRUPTED = OperationFailed(FailureCode.INTERRUPTED, "the agent died in the middle of it; it was undone")


def _after_death(
    record: OperationRecord, active: ActiveView, sequence: int, now: float, ending: Ending, *, changed: bool
) -> str:
    assert record.command is not None
    operation = Operation(record.command, record.accepted_at)
    operation.step = Step.SWITCHED if changed else record.step
    operation.changed = changed
    return json.dumps(snapshot(operation, active, sequence, ending, now))
