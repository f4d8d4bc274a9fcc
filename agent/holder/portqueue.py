"""How many connections wait on a listener that we hold no descriptor of, by sock_diag(7).

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
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_RECEIVE_QUEUE = _HEADER.size + 4 + 48 + 4  # of inet_diag_msg; the accept queue's length in state LISTEN
_TIMEOUT = 1.0


def waiting_on_port(port: int) -> int:
    """Over all local addresses. 0 where the kernel gives no answer."""
    try:
        return sum(_ask(family, port) for family in (socket.AF_INET, socket.AF_INET6))
    except OSError:
        return 0


def _ask(family: int, port: int) -> int:
    id_ = struct.pack(">HH", port, 0) + bytes(44)
    request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _LISTENING) + id_
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    waiting = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(_TIMEOUT)
        sock.send(header + request)
        while True:
            data = sock.recv(65536)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return waiting
                waiting += struct.unpack_from("=I", data, _RECEIVE_QUEUE)[0]
                data = data[(length + 3) & ~3 :]
