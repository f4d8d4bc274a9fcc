"""Activation of `files` modules: hooks in CodeDeploy's order around an atomic rename (docs/agent.md)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from agent import crashpoints, logs
from agent.config import AgentConfig
from agent.environment import module_environment
from agent.failures import FailureCode, OperationFailed
from agent.journal import Journal
from agent.manifest import HookEvent, Kind, Manifest
from agent.operation import Operation, Step
from agent.paths import NodeFolders
from agent.placing import apply_owner_and_mode, claim_destination, destination_of, is_ours, point, remove_link
from agent.protocol import Command, ModuleKey
from agent.records import ReleaseRecord
from agent.releases import manifest_of
from agent.running import run_command
from agent.telemetry import spans
from agent.threads import finish_in_thread

log = logging.getLogger(__name__)

HOOK_LOG = "hooks.log"


@dataclass(frozen=True, slots=True)
class Installed:
    """A `files` release on this node."""

    key: ModuleKey
    release: ReleaseRecord
    place: Path
    manifest: Manifest


@dataclass(slots=True)
class Progress:
    """How far an installation came, for undoing it."""

    old_stopped: bool = False
    linked: bool = False
    new_started: bool = False
    output: list[str] = field(default_factory=list)


class FilesActivation:
    """Puts releases in place, and back."""

    def __init__(self, config: AgentConfig, journal: Journal, folders: NodeFolders) -> None:
        self._config = config
        self._journal = journal
        self._folders = folders

    def installed(self, key: ModuleKey, release: ReleaseRecord) -> Installed:
        """A release with its place and manifest. Raises `OperationFailed` if it is damaged."""
        place = self._folders.module(key).release(release.version, release.digest)
        return Installed(key, release, place, manifest_of(place))

    async def activate(self, operation: Operation, new: Installed | None) -> None:
        """Replace what is in place by `new`, or by nothing. Undoes itself if it fails or is stopped."""
        command = operation.command
        active = self._journal.module(command.key).active
        old = self.installed(command.key, active) if active is not None else None
        progress = Progress()
        operation.enter(Step.INSTALLING)
        self._journal.note_step(command.operation_id, Step.INSTALLING)
        try:
            with spans.span("install"):
                await self._install(operation, old, new, progress)
            with spans.span("commit"):
                self._journal.commit_active(command, new.release if new else None, None, None)
        except BaseException:
            operation.output_tail = logs.as_tail("".join(progress.output))
            await self._undo(command.key, old, new, progress)
            raise
        operation.committed = operation.changed = True
        operation.output_tail = logs.as_tail("".join(progress.output))
        try:
            self._leave_destination(old, new)
        except OSError as error:  # the decision has fallen, and a link too many is no reason to take it back
            log.warning("%s: the link at the old destination stays: %s", command.key, error)
        operation.enter(Step.SWITCHED)

    async def _install(
        self, operation: Operation, old: Installed | None, new: Installed | None, so_far: Progress
    ) -> None:
        if old is not None and HookEvent.APPLICATION_STOP in old.manifest.hooks:
            so_far.old_stopped = True
            await self._warn_only(old, HookEvent.APPLICATION_STOP, so_far)
        if new is None:
            so_far.linked = True
            remove_link(self._folders.module(operation.command.key).current)
            return
        await self._hook(operation, new, HookEvent.BEFORE_INSTALL, so_far)
        if new.manifest.files is not None and new.manifest.files.owner is not None:
            change_owner = not self._config.map_destinations
            await finish_in_thread(apply_owner_and_mode, new.place, new.manifest, change_owner=change_owner)
        else:  # at most the mode of one folder
            apply_owner_and_mode(new.place, new.manifest, change_owner=False)
        so_far.linked = True
        self._link(new)
        crashpoints.reach("linked")
        await self._hook(operation, new, HookEvent.AFTER_INSTALL, so_far)
        so_far.new_started = HookEvent.APPLICATION_START in new.manifest.hooks
        await self._hook(operation, new, HookEvent.APPLICATION_START, so_far)
        await self._hook(operation, new, HookEvent.VALIDATE_SERVICE, so_far)

    def _link(self, release: Installed) -> None:
        folder = self._folders.module(release.key)
        point(folder.current, release.place)
        destination = destination_of(release.manifest, self._config, self._folders)
        if destination is not None:
            claim_destination(destination, folder)

    async def _undo(self, key: ModuleKey, old: Installed | None, new: Installed | None, so_far: Progress) -> None:
        """Back to what was committed; failing hooks only warn here, since nothing better could be done."""
        if so_far.new_started and new is not None:
            await self._warn_only(new, HookEvent.APPLICATION_STOP, so_far)
        if so_far.linked:
            await self._put_back(key, old, so_far)
            self._leave_destination(new, old)
        if so_far.old_stopped and old is not None:
            await self._warn_only(old, HookEvent.APPLICATION_START, so_far)

    async def _put_back(self, key: ModuleKey, old: Installed | None, so_far: Progress) -> None:
        if old is None:
            remove_link(self._folders.module(key).current)
            return
        self._link(old)
        await self._warn_only(old, HookEvent.AFTER_INSTALL, so_far)

    async def restore(self, command: Command) -> None:
        """After an agent's death within an installation: put the committed release back, as `_undo` does it.

        How far it had come is not known, so both hooks of the committed release run.
        """
        active = self._journal.module(command.key).active
        old = self.installed(command.key, active) if active is not None else None
        new = None
        if command.target is not None:
            new = self.installed(command.key, ReleaseRecord.of(command, command.target, Kind.FILES))
        await self._undo(command.key, old, new, Progress(linked=True, old_stopped=True))

    def _leave_destination(self, left: Installed | None, kept: Installed | None) -> None:
        """Remove the link at a destination that is not the module's any more."""
        if left is None:
            return
        old = destination_of(left.manifest, self._config, self._folders)
        new = destination_of(kept.manifest, self._config, self._folders) if kept is not None else None
        if old is not None and old != new and is_ours(old, self._folders.module(left.key)):
            remove_link(old)

    # -- hooks ------------------------------------------------------------------------------------------------

    async def _hook(self, operation: Operation, release: Installed, event: HookEvent, so_far: Progress) -> None:
        hook = release.manifest.hooks.get(event)
        if hook is None:
            return
        operation.enter(event.value)
        file = self._folders.module(release.key).log / HOOK_LOG
        since = logs.size_of(file)
        try:
            with spans.span(event.value, version=release.release.version):
                problem, output = await self._run(release, event)
        except asyncio.CancelledError:
            so_far.output.append(logs.tail(file, since))
            raise
        so_far.output.append(output)
        if problem is not None:
            raise OperationFailed(FailureCode.HOOK_FAILED, f"the hook {event.value} {problem}", output)

    async def _warn_only(self, release: Installed, event: HookEvent, so_far: Progress) -> None:
        problem, output = await self._run(release, event)
        so_far.output.append(output)
        if problem is not None:
            warning = f"warning: the hook {event.value} of {release.release.version} {problem}"
            log.warning("%s: %s", release.key, warning)
            so_far.output.append(f"{warning}\n")

    async def _run(self, release: Installed, event: HookEvent) -> tuple[str | None, str]:
        hook = release.manifest.hooks.get(event)
        if hook is None:
            return None, ""
        folder = self._folders.module(release.key)
        environment = module_environment(self._config, release.manifest, release.release, folder, event)
        output = folder.log / HOOK_LOG
        logs.cut(output, self._config.limits.log_bytes)
        outcome = await run_command(hook.command, release.place, environment, hook.timeout, output)
        return None if outcome.ok else outcome.describe(hook.timeout), outcome.output_tail
