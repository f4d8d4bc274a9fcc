"""The forwarder processes of modules that listen on a port of their own."""

from __future__ import annotations

import os
import select
import signal as signals
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.holder import forwarder, identity, shim
from agent.holder.loop import Loop, Timer, Watch
from agent.holder.protocol import ProcessIdentity, Side, StartFailed

_NAME = "hotswap-forwarder"
_STRAY_SECONDS = 0.5
_LOWEST_PORT = 10_240
_ATTEMPTS = 200
_LINGER_SECONDS = 5.0  # for its last bytes, after the end of its module


@dataclass(slots=True)
class Forwarder:
    """One forwarder and what it forwards."""

    identity: ProcessIdentity
    key: str
    side: Side
    port: int
    is_child: bool
    pidfd: int
    watch: Watch
    accepting: bool = True
    kill_timer: Timer | None = None


class Forwarders:
    """The table. `on_death(forwarder)` is called when one ends that nobody asked to."""

    def __init__(self, loop: Loop, on_death: Callable[[Forwarder], None]) -> None:
        self._loop = loop
        self._on_death = on_death
        self._table: dict[ProcessIdentity, Forwarder] = {}

    def on(self, key: str, side: Side) -> Forwarder | None:
        """The one that accepts on the side."""
        return next((f for f in self._table.values() if f.key == key and f.side is side and f.accepting), None)

    def start(self, key: str, side: Side, listener: socket.socket, port: int) -> Forwarder:
        """A forwarder on the side's listener. Raises StartFailed."""
        try:
            pid = os.fork()
        except OSError as error:
            raise StartFailed(f"fork of the forwarder: {os.strerror(error.errno or 0)}") from error
        if pid == 0:
            _become_forwarder(listener, port, key)
        who = identity.identity_of(pid)
        assert who is not None
        return self._take(who, key, side, port, is_child=True, pidfd=os.pidfd_open(pid))

    def adopt(self, who: ProcessIdentity, key: str, side: Side, port: int) -> Forwarder | None:
        """Takes over an earlier holder's; None when it has ended."""
        pidfd = identity.open_pidfd(who)
        return self._take(who, key, side, port, is_child=False, pidfd=pidfd) if pidfd is not None else None

    def _take(
        self, who: ProcessIdentity, key: str, side: Side, port: int, *, is_child: bool, pidfd: int
    ) -> Forwarder:
        watch = self._loop.watch(pidfd, select.EPOLLIN, lambda _: self._ended(who))
        its = self._table[who] = Forwarder(who, key, side, port, is_child, pidfd, watch)
        return its

    def _ended(self, who: ProcessIdentity) -> None:
        its = self._table.pop(who)
        its.watch.end()
        os.close(its.pidfd)
        if its.is_child:
            os.waitpid(who.pid, 0)
        if its.kill_timer is not None:
            its.kill_timer.cancel()
        if its.accepting:
            self._on_death(its)

    def stop_accepting(self, its: Forwarder) -> None:
        """What is connected goes on."""
        if its.accepting:
            its.accepting = False
            self._send(its, signals.SIGTERM)

    def end(self, its: Forwarder) -> None:
        """After the end of its module: stops accepting, and is killed when it does not end soon."""
        self.stop_accepting(its)
        if its.kill_timer is None:
            its.kill_timer = self._loop.later(_LINGER_SECONDS, lambda: self.kill(its))

    def kill(self, its: Forwarder) -> None:
        its.accepting = False
        self._send(its, signals.SIGKILL)

    def end_strays(self, log: Path) -> None:
        """Forwarders of an earlier holder that no process of ours names: they accept no more. Known by our log, which
        they have open."""
        for pid in identity.all_pids():
            who = identity.identity_of(pid)
            if who is None or who in self._table or identity.name_of(pid) != _NAME[:15]:
                continue
            try:
                if Path(f"/proc/{pid}/fd/1").readlink() != log:
                    continue
            except OSError:
                continue
            pidfd = identity.open_pidfd(who)
            if pidfd is not None:
                signals.pidfd_send_signal(pidfd, signals.SIGTERM)
                select.select([pidfd], [], [], _STRAY_SECONDS)  # without connections it ends at once
                os.close(pidfd)

    def get(self, who: ProcessIdentity | None) -> Forwarder | None:
        return self._table.get(who) if who is not None else None

    def all(self) -> list[Forwarder]:
        return list(self._table.values())

    @staticmethod
    def _send(its: Forwarder, signal: signals.Signals) -> None:
        try:
            signals.pidfd_send_signal(its.pidfd, signal)
        except ProcessLookupError:
            return


def _become_forwarder(listener: socket.socket, port: int, key: str) -> None:
    """In the child; never returns."""
    try:
        os.setsid()
        shim.reset_signals()
        own = shim.keep_only(listener.fileno())
        identity.name_this_process(f"{_NAME} {port} {key}")
        forwarder.run(socket.socket(fileno=own), port)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, outside the range from which the kernel gives source ports, so that
    no connection takes it before the module does. Raises StartFailed."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    highest = max(first - 1, _LOWEST_PORT + 1000)
    for _ in range(_ATTEMPTS):
        port = _LOWEST_PORT + int.from_bytes(os.urandom(4)) % (highest - _LOWEST_PORT)
        with socket.socket() as sock:
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise StartFailed("no free port for the module")
