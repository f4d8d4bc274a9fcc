"""The agent's side of the holder: an asyncio client that starts a holder where none answers, keeps duplicates of all
listeners, and gives them back to a holder that had to be started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.holder import events, wire
from agent.holder import identity as identities
from agent.holder.link import Link
from agent.holder.protocol import (
    DEFAULT_QUIET_SECONDS,
    Address,
    Event,
    HolderLost,
    HolderReplaced,
    HolderState,
    HolderStopped,
    KeyState,
    LimitsBy,
    ProbeSource,
    ProcessExited,
    ProcessIdentity,
    ProcessSpec,
    ProcessState,
    Proof,
    Side,
    Spawned,
    UnknownKey,
    UnknownProcess,
)
from agent.holder.starter import HolderStarter as HolderStarter
from agent.holder.starter import start_holder

_ONCE = ("spawn", "signal", "shutdown")
_RETRY_SECONDS = 0.05
_START_AGAIN_SECONDS = 2.0


class HolderClient:
    """One connection to the holder of a folder.

    When the holder dies the client starts the next one, hands it the listeners and then tells subscribers
    `HolderReplaced`. Calls made meanwhile wait for the new holder, and those that were under way are made again; but
    `spawn`, `signal` and `shutdown`, which may have had their effect, raise `HolderLost`.
    Every call may raise `HolderLost`, `HolderStopped` and what is named with it.
    """

    def __init__(self, folder: Path, start: HolderStarter, timeout: float) -> None:
        self._folder = folder
        self._start = start
        self._timeout = timeout
        self._link: Link | None = None
        self._connected = asyncio.Event()
        self._closed = False
        self._stopping = False  # somebody has called `shutdown`
        self._holder: ProcessIdentity | None = None
        self._receivers: list[Callable[[Event], None]] = []
        self._exits: dict[ProcessIdentity, list[asyncio.Future[ProcessExited]]] = {}
        self._listeners: dict[str, tuple[dict[str, Any], list[int]]] = {}
        self._reconnecting: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, folder: Path, *, start: HolderStarter | None = None, timeout: float = 15.0
    ) -> HolderClient:
        """Connects to the holder of `folder`, starting one where none answers, and learns its listeners.

        `start` makes a holder for the folder (default: `python -m agent.holder --folder F` in a session of its own); it
        returns when the process is on its way. Raises HolderLost when none answers within `timeout` seconds.
        """
        client = cls(folder, start or start_holder, timeout)
        await client._connect()
        return client

    async def close(self) -> None:
        """Leaves; holder and modules go on."""
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reconnecting
        if self._link is not None:
            self._link.close()
        for _, fds in self._listeners.values():
            wire.close_all(fds)
        self._listeners.clear()
        self._fail_waiting()

    def subscribe(self, receive: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `receive` in the event loop for every event from now on; returns the function that ends it."""
        self._receivers.append(receive)
        return lambda: self._receivers.remove(receive)

    @property
    def holder(self) -> ProcessIdentity:
        """The holder that is (or was last) connected."""
        assert self._holder is not None
        return self._holder

    async def state(self) -> HolderState:
        """All keys, sides and processes."""
        data = await self._call("state")
        keys = [KeyState.from_wire(key) for key in data["keys"]]
        return HolderState(
            ProcessIdentity.parse(data["holder"]),
            {key.key: key for key in keys},
            tuple(ProcessState.from_wire(process) for process in data["processes"]),
            data["forwarding"],
        )

    async def listen(self, key: str, host: str, port: int) -> Address:
        """Makes the address with both sides (side A active), or answers the existing one of that key.

        `host` is numeric: IPv4, IPv6 (`::` takes IPv4 too, other IPv6 addresses are IPv6-only) or a wildcard; port 0
        takes a free one. Raises AddressUnavailable; also when the key exists with another host or another port.
        """
        return Address(*await self._call("listen", key=key, host=host, port=port))

    async def release(self, key: str) -> None:
        """Closes the address; a key that does not exist is fine. Raises SideBusy while a process runs on it."""
        await self._call("release", key=key)

    async def spawn(self, spec: ProcessSpec) -> Spawned:
        """Starts the process; returns after its exec. On the idle side it gets listeners on which no user waits; on the
        active side (a restart) those with the waiting users. Raises StartFailed, SideBusy, UnknownKey."""
        data = await self._call("spawn", spec=spec.to_wire())
        forwarder = ProcessIdentity.parse(data["forwarder"]) if data["forwarder"] else None
        return Spawned(ProcessIdentity.parse(data["identity"]), data["port"], forwarder, LimitsBy(data["limitsBy"]))

    async def signal(self, identity: ProcessIdentity, signal: signals.Signals, *, group: bool = False) -> None:
        """Sends to the process, through its pidfd, or to it and all it started (while it lives).
        Raises UnknownProcess when it has ended."""
        await self._call("signal", identity=str(identity), signal=int(signal), group=group)

    async def wait(self, identity: ProcessIdentity) -> ProcessExited:
        """Returns when the process has ended (at once where it has), also over replacements of the holder.
        Raises UnknownProcess for one the holder has never known or has forgotten."""
        future: asyncio.Future[ProcessExited] = asyncio.get_running_loop().create_future()
        self._exits.setdefault(identity, []).append(future)
        try:
            while not future.done():
                with contextlib.suppress(HolderLost):
                    process = next((p for p in (await self.state()).processes if p.identity == identity), None)
                    if process is None and not future.done():
                        raise UnknownProcess(f"no process {identity} is known to the holder")
                    if process is not None and not process.running:
                        return ProcessExited(identity, process.exit_code, process.retiring)
                    break
            return await future
        finally:
            waiting = self._exits.get(identity, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._exits.pop(identity, None)

    async def forget(self, identity: ProcessIdentity) -> None:
        """Drops an ended process from `state()`. Unknown ones are fine. Raises SideBusy while it runs."""
        await self._call("forget", identity=str(identity))

    async def prove(self, key: str) -> Proof:
        """Connects over both paths and compares who answers with what should be; repairs. The holder does the same by
        itself before every start and switch and after every exit. Raises UnknownKey."""
        return Proof(**await self._call("prove", key=key))

    async def steer(self, key: str, side: Side) -> Proof:
        """Makes `side` the active one: one setsockopt. Idempotent; a retirement there that has not sent SIGTERM yet is
        called off. Raises UnknownKey, SideBusy when the process there has had its SIGTERM."""
        return Proof(**await self._call("steer", key=key, side=side))

    async def accept_queue(self, key: str, side: Side) -> int:
        """Connections that wait on the side. Raises UnknownKey."""
        return (await self._key(key)).sides[side].accept_queue or 0

    async def probe_source(self, key: str) -> ProbeSource:
        """How to reach the idle side; see `agent.holder.probe`. Raises UnknownKey."""
        return (await self._key(key)).probe

    async def retire(
        self, identity: ProcessIdentity, *, drain_timeout: float, quiet: float = DEFAULT_QUIET_SECONDS
    ) -> None:
        """Ends a process on the idle side without failing a user; returns at once, the end is a `ProcessExited`.

        When nothing has arrived on its side for `quiet` seconds without a break: SIGTERM; `drain_timeout` seconds later
        SIGKILL to all that is left of it. Goes on without the agent; ask again after `HolderReplaced` (again is always
        fine, the drain timeout of the first call counts). Raises SideBusy when its side is active, UnknownProcess.
        """
        await self._call("retire", identity=str(identity), quiet=quiet, drainTimeout=drain_timeout)

    async def stop(self, identity: ProcessIdentity, *, drain_timeout: float) -> None:
        """SIGTERM now, SIGKILL to it and all it started after `drain_timeout`: for a process without sockets, a
        candidate that no user ever reached, or a module that is to be absent. Returns at once. Raises
        UnknownProcess."""
        await self._call("stop", identity=str(identity), drainTimeout=drain_timeout)

    async def shutdown(self, *, drain_timeout: float) -> None:
        """Ends every process (as `stop`), closes all addresses, ends the holder; returns when it has ended. This client
        and every other one of the folder is closed then: none starts the holder again."""
        pidfd = identities.open_pidfd(self.holder)
        self._closed = True
        try:
            await self._call("shutdown", drainTimeout=drain_timeout)
            if pidfd is not None:
                await _readable(pidfd)
        finally:
            if pidfd is not None:
                os.close(pidfd)
            await self.close()

    # --- the connection

    async def _key(self, key: str) -> KeyState:
        try:
            return (await self.state()).keys[key]
        except KeyError:
            raise UnknownKey(f"no address was made for {key!r}") from None

    async def _call(self, call: str, **arguments: Any) -> Any:
        while True:
            link = await self._live_link()
            try:
                return await link.call(call, arguments)
            except HolderLost:
                if call in _ONCE or self._closed:
                    raise
            link.close()

    async def _live_link(self) -> Link:
        """Raises HolderStopped when the client is closed, HolderLost when nothing answers for the timeout."""
        if self._link is not None and self._link.is_open:
            return self._link
        if self._closed:
            raise HolderStopped("the client is closed")
        try:
            await asyncio.wait_for(self._connected.wait(), self._timeout)
        except TimeoutError:
            raise HolderLost("no holder answers") from None
        assert self._link is not None
        return self._link

    async def _connect(self) -> None:
        """Until a holder answers and has the listeners. Raises HolderLost at the end of the timeout."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        start_at = loop.time()
        why = "it does not start"
        while loop.time() < deadline:
            link = Link(self._received, self._lost)
            try:
                hello = await link.open(self._folder, deadline - loop.time())
                if not hello["begun"]:
                    for snapshot, fds in self._listeners.values():
                        await link.call("restore", {"snapshot": snapshot}, fds)
                    await link.call("begin", {})
                if link.is_open:
                    self._link, self._holder = link, ProcessIdentity.parse(hello["hello"])
                    self._connected.set()
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                link.close()
                if loop.time() >= start_at:
                    start_at = loop.time() + _START_AGAIN_SECONDS
                    why = await self._try_to_start()
            except (OSError, HolderLost, TimeoutError) as error:
                link.close()
                why = str(error) or type(error).__name__
            await asyncio.sleep(_RETRY_SECONDS)
        raise HolderLost(f"no holder answers in {self._folder}: {why}")

    async def _try_to_start(self) -> str:
        """Why there is none yet."""
        try:
            await self._start(self._folder)
        except (OSError, HolderLost) as error:
            return str(error)
        return "it does not answer"

    def _lost(self, link: Link) -> None:
        if link is not self._link:
            return
        self._connected.clear()
        if self._stopping:
            self._closed = True
            self._fail_waiting()
        elif not self._closed:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        while True:
            with contextlib.suppress(HolderLost):
                await self._connect()
                running = {process.identity for process in (await self.state()).processes}
                for identity in set(self._exits) - running:  # it ended while nobody was its parent
                    self._deliver(ProcessExited(identity, None, False))
                self._deliver(HolderReplaced(self.holder))
                return

    def _received(self, message: dict[str, Any], fds: list[int]) -> None:
        """What is no answer to a call, from the link that is or is about to be the current one."""
        if "listeners" in message:
            self._keep(message["listeners"]["key"], message["listeners"], fds)
            return
        wire.close_all(fds)
        if "stopping" in message:
            self._stopping = True
        elif "released" in message:
            _, old = self._listeners.pop(message["released"], ({}, []))
            wire.close_all(old)
        elif "event" in message:
            event = events.from_wire(message)
            if event is not None:
                self._deliver(event)

    def _keep(self, key: str, snapshot: dict[str, Any], fds: list[int]) -> None:
        _, old = self._listeners.get(key, ({}, []))
        self._listeners[key] = (snapshot, fds)
        wire.close_all(old)

    def _deliver(self, event: Event) -> None:
        if isinstance(event, ProcessExited):
            for future in self._exits.pop(event.identity, []):
                if not future.done():
                    future.set_result(event)
        for receive in list(self._receivers):
            receive(event)

    def _fail_waiting(self) -> None:
        for futures in self._exits.values():
            for future in futures:
                if not future.done():
                    future.set_exception(HolderStopped("the client is closed"))


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
