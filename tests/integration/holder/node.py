"""What an agent does with the holder, as far as these tests need it: start, probe, switch, retire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.holder import probe
from agent.holder.client import HolderClient
from agent.holder.protocol import (
    Address,
    Event,
    Handover,
    HolderReplaced,
    HolderState,
    ProbeSource,
    ProcessIdentity,
    ProcessSpec,
    Side,
    Spawned,
    UnknownProcess,
)
from tests.integration.holder.load import read_answer

SERVICE = Path(__file__).with_name("service.py")
KEY = "tenant/module/http"
DEADLINE = 20.0


class Node:
    """One folder with its holder, and one module in it."""

    def __init__(self, folder: Path, client: HolderClient) -> None:
        self.folder = folder
        self.client = client
        self.address = Address("", 0)
        self.events: list[Event] = []
        self.current: Spawned | None = None
        client.subscribe(self.events.append)

    @classmethod
    async def open(cls, folder: Path) -> Node:
        return cls(folder, await HolderClient.open(folder))

    async def listen(self, host: str = "127.0.0.1") -> Address:
        self.address = await self.client.listen(KEY, host, 0)
        return self.address

    @property
    def target(self) -> tuple[str, int]:
        host = "127.0.0.1" if self.address.host in ("0.0.0.0", "::") else self.address.host
        return host, self.address.port

    def spec(self, version: str, side: Side | None, *flags: str, handover: Handover = Handover.SOCKET) -> ProcessSpec:
        return ProcessSpec(
            name="module", command=[sys.executable, "-S", str(SERVICE), version, *flags], cwd=self.folder,
            environment={"PATH": os.defpath}, log_file=self.folder / "module.log",
            keys=[KEY] if side else [], side=side, handover=handover, tag=version,
        )  # fmt: skip

    async def start(self, version: str, *flags: str, handover: Handover = Handover.SOCKET) -> Spawned:
        """On the idle side."""
        return await self.client.spawn(self.spec(version, (await self.active()).other, *flags, handover=handover))

    async def active(self) -> Side:
        return (await self.state()).keys[KEY].active

    async def state(self) -> HolderState:
        return await self.client.state()

    async def probe(self, path: str = "/") -> tuple[int, str]:
        """One health check of the idle side. Raises OSError."""
        return await asyncio.to_thread(probe_once, await self.client.probe_source(KEY), path)

    async def healthy(self, version: str, *, deadline: float = DEADLINE) -> None:
        """Until the idle side answers as this version. An answer of another one is an error."""
        until = time.monotonic() + deadline
        while True:
            try:
                status, body = await self.probe()
                assert body == version, f"the probe of {version} was answered by {body}"
                if status == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < until, f"{version} never got healthy"
            await asyncio.sleep(0.02)

    async def switch(self) -> None:
        await self.client.steer(KEY, (await self.active()).other)

    async def deploy(self, version: str, *flags: str, quiet: float = 0.1, handover: Handover = Handover.SOCKET) -> None:
        """Start, check, switch, retire the old one."""
        new = await self.start(version, *flags, handover=handover)
        await self.healthy(version)
        await self.switch()
        if self.current is not None:
            await self.retire(self.current.identity, quiet)
        self.current = new

    async def retire(self, identity: ProcessIdentity, quiet: float) -> None:
        """Until it has ended, asking again when the holder was replaced."""
        ended = asyncio.create_task(self.client.wait(identity))
        while not ended.done():
            replaced = asyncio.get_running_loop().create_future()

            def note(event: Event, replaced: asyncio.Future[None] = replaced) -> None:
                if isinstance(event, HolderReplaced) and not replaced.done():
                    replaced.set_result(None)

            unsubscribe = self.client.subscribe(note)
            with contextlib.suppress(UnknownProcess):  # it ended while there was no holder
                await self.client.retire(identity, drain_timeout=10.0, quiet=quiet)
            await asyncio.wait({ended, replaced}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
            unsubscribe()
            assert ended.done() or replaced.done(), "it does not end"

    async def known(self, identity: ProcessIdentity) -> Spawned:
        """What `spawn` answered or would have answered for a process that runs."""
        its = next(p for p in (await self.state()).processes if p.identity == identity)
        return Spawned(its.identity, its.port, its.forwarder, its.limits_by)

    async def end(self) -> None:
        await self.client.shutdown(drain_timeout=3.0)


def probe_once(source: ProbeSource, path: str) -> tuple[int, str]:
    sock = probe.open_socket(source)
    try:
        sock.settimeout(5.0)
        sock.connect(probe.target(source))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return read_answer(sock)
    finally:
        sock.close()


def kill(identity: ProcessIdentity) -> None:
    """kill -9 and wait for the end."""
    pidfd = os.pidfd_open(identity.pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], DEADLINE)[0]
    finally:
        os.close(pidfd)


async def gone_process(identity: ProcessIdentity) -> bool:
    return not Path(f"/proc/{identity.pid}").exists()


async def eventually(what: Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    until = time.monotonic() + deadline
    while not await what():
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.02)


def run_with_node(folder: Path, story: Callable[[Node], Awaitable[None]]) -> None:
    """Runs the story with a fresh node and ends what it leaves."""

    async def play() -> None:
        node = await Node.open(folder)
        try:
            await story(node)
        finally:
            await node.end()

    asyncio.run(play())


def has_address(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return False
        return True
