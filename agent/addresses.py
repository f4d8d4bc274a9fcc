"""A module's addresses: what its manifest asks for, what is bound for it, and that it stays the same."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from agent.config import AgentConfig
from agent.failures import FailureCode, OperationFailed
from agent.holder.client import HolderClient
from agent.holder.protocol import Address, AddressUnavailable
from agent.journal import Journal
from agent.manifest import Handover, Listener, Manifest
from agent.paths import ModuleFolder
from agent.protocol import ModuleKey
from agent.records import ReleaseRecord

BIND_ATTEMPTS, BIND_PAUSE = 10, 0.2  # a kept port may be the source of somebody's passing connection
LOOPBACK = "127.0.0.1"


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


class Addresses:
    """Binds addresses through the holder and keeps them in the journal."""

    def __init__(self, config: AgentConfig, journal: Journal, holder: HolderClient) -> None:
        self._config = config
        self._journal = journal
        self._holder = holder

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
                return await self._holder.listen(holder_key, wanted.host, wanted.port)
            except AddressUnavailable as error:
                problem = error
                await asyncio.sleep(BIND_PAUSE)
        if not self._wants_any(listener):
            raise OperationFailed(FailureCode.INTERNAL, f"cannot listen on {_text(wanted)}: {problem}")
        # Somebody took the port while nothing of ours ran; any other is better than none.
        return await self._holder.listen(holder_key, wanted.host, 0)

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
