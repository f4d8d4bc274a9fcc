"""The classic BPF program that gives each new connection of an address to one listener of its SO_REUSEPORT group.

A program attached with SO_ATTACH_REUSEPORT_CBPF (socket(7); needs no privilege) runs for every SYN and returns an index
into the group, counted in the order of joining. Loads relative to SKF_NET_OFF read the IP header. See
`net/core/sock_reuseport.c`: an index beyond the group falls back to the hash over all members, and when a member
leaves, the last one takes its index.
"""

from __future__ import annotations

import array
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

PROBE_HOST = "127.83.0.1"  # comes to the idle side
USER_HOST = "127.83.0.2"  # ours too, but treated as any user: it proves the active side
OURS = ipaddress.ip_network("127.83.0.0/16")

_SO_ATTACH_REUSEPORT_CBPF = 51
_NET = -0x100000 & 0xFFFFFFFF  # SKF_NET_OFF
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _SHIFT_RIGHT, _JUMP_EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x74, 0x15, 0x06
_TCP = 6

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


@dataclass(frozen=True, slots=True)
class PortRoute:
    """How an IPv6-only address tells a probe: this source address and one of these source ports, kept bound."""

    host: str
    ports: tuple[int, ...]


def program(active: int, idle: int, route: PortRoute | None = None) -> list[Instruction]:
    """Index `idle` for what comes from PROBE_HOST (IPv4) or over `route` (IPv6), `active` for everything else."""
    # Each test is (load, operand, expected values); all have to hold, the last one goes to `idle`.
    ipv4 = [(_LOAD_WORD, _NET + 12, (int(ipaddress.IPv4Address(PROBE_HOST)),))]
    ipv6: list[tuple[int, int, tuple[int, ...]]] = []
    if route is not None:
        words = struct.unpack("!4I", ipaddress.IPv6Address(route.host).packed)
        ipv6.append((_LOAD_BYTE, _NET + 6, (_TCP,)))  # no extension header, so the ports follow the fixed header
        ipv6.extend((_LOAD_WORD, _NET + 8 + 4 * i, (word,)) for i, word in enumerate(words))
        ipv6.append((_LOAD_HALF, _NET + 40, route.ports))
    tests_of_4 = _tests(ipv4, active, idle)
    return [
        (_LOAD_BYTE, 0, 0, _NET),  # the version comes first: `::` also gets IPv4 packets
        (_SHIFT_RIGHT, 0, 0, 4),
        (_JUMP_EQUAL, 0, len(tests_of_4), 4),
        *tests_of_4,
        *_tests(ipv6, active, idle),
    ]


def _tests(tests: Sequence[tuple[int, int, tuple[int, ...]]], active: int, idle: int) -> list[Instruction]:
    """Straight code ending in `return idle; return active`, or only the latter without tests."""
    if not tests:
        return [(_RETURN, 0, 0, active)]
    length = sum(1 + len(values) for _, _, values in tests)  # up to `return idle`
    code: list[Instruction] = []
    for load, operand, values in tests:
        code.append((load, 0, 0, operand & 0xFFFFFFFF))
        for i, value in enumerate(values):
            last = i == len(values) - 1
            passed = len(values) - 1 - i  # jumps over the other values of this test
            failed = length - len(code) if last else 0
            code.append((_JUMP_EQUAL, passed, failed, value))
    return [*code, (_RETURN, 0, 0, idle), (_RETURN, 0, 0, active)]


def attach(member: socket.socket, code: Sequence[Instruction]) -> None:
    """Replaces the program of the member's group, atomically. Raises OSError."""
    buffer = array.array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in code))
    address, _ = buffer.buffer_info()  # struct sock_fprog holds a pointer; the kernel copies before we return
    member.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("HxxxxxxP", len(code), address))


class Order:
    """The kernel's order of a group's members, followed by its rule."""

    def __init__(self, members: Sequence[int] = ()) -> None:
        self.members = list(members)

    def join(self, member: int) -> None:
        self.members.append(member)

    def leave(self, member: int) -> None:
        """The last one takes the place of the one that leaves (`__reuseport_detach_sock`)."""
        place = self.members.index(member)
        last = self.members.pop()
        if place < len(self.members):
            self.members[place] = last

    def index(self, member: int) -> int:
        """Raises ValueError for one that is no member."""
        return self.members.index(member)
