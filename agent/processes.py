"""Modules as processes of the holder: addresses, starting, finding again, ending.

The holder's client repeats calls when the holder dies in the middle of them, all but a start: that is looked for by its
tag first, so that nothing is started twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from agent.addresses import Addresses, Endpoint, Program
from agent.config import AgentConfig
from agent.environment import module_environment
from agent.failures import FailureCode, OperationFailed
from agent.holder.client import HolderClient
from agent.holder.protocol import (
    BadRequest,
    HolderLost,
    HolderState,
    Limits,
    ProcessExited,
    ProcessIdentity,
    ProcessSpec,
    ProcessState,
    Side,
    SideBusy,
    StartFailed,
    UnknownKey,
    UnknownProcess,
)
from agent.holder.protocol import Handover as HolderHandover
from agent.journal import Journal
from agent.manifest import Kind, Manifest, Run
from agent.paths import NodeFolders
from agent.protocol import ModuleKey
from agent.records import ReleaseRecord, SideRecord
from agent.releases import manifest_of
from agent.threads import finished

log = logging.getLogger(__name__)

HOLDER_ATTEMPTS = 10  # each waits for the next holder by itself


@dataclass(frozen=True, slots=True)
class Tag:
    """What the holder keeps beside a process for us: to which side record it belongs."""

    key: ModuleKey
    side: str
    operation_id: str

    def __str__(self) -> str:
        return json.dumps([*self.key, self.side, self.operation_id])

    @classmethod
    def of(cls, record: SideRecord) -> Tag:
        """The tag of what a side record describes."""
        return cls(record.key, record.side, record.operation_id)

    @classmethod
    def parse(cls, text: str) -> Tag | None:
        """None for what is no tag of ours."""
        try:
            tenant, module, side, operation_id = json.loads(text)
        except (ValueError, TypeError):
            return None
        return cls(ModuleKey(str(tenant), str(module)), str(side), str(operation_id))


class Processes:
    """The holder as the rest of the agent sees it."""

    def __init__(self, config: AgentConfig, journal: Journal, folders: NodeFolders, holder: HolderClient) -> None:
        self._config = config
        self._journal = journal
        self._folders = folders
        self.holder = holder
        self.addresses = Addresses(config, journal, holder)

    def program(self, key: ModuleKey, release: ReleaseRecord) -> Program:
        """A release with its manifest. Raises `OperationFailed` if it is damaged."""
        folder = self._folders.module(key)
        return Program(key, release, manifest_of(folder.release(release.version, release.digest)), folder)

    def known_program(self, key: ModuleKey, release: ReleaseRecord) -> Program:
        """The same for what is to be ended only: if its folder is damaged, with a manifest of defaults."""
        try:
            return self.program(key, release)
        except OperationFailed as error:
            log.error("%s: %s", key, error.message)
            manifest = Manifest(name=key.module, version=release.version, kind=Kind.PROCESS)
            return Program(key, release, manifest, self._folders.module(key))

    # -- processes --------------------------------------------------------------------------------------------

    async def start(self, program: Program, record: SideRecord, endpoints: Sequence[Endpoint]) -> ProcessState:
        """Start a release on a side, once. Raises `OperationFailed` (exited), `SideBusy`.

        What is returned may have ended already. A holder that dies over the request may have started it all the same:
        whatever its successor knows under this tag and was not there before is that one, running or not.
        """
        before = await self._tagged(record)
        running = next((process for process in before if process.running), None)
        if running is not None:
            return running
        known = {process.identity for process in before}
        spec = self._spec(program, record, endpoints)
        for _ in range(HOLDER_ATTEMPTS):
            started = False
            try:
                await finished(self.holder.spawn(spec))
                started = True
            except HolderLost:
                log.warning("%s: the holder died while it was to start it", record.key)
            except (StartFailed, BadRequest) as error:
                raise OperationFailed(FailureCode.EXITED, f"it could not be started: {error}") from error
            fresh = [process for process in await self._tagged(record) if process.identity not in known]
            if fresh:
                return fresh[-1]
            if started:
                raise OperationFailed(FailureCode.EXITED, "it ended at once, and the holder that started it as well")
        raise OperationFailed(FailureCode.INTERNAL, "the holder died again and again while a module was started")

    def _spec(self, program: Program, record: SideRecord, endpoints: Sequence[Endpoint]) -> ProcessSpec:
        run = program.manifest.run
        assert run is not None
        environment = module_environment(self._config, program.manifest, program.release, program.folder)
        keys = [endpoint.key for endpoint in endpoints if endpoint.key is not None]
        if endpoints and not keys:
            environment["PORT"] = str(endpoints[0].address.port)
        memory = program.manifest.resources.memory_mb
        return ProcessSpec(
            name=f"{program.manifest.name} {program.release.version}",
            command=run.command,
            cwd=program.folder.release(program.release.version, program.release.digest),
            environment=environment,
            log_file=program.folder.log / f"{record.side}.log",
            keys=keys,
            side=Side(record.side) if keys else None,
            handover=HolderHandover(program.handover.value) if keys else HolderHandover.NONE,
            user=self._user(run, program),
            limits=Limits(memory_bytes=memory * 1024**2 if memory is not None else None),
            log_bytes=self._config.limits.log_bytes,
            tag=str(Tag.of(record)),
        )

    def _user(self, run: Run, program: Program) -> str | None:
        """The user to become, where the agent may; its data folder becomes that user's."""
        if run.user is None or self._config.map_listen or os.geteuid() != 0:
            return None
        try:
            shutil.chown(program.folder.data, run.user)
        except LookupError as error:
            raise OperationFailed(FailureCode.EXITED, f"run.user: this machine knows no {run.user!r}") from error
        return run.user

    async def find(self, record: SideRecord) -> ProcessState | None:
        """The running process of a side record, None if there is none."""
        return next((process for process in await self._tagged(record) if process.running), None)

    async def _tagged(self, record: SideRecord) -> list[ProcessState]:
        """What the holder knows of a side record, ended ones included. Raises `HolderLost` if it dies each time."""
        tag = str(Tag.of(record))
        for _ in range(HOLDER_ATTEMPTS - 1):
            with contextlib.suppress(HolderLost):
                return self._of(tag, await self.holder.state())
        return self._of(tag, await self.holder.state())

    @staticmethod
    def _of(tag: str, state: HolderState) -> list[ProcessState]:
        return [process for process in state.processes if process.tag == tag]

    async def steer(self, endpoints: Sequence[Endpoint], side: str) -> None:
        """Send new users to a side."""
        for key in [endpoint.key for endpoint in endpoints if endpoint.key is not None]:
            await self.holder.steer(key, Side(side))

    async def retire(self, process: ProcessState, drain: float) -> None:
        """End what is on an idle side without failing a user. Returns at once; one that has ended is fine."""
        try:
            if process.keys:
                await self.holder.retire(process.identity, drain_timeout=drain)
            else:
                await self.holder.stop(process.identity, drain_timeout=drain)
        except (UnknownProcess, SideBusy):
            await self.stop(process.identity, drain)

    async def stop(self, identity: ProcessIdentity, drain: float) -> None:
        """End a process now: SIGTERM, SIGKILL after `drain` seconds. Returns at once; one that has ended is fine."""
        try:
            await self.holder.stop(identity, drain_timeout=drain)
        except UnknownProcess:
            return

    async def ended(self, identity: ProcessIdentity) -> ProcessExited:
        """Wait for a process's end; one that the holder does not know has ended, nobody knows how."""
        try:
            return await self.holder.wait(identity)
        except UnknownProcess:
            return ProcessExited(identity, None, False)

    async def gone(self, identity: ProcessIdentity) -> None:
        """Wait for a process's end and let the holder forget it."""
        await self.ended(identity)
        with contextlib.suppress(UnknownProcess, SideBusy):
            await self.holder.forget(identity)

    async def release(self, keys: Sequence[str]) -> None:
        """Close addresses that nothing uses any more; one that is still in use stays."""
        for key in keys:
            try:
                await self.holder.release(key)
            except (SideBusy, UnknownKey):
                continue
