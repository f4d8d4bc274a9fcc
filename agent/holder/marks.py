"""A number on each listener that a client of it can read: its maximum segment size.

TCP_MAXSEG set on a listener is what its SYN-ACK announces, so whoever connects over loopback learns which listener of
the group took the connection, whoever accepts it, and without a byte sent. Only paths whose MTU is above 26 KiB see a
difference, which is loopback, where larger segments than half the first window are not sent anyway.
"""

from __future__ import annotations

import socket

_FIRST = 31_000
_STEP = 16  # more than the 12 bytes that the timestamp option takes off on the client's side
COUNT = 256


def mark(sock: socket.socket, number: int) -> None:
    """`number` from 0 to COUNT - 1."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _FIRST - _STEP * number)


def read(sock: socket.socket) -> int | None:
    """The number of a marked listener, or of the one that a client socket is connected to; None where none can be
    told (a loopback with a small MTU, a listener that is not ours)."""
    size = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    number = (_FIRST - size) // _STEP
    return number if 0 <= number < COUNT else None
