"""What was committed for a module, made true: at the agent's start, and after an error behind a commit."""

from __future__ import annotations

import logging

from agent.failures import OperationFailed
from agent.journal import Journal
from agent.manifest import Kind
from agent.processes import Processes
from agent.protocol import ModuleKey
from agent.records import Role, SideRecord
from agent.supervisor import Supervisor

log = logging.getLogger(__name__)


class Restoring:
    """Idempotent: what is as it should be already is left alone."""

    def __init__(self, journal: Journal, processes: Processes, supervisor: Supervisor) -> None:
        self._journal = journal
        self._processes = processes
        self._supervisor = supervisor

    async def restore(self, key: ModuleKey) -> bool:
        """Run the active release with the traffic on its side, and let go of what is on the other one.

        False if users cannot be sent to it yet; a start that fails is tried again by the supervisor. A damaged release
        is only told: no other try would find it whole. Raises `sqlite3.Error`.
        """
        module = self._journal.module(key)
        if module.active is not None and module.active.kind is Kind.PROCESS:
            try:
                await self._supervisor.resume(key)
            except OperationFailed as error:
                log.error("cannot run the active release of %s: %s", key, error)
        for side in self._journal.sides(key):
            if side.side != module.active_side:
                self._let_go(side)
        watch = self._supervisor.watch(key)
        return watch is None or watch.steered

    def _let_go(self, side: SideRecord) -> None:
        match side.role:
            case Role.WARM | Role.PREVIEW:
                self._supervisor.keep_warm(side)
            case _:
                program = self._processes.known_program(side.key, side.release)
                self._supervisor.drain(side, program.manifest.drain.timeout)
