"""What the kernel knows of a local TCP port beyond our descriptors, by sock_diag(7).

Not /proc/net/tcp: with the TIME_WAITs of a busy port it takes a second to read.
"""

from __future__ import annotations

import socket
import struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTENING = 1 << 10
_HALF_OPEN = 1 << 3  # SYN_RECV; stands for request sockets (NEW_SYN_RECV) too
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_RECEIVE_QUEUE = 4 + 48 + 4  # in inet_diag_msg; the accept queue's length in state LISTEN
_PEER = slice(6, 40)  # in inet_diag_msg: its port, our address, its address
_TIMEOUT = 1.0


def waiting_on_port(port: int) -> int:
    """Connections in the accept queues of its listeners, over all local addresses. 0 without an answer."""
    return sum(struct.unpack_from("=I", entry, _RECEIVE_QUEUE)[0] for entry in _ask(port, _LISTENING))


def half_open(port: int) -> frozenset[bytes]:
    """The peers whose handshake with any of its listeners has begun and not ended. Empty without an answer."""
    return frozenset(entry[_PEER] for entry in _ask(port, _HALF_OPEN))


def _ask(port: int, states: int) -> list[bytes]:
    """The `inet_diag_msg` of each such socket."""
    try:
        return [entry for family in (socket.AF_INET, socket.AF_INET6) for entry in _dump(family, port, states)]
    except OSError:
        return []


def _dump(family: int, port: int, states: int) -> list[bytes]:
    id_ = struct.pack(">HH", port, 0) + bytes(44)
    request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, states) + id_
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    entries: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(_TIMEOUT)
        sock.send(header + request)
        while True:
            data = sock.recv(65536)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return entries
                entries.append(data[_HEADER.size : length])
                data = data[(length + 3) & ~3 :]
