"""What a new holder finds of the one before: its processes, through their markers, and the listeners, from the agent or
out of the processes themselves."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.holder import identity, marks, sockets, steering
from agent.holder.listeners import Listeners, Member
from agent.holder.marker import Marker
from agent.holder.protocol import Address, ProcessIdentity, Side
from agent.holder.snapshot import Snapshot
from agent.holder.steering import Order

_SYS_PIDFD_GETFD = 438  # the same on every architecture


@dataclass(slots=True)
class Remains:
    """What is left of one address. Listeners by number; None: a process holds it, but it cannot be got from there."""

    key: str
    address: Address
    sockets: dict[int, socket.socket | None]
    told: Snapshot | None
    seats: dict[Side, int]  # by what the running processes say


def gather(
    told: Mapping[str, tuple[Snapshot, Sequence[socket.socket]]], found: Sequence[tuple[ProcessIdentity, Marker]]
) -> list[Remains]:
    """Puts together what the agent gave and what the processes hold."""
    remains: dict[str, Remains] = {}
    for key, (snapshot, given) in told.items():
        its = remains[key] = Remains(key, snapshot.address, {}, snapshot, {})
        for number, listener in zip(snapshot.numbers, given, strict=True):
            if sockets.is_listening(listener):
                its.sockets[number] = listener
            else:
                listener.close()  # shut down while nobody watched
    for who, marker in found:
        for seat in marker.seats:
            its = remains.setdefault(seat.key, Remains(seat.key, seat.address, {}, None, {}))
            if marker.side is not None:
                its.seats[marker.side] = seat.member
            if seat.member not in its.sockets:
                there, sock = _take(marker.forwarder or who, seat.address, seat.member)
                if there:
                    its.sockets[seat.member] = sock
    return list(remains.values())


def _take(who: ProcessIdentity, address: Address, number: int) -> tuple[bool, socket.socket | None]:
    """(whether the process may still hold the listener, the listener). pidfd_getfd needs the right to trace: with
    Yama's default an ordinary user has it for descendants only (ptrace(2))."""
    pidfd = identity.open_pidfd(who)
    if pidfd is None:
        return False, None
    try:
        entries = list(Path(f"/proc/{who.pid}/fd").iterdir())
    except OSError:
        return True, None
    try:
        for entry in entries:
            try:
                if not str(entry.readlink()).startswith("socket:"):
                    continue
                fd = _pidfd_getfd(pidfd, int(entry.name))
            except PermissionError:
                return True, None
            except OSError:
                continue
            sock = socket.socket(fileno=fd)
            if _is(sock, address, number):
                return True, sock
            sock.close()
    finally:
        os.close(pidfd)
    return False, None


def _is(sock: socket.socket, address: Address, number: int) -> bool:
    try:
        return sockets.is_listening(sock) and sockets.bound_address(sock) == address and marks.read(sock) == number
    except OSError:
        return False


def _pidfd_getfd(pidfd: int, fd: int) -> int:
    """Raises OSError."""
    import ctypes  # costs memory, and is needed only after agent and holder have both died

    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def rebuild(its: Remains) -> Listeners:
    """An address as before; sides and guard that are missing join anew. Raises AddressUnavailable."""
    listeners = Listeners(its.key, its.address)
    now = time.monotonic()
    listeners.members = {number: Member(number, sock, now) for number, sock in its.sockets.items()}
    told_sides = its.told.sides if its.told else {}
    wanted = {**told_sides, **its.seats}
    listeners.sides = {side: number for side, number in wanted.items() if number in listeners.members}
    told_order = its.told.order if its.told else ()
    known = [number for number in told_order if number in listeners.members]
    listeners.order = Order([*known, *(n for n in sorted(listeners.members) if n not in known)])
    if its.told and its.told.guard in listeners.members and its.told.guard not in listeners.sides.values():
        listeners.guard = its.told.guard
    listeners.active = _active(its, listeners)
    listeners.readopt()
    return listeners


def _active(its: Remains, listeners: Listeners) -> Side:
    """Told by the agent, else whoever answers users now, else whoever has a process."""
    if its.told is not None:
        return its.told.active
    if listeners.members:
        number = sockets.ask((steering.USER_HOST, 0) if not sockets.is_ipv6_only(its.address.host) else None,
                             listeners.target)  # fmt: skip
        side = listeners.side_of(number) if number is not None else None
        if side is not None:
            return side
    return next(iter(its.seats), Side.A)
