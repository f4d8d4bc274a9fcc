"""What an accepted operation does, by its action and the release's kind."""

from __future__ import annotations

import contextlib

from agent.config import AgentConfig
from agent.failures import FailureCode, OperationFailed
from agent.files_activation import FilesActivation
from agent.journal import Journal
from agent.manifest import Kind
from agent.node_state import NodeState
from agent.operation import ActiveView, Operation, Step
from agent.paths import NodeFolders
from agent.process_activation import ProcessActivation
from agent.protocol import Action, ModuleKey, Target
from agent.records import ReleaseRecord
from agent.releases import keep_newest, manifest_of
from agent.restoring import Restoring
from agent.staging import Stager


class Activation:
    """The engine's `Actions`."""

    def __init__(
        self, config: AgentConfig, journal: Journal, folders: NodeFolders, stager: Stager, files: FilesActivation,
        processes: ProcessActivation, restoring: Restoring, state: NodeState,
    ) -> None:  # fmt: skip
        self._config = config
        self._journal = journal
        self._folders = folders
        self._stager = stager
        self._files = files
        self._processes = processes
        self._restoring = restoring
        self._state = state

    def active(self, key: ModuleKey) -> ActiveView:
        """What is active now."""
        return self._state.active(key)

    async def perform(self, operation: Operation) -> None:
        """Carry an accepted operation out. Raises `OperationFailed`, `TokenSuperseded`."""
        command = operation.command
        target = command.target
        if command.action is Action.RETIRE:
            await self._processes.retire(operation)
        elif target is None:
            await self._remove(operation)
        else:
            await self._bring(operation, target)
        self._tidy(command.key)

    async def complete(self, operation: Operation) -> None:
        """Finish what was cut after its commit, as the agent's next start would. Raises what keeps it from that."""
        if not await self._restoring.restore(operation.command.key):
            raise OperationFailed(FailureCode.INTERNAL, "users cannot be sent to the new release yet")
        operation.enter(Step.SWITCHED)

    async def _bring(self, operation: Operation, target: Target) -> None:
        command = operation.command
        active = self._journal.module(command.key).active
        place = await self._stager.ensure(operation, target)
        if command.action is Action.STAGE:
            return
        kind = manifest_of(place).kind
        if active is not None and active.kind is not kind:
            raise OperationFailed(
                FailureCode.INTERNAL,
                f"the active release is of kind {active.kind.value}, this one is {kind.value}; "
                "make the module absent first",
            )
        release = ReleaseRecord.of(command, target, kind)
        if kind is Kind.FILES:
            await self._bring_files(operation, release, active)
        elif command.action is Action.PREVIEW:
            await self._processes.preview(operation, release)
        else:
            await self._processes.activate(operation, release)

    async def _bring_files(self, operation: Operation, release: ReleaseRecord, active: ReleaseRecord | None) -> None:
        """A preview of files is what staging has done already."""
        command = operation.command
        if command.action is Action.PREVIEW:
            return
        if active is not None and active.digest == release.digest and not command.force:
            operation.enter(Step.SWITCHED)
            return
        await self._files.activate(operation, self._files.installed(command.key, release))

    async def _remove(self, operation: Operation) -> None:
        active = self._journal.module(operation.command.key).active
        if active is None:
            operation.enter(Step.SWITCHED)
        elif active.kind is Kind.FILES:
            await self._files.activate(operation, None)
        else:
            await self._processes.remove(operation)

    def _tidy(self, key: ModuleKey) -> None:
        """Keep the last releases only; what cannot be removed now goes another time."""
        folder = self._folders.module(key)
        active = self._journal.module(key).active
        used = [side.release for side in self._journal.sides(key)] + ([active] if active is not None else [])
        with contextlib.suppress(OSError):
            keep_newest(
                folder, self._config.keep_releases, [folder.release(each.version, each.digest) for each in used]
            )
