"""Starting a process on a side: which listener it gets, and the forwarder of one that cannot take any."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from socket import socket

from agent.holder import limits, shim, sockets
from agent.holder.addresses import Addresses
from agent.holder.forwarders import Forwarder, Forwarders, free_port
from agent.holder.listeners import Listeners
from agent.holder.marker import Marker, Seat
from agent.holder.processes import Process, Processes
from agent.holder.protocol import (
    BadRequest,
    Handover,
    ProcessSpec,
    Side,
    SideBusy,
    SidePhase,
    Spawned,
    StartFailed,
)

_STARTABLE = (SidePhase.FREE, SidePhase.EXITED)


class Starts:
    """`phase` tells what a side is doing."""

    def __init__(
        self, folder: str, addresses: Addresses, processes: Processes, forwarders: Forwarders,
        phase: Callable[[str, Side], SidePhase],
    ) -> None:  # fmt: skip
        self._folder = folder
        self._addresses = addresses
        self._processes = processes
        self._forwarders = forwarders
        self._phase = phase

    def spawn(self, spec: ProcessSpec, done: Callable[[Spawned | StartFailed], None]) -> None:
        """See `HolderClient.spawn`; the outcome of the exec comes through `done`, what is wrong before is raised."""
        places = self._check(spec)
        account = shim.account_of(spec.user)
        for listeners, _ in places:
            self._addresses.prove(listeners)
        held = [(listeners, side, self._listener(listeners, side)) for listeners, side in places]
        port, forwarder = self._forward(spec, held)
        start = os.urandom(16).hex()
        bounds = limits.bounds(f"hotswap-{start}", spec.limits)
        marker = Marker(
            self._folder, start, 0, spec.name, spec.tag,
            tuple(Seat(its.key, its.address, its.sides[side]) for its, side, _ in held),
            spec.side, spec.handover, spec.log_file, spec.log_bytes, bounds.by, bounds.folders, port,
            forwarder.identity if forwarder else None,
        )  # fmt: skip

        def started(result: Process | StartFailed) -> None:
            if isinstance(result, Process):
                done(Spawned(result.identity, port, result.forwarder, bounds.by))
                return
            if forwarder is not None:
                self._forwarders.end(forwarder)
            for listeners, _ in places:
                self._addresses.refresh(listeners.key)
            done(result)

        inherited = [sock.fileno() for _, _, sock in held] if spec.handover is Handover.SOCKET else []
        try:
            process = self._processes.start(spec, marker, inherited, bounds, account, started)
        except StartFailed:
            bounds.remove()
            raise
        self._forget_ended(process)
        for listeners, _ in places:
            self._addresses.changed(listeners)

    def _check(self, spec: ProcessSpec) -> Sequence[tuple[Listeners, Side]]:
        if not spec.command:
            raise BadRequest("the command is empty")
        if len(set(spec.keys)) != len(spec.keys):
            raise BadRequest("an address is named twice")
        if spec.handover is Handover.PORT and len(spec.keys) != 1:
            raise BadRequest("handover 'port' takes exactly one address")
        if not spec.keys:
            return []
        if spec.side is None:
            raise BadRequest("a process with an address needs a side")
        places = [(self._addresses.get(key), spec.side) for key in spec.keys]
        for key in spec.keys:
            if self._phase(key, spec.side) not in _STARTABLE:
                raise SideBusy(f"a process still runs on side {spec.side} of {key}")
        return places

    def _listener(self, listeners: Listeners, side: Side) -> socket:
        """On the idle side one on which no user can turn up; on the active one that on which the users wait."""
        if side is not listeners.active:
            before = self._processes.on(listeners.key, side)
            member = listeners.for_start(side, shared=before is not None and before.has_left_something)
        else:
            member = listeners.member(side)
            if member.sock is not None:
                sockets.restore(member.sock, member.number)
        if member.sock is None:
            raise StartFailed(f"the listener of {listeners.key} could not be got back")
        return member.sock

    def _forward(
        self, spec: ProcessSpec, held: Sequence[tuple[Listeners, Side, socket]]
    ) -> tuple[int | None, Forwarder | None]:
        """The port of a module that listens itself, and the forwarder before it. A restart on the active side finds
        both again, and the users that wait in the forwarder with them."""
        reused = None
        for listeners, side, _ in held:
            before = self._forwarders.on(listeners.key, side)
            if before is not None and spec.handover is Handover.PORT and side is listeners.active:
                reused = before
            elif before is not None:
                self._forwarders.end(before)
        if spec.handover is not Handover.PORT:
            return None, None
        listeners, side, sock = held[0]
        if reused is not None:
            os.set_blocking(sock.fileno(), False)
            return reused.port, reused
        its = self._forwarders.start(listeners.key, side, sock, free_port())
        return its.port, its

    def _forget_ended(self, process: Process) -> None:
        """The side has a new process; the one before is history."""
        for other in self._processes.all():
            if other.running or other is process or process.marker.side is None:
                continue
            if any(other.sits_on(seat.key, process.marker.side) for seat in process.marker.seats):
                self._processes.forget(other)
