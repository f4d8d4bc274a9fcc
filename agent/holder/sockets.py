"""Listening sockets as the holder makes and restores them, and the connections that ask them who they are."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import struct
from contextlib import suppress

from agent.holder import marks
from agent.holder.protocol import Address, AddressUnavailable

BACKLOG = 4096  # cut to net.core.somaxconn
_ANSWER_MS = 250
_TCP_LISTEN = 10
_SO_DETACH_FILTER = 27
_SO_LINGER_OFF = struct.pack("ii", 0, 0)
_SO_LINGER_RESET = struct.pack("ii", 1, 0)
_NO_TIME = struct.pack("ll", 0, 0)


def family_of(host: str) -> socket.AddressFamily:
    """Raises AddressUnavailable for what is no numeric address."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise AddressUnavailable(f"{host!r} is no numeric address") from error
    return socket.AF_INET if version == 4 else socket.AF_INET6


def is_ipv6_only(host: str) -> bool:
    return ":" in host and host != "::"


def local_target(host: str) -> str:
    """Where somebody on this machine connects to reach a listener on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


def open_listener(address: Address, number: int) -> socket.socket:
    """A marked listener in the address's group; port 0 takes a free one. Raises AddressUnavailable."""
    sock = socket.socket(family_of(address.host), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(is_ipv6_only(address.host)))
        marks.mark(sock, number)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise AddressUnavailable(f"{address.host} port {address.port}: {os.strerror(error.errno or 0)}") from error
    return sock


def check_unused(address: Address) -> None:
    """Raises AddressUnavailable when anybody listens there: SO_REUSEPORT alone would join a stranger's group."""
    if address.port == 0:
        return
    sock = socket.socket(family_of(address.host), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(is_ipv6_only(address.host)))
        sock.bind((address.host, address.port))
        sock.listen(1)
    except OSError as error:
        reason = "in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise AddressUnavailable(f"{address.host} port {address.port}: {reason}") from error
    finally:
        sock.close()


def restore(sock: socket.socket, number: int) -> None:
    """Makes a listener as it was when made, whatever the process before did to the description all of us share."""
    os.set_blocking(sock.fileno(), True)
    sock.listen(BACKLOG)
    marks.mark(sock, number)
    for option in (socket.SO_KEEPALIVE, socket.SO_OOBINLINE):
        sock.setsockopt(socket.SOL_SOCKET, option, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SO_LINGER_OFF)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _NO_TIME)
    for option in (socket.TCP_DEFER_ACCEPT, socket.TCP_NODELAY):
        sock.setsockopt(socket.IPPROTO_TCP, option, 0)
    with suppress(OSError):  # ENOENT: no filter; EPERM: it was locked with SO_LOCK_FILTER, the proof will tell
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def is_listening(sock: socket.socket) -> bool:
    """False after anybody's `shutdown(2)` on it."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_LISTEN


def accept_queue(sock: socket.socket) -> int:
    """Connections that wait to be accepted: `tcpi_unacked` of a listener (tcp_get_info)."""
    return int(struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0])


def bound_address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def ask(source: tuple[str, int] | None, target: tuple[str, int]) -> int | None:
    """Connects, sends nothing, and tells the number of the listener that took it; None: no answer, or no number.

    The handshake is the kernel's, so this works whatever the process behind does, unless its accept queue is full.
    """
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            if source is not None:
                if source[1]:  # the same four-tuple again and again: leave no TIME_WAIT behind
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SO_LINGER_RESET)
                sock.bind(source)
            if sock.connect_ex(target) not in (0, errno.EINPROGRESS):
                return None
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            if not poll.poll(_ANSWER_MS) or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return None
            return marks.read(sock)
        except OSError:
            return None


def keep_port(host: str) -> socket.socket:
    """A socket bound to a free port, so that nobody's connection gets it as its source (IPv6). Raises OSError."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    return sock
