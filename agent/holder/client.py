"""The agent's side of the holder: an asyncio client that starts a holder where none answers, keeps duplicates of all
listeners, and gives them back to a holder that had to be started again."""

from __future__ import annotations

import signal as signals
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.holder.protocol import (
    DEFAULT_QUIET_SECONDS,
    Address,
    Event,
    HolderState,
    ProbeSource,
    ProcessExited,
    ProcessIdentity,
    ProcessSpec,
    Proof,
    Side,
    Spawned,
)

HolderStarter = Callable[[Path], Awaitable[None]]


class HolderClient:
    """One connection to the holder of a folder.

    When the holder dies the client starts the next one, hands it the listeners and then tells subscribers
    `HolderReplaced`; calls that were under way raise `HolderLost`, calls made meanwhile wait for the new holder.
    Every call may raise `HolderLost`, `HolderStopped` and what is named with it.
    """

    @classmethod
    async def open(cls, folder: Path, *, start: HolderStarter | None = None, timeout: float = 15.0) -> HolderClient:
        """Connects to the holder of `folder`, starting one where none answers, and learns its listeners.

        `start` makes a holder for the folder (default: `python -m agent.holder --folder F` in a session of its own); it
        returns when the process is on its way. Raises HolderLost when none answers within `timeout` seconds.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Leaves; holder and modules go on."""
        raise NotImplementedError

    def subscribe(self, receive: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `receive` in the event loop for every event from now on; returns the function that ends it."""
        raise NotImplementedError

    @property
    def holder(self) -> ProcessIdentity:
        """The holder that is (or was last) connected."""
        raise NotImplementedError

    async def state(self) -> HolderState:
        """All keys, sides and processes."""
        raise NotImplementedError

    async def listen(self, key: str, host: str, port: int) -> Address:
        """Makes the address with both sides (side A active), or answers the existing one of that key.

        `host` is numeric: IPv4, IPv6 (`::` takes IPv4 too, other IPv6 addresses are IPv6-only) or a wildcard; port 0
        takes a free one. Raises AddressUnavailable; also when the key exists with another host or another port.
        """
        raise NotImplementedError

    async def release(self, key: str) -> None:
        """Closes the address; a key that does not exist is fine. Raises SideBusy while a process runs on it."""
        raise NotImplementedError

    async def spawn(self, spec: ProcessSpec) -> Spawned:
        """Starts the process; returns after its exec. On the idle side it gets listeners on which no user waits; on the
        active side (a restart) those with the waiting users. Raises StartFailed, SideBusy, UnknownKey."""
        raise NotImplementedError

    async def signal(self, identity: ProcessIdentity, signal: signals.Signals, *, group: bool = False) -> None:
        """Sends to the process, through its pidfd, or to its whole process group (while the process lives).
        Raises UnknownProcess when it has ended."""
        raise NotImplementedError

    async def wait(self, identity: ProcessIdentity) -> ProcessExited:
        """Returns when the process has ended (at once where it has), also over replacements of the holder.
        Raises UnknownProcess for one the holder has never known or has forgotten."""
        raise NotImplementedError

    async def forget(self, identity: ProcessIdentity) -> None:
        """Drops an ended process from `state()`. Unknown ones are fine. Raises SideBusy while it runs."""
        raise NotImplementedError

    async def prove(self, key: str) -> Proof:
        """Connects to each side and to both paths and compares with what should be; repairs. The holder does the same
        by itself before every start and switch and after every exit. Raises UnknownKey."""
        raise NotImplementedError

    async def steer(self, key: str, side: Side) -> Proof:
        """Makes `side` the active one: one setsockopt. Idempotent. Raises UnknownKey."""
        raise NotImplementedError

    async def accept_queue(self, key: str, side: Side) -> int:
        """Connections that wait on the side. Raises UnknownKey."""
        raise NotImplementedError

    async def probe_source(self, key: str) -> ProbeSource:
        """How to reach the idle side; see `agent.holder.probe`. Raises UnknownKey."""
        raise NotImplementedError

    async def retire(
        self, identity: ProcessIdentity, *, drain_timeout: float, quiet: float = DEFAULT_QUIET_SECONDS
    ) -> None:
        """Ends a process on the idle side without failing a user; returns at once, the end is a `ProcessExited`.

        When nothing has arrived on its side for `quiet` seconds without a break: SIGTERM; `drain_timeout` seconds later
        SIGKILL to what is left of its group. Goes on without the agent; ask again after `HolderReplaced` (again is
        always fine, the drain timeout of the first call counts). Raises SideBusy when its side is active,
        UnknownProcess.
        """
        raise NotImplementedError

    async def stop(self, identity: ProcessIdentity, *, drain_timeout: float) -> None:
        """SIGTERM now, SIGKILL to the group after `drain_timeout`: for a process without sockets, a candidate that no
        user ever reached, or a module that is to be absent. Returns at once. Raises UnknownProcess."""
        raise NotImplementedError

    async def shutdown(self, *, drain_timeout: float) -> None:
        """Ends every process (as `stop`), closes all addresses, ends the holder; returns when it has ended."""
        raise NotImplementedError
