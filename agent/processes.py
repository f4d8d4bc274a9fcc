"""Modules as processes of the holder: addresses, starting, finding again, ending.

Calls to the holder are repeated when it dies in the middle of them. All but the start are idempotent; a start is
looked for by its tag first, so that nothing is started twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent.config import AgentConfig
from agent.environment import module_environment
from agent.failures import FailureCode, OperationFailed
from agent.holder.client import HolderClient
from agent.holder.protocol import (
    Address,
    AddressUnavailable,
    BadRequest,
    HolderLost,
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
from agent.manifest import Handover, Listener, Manifest
from agent.paths import ModuleFolder, NodeFolders
from agent.protocol import ModuleKey
from agent.records import ReleaseRecord, SideRecord
from agent.releases import manifest_of

T = TypeVar("T")

HOLDER_ATTEMPTS = 10  # each waits for the next holder by itself
BIND_ATTEMPTS, BIND_PAUSE = 10, 0.2  # a kept port may be the source of somebody's passing connection
LOOPBACK = "127.0.0.1"


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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One bound address of a module. `key` is the holder's, None where the module binds it itself."""

    name: str
    address: Address
    key: str | None

    @property
    def connect_to(self) -> tuple[str, int]:
        """From this machine."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.address.host, self.address.host)
        return host, self.address.port

    def url(self, advertise: str) -> str:
        """As it is told to others."""
        host = advertise if self.address.host in ("0.0.0.0", "::") else self.address.host
        return f"http://[{host}]:{self.address.port}" if ":" in host else f"http://{host}:{self.address.port}"


@dataclass(frozen=True, slots=True)
class Program:
    """A process release on disk, ready to be started."""

    key: ModuleKey
    release: ReleaseRecord
    manifest: Manifest
    folder: ModuleFolder

    @property
    def handover(self) -> Handover:
        """How it gets its users; without `listen` that only says whether two may run at once."""
        return self.manifest.run.handover if self.manifest.run is not None else Handover.SOCKET


class Processes:
    """The holder as the rest of the agent sees it."""

    def __init__(self, config: AgentConfig, journal: Journal, folders: NodeFolders, holder: HolderClient) -> None:
        self._config = config
        self._journal = journal
        self._folders = folders
        self.holder = holder

    def program(self, key: ModuleKey, release: ReleaseRecord) -> Program:
        """A release with its manifest. Raises `OperationFailed` if it is damaged."""
        folder = self._folders.module(key)
        return Program(key, release, manifest_of(folder.release(release.version, release.digest)), folder)

    # -- addresses --------------------------------------------------------------------------------------------

    def endpoints(self, program: Program) -> list[Endpoint]:
        """The addresses of a release, as far as they were bound before."""
        kept = self._journal.addresses(program.key)
        found = [(listener, kept.get(listener.name)) for listener in program.manifest.listeners]
        return [
            self._endpoint(program, listener, _parse(bound[1]))
            for listener, bound in found
            if bound is not None and (self._config.map_listen or bound[0] == str(listener.address))
        ]

    def _endpoint(self, program: Program, listener: Listener, address: Address) -> Endpoint:
        if program.handover is Handover.NONE:
            return Endpoint(listener.name, address, None)
        return Endpoint(listener.name, address, self._holder_key(program.key, listener))

    def _holder_key(self, key: ModuleKey, listener: Listener) -> str:
        """Where any port will do, the key stays when the port changes; else every address has a key of its own."""
        asked = "any" if self._wants_any(listener) else str(listener.address)
        return f"{key.tenant}/{key.module}/{asked}/{listener.name}"

    def _wants_any(self, listener: Listener) -> bool:
        return self._config.map_listen or listener.address.port == 0

    async def listen(self, program: Program) -> list[Endpoint]:
        """Bind what a release asks for, at the addresses it had before. Raises `OperationFailed` (internal)."""
        return [await self._listen(program, listener) for listener in program.manifest.listeners]

    async def _listen(self, program: Program, listener: Listener) -> Endpoint:
        wanted = self._wanted(program.key, listener)
        if program.handover is Handover.NONE:
            address = wanted if wanted.port else Address(wanted.host, _free_port(wanted.host))
        else:
            address = await self._bind(program.key, listener, wanted)
        self._keep(program.key, listener, address)
        return self._endpoint(program, listener, address)

    async def _bind(self, key: ModuleKey, listener: Listener, wanted: Address) -> Address:
        holder_key = self._holder_key(key, listener)
        for _ in range(BIND_ATTEMPTS):
            try:
                return await self.repeated(lambda: self.holder.listen(holder_key, wanted.host, wanted.port))
            except AddressUnavailable as error:
                problem = error
                await asyncio.sleep(BIND_PAUSE)
        if not self._wants_any(listener):
            raise OperationFailed(FailureCode.INTERNAL, f"cannot listen on {_text(wanted)}: {problem}")
        # Somebody took the port while nothing of ours ran; any other is better than none.
        return await self.repeated(lambda: self.holder.listen(holder_key, wanted.host, 0))

    def _wanted(self, key: ModuleKey, listener: Listener) -> Address:
        kept = self._journal.addresses(key).get(listener.name)
        if kept is not None and (self._config.map_listen or kept[0] == str(listener.address)):
            return _parse(kept[1])
        if self._config.map_listen:
            return Address(LOOPBACK, 0)
        return Address(listener.address.host, listener.address.port)

    def _keep(self, key: ModuleKey, listener: Listener, address: Address) -> None:
        said = (str(listener.address), _text(address))
        if self._journal.addresses(key).get(listener.name) != said:
            self._journal.put_address(key, listener.name, *said)

    # -- processes --------------------------------------------------------------------------------------------

    async def start(self, program: Program, record: SideRecord, endpoints: Sequence[Endpoint]) -> ProcessState:
        """Start a release on a side, once. Raises `OperationFailed` (exited), `SideBusy`."""
        spec = self._spec(program, record, endpoints)
        for _ in range(HOLDER_ATTEMPTS):
            running = await self.find(record)
            if running is not None:
                return running
            try:
                await self.holder.spawn(spec)
            except HolderLost:
                continue
            except (StartFailed, BadRequest) as error:
                raise OperationFailed(FailureCode.EXITED, f"it could not be started: {error}") from error
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
            user=None if self._config.map_listen else run.user,
            limits=Limits(memory_bytes=memory * 1024**2 if memory is not None else None),
            log_bytes=self._config.limits.log_bytes,
            tag=str(Tag.of(record)),
        )

    async def find(self, record: SideRecord) -> ProcessState | None:
        """The running process of a side record, None if there is none."""
        tag = str(Tag.of(record))
        state = await self.repeated(self.holder.state)
        return next((process for process in state.processes if process.running and process.tag == tag), None)

    async def steer(self, endpoints: Sequence[Endpoint], side: str) -> None:
        """Send new users to a side."""
        for key in [endpoint.key for endpoint in endpoints if endpoint.key is not None]:
            await self.repeated(lambda key=key: self.holder.steer(key, Side(side)))  # type: ignore[misc]

    async def retire(self, process: ProcessState, drain: float) -> None:
        """End what is on an idle side without failing a user. Returns at once; one that has ended is fine."""
        try:
            if process.keys:
                await self.repeated(lambda: self.holder.retire(process.identity, drain_timeout=drain))
            else:
                await self.repeated(lambda: self.holder.stop(process.identity, drain_timeout=drain))
        except (UnknownProcess, SideBusy):
            await self.stop(process.identity, drain)

    async def stop(self, identity: ProcessIdentity, drain: float) -> None:
        """End a process now: SIGTERM, SIGKILL after `drain` seconds. Returns at once; one that has ended is fine."""
        try:
            await self.repeated(lambda: self.holder.stop(identity, drain_timeout=drain))
        except UnknownProcess:
            return

    async def ended(self, identity: ProcessIdentity) -> ProcessExited:
        """Wait for a process's end; one that the holder does not know has ended, nobody knows how."""
        try:
            return await self.repeated(lambda: self.holder.wait(identity))
        except UnknownProcess:
            return ProcessExited(identity, None, False)

    async def gone(self, identity: ProcessIdentity) -> None:
        """Wait for a process's end and let the holder forget it."""
        await self.ended(identity)
        with contextlib.suppress(UnknownProcess, SideBusy):
            await self.repeated(lambda: self.holder.forget(identity))

    async def release(self, keys: Sequence[str]) -> None:
        """Close addresses that nothing uses any more; one that is still in use stays."""
        for key in keys:
            try:
                await self.repeated(lambda key=key: self.holder.release(key))  # type: ignore[misc]
            except (SideBusy, UnknownKey):
                continue

    async def repeated(self, call: Callable[[], Awaitable[T]]) -> T:
        """An idempotent call to the holder, again with the next one if this one dies."""
        for _ in range(HOLDER_ATTEMPTS - 1):
            try:
                return await call()
            except HolderLost:
                await asyncio.sleep(0.05)
        return await call()


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _text(address: Address) -> str:
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _parse(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))
