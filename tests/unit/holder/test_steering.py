"""The program, run by a small interpreter over packets as they are at SYN time; the order of a group by the kernel's
rule."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.holder.steering import PROBE_HOST, Instruction, Order, PortRoute, program

ACTIVE, IDLE = 5, 7
ROUTE = PortRoute("fd00::2", (40_001, 40_002))


def run(code: list[Instruction], packet: bytes) -> int:
    """Classic BPF as far as the program uses it; loads are from the network header (SKF_NET_OFF)."""
    accumulator, at = 0, 0
    while True:
        op, jump_true, jump_false, k = code[at]
        at += 1
        offset = (k + 0x100000) & 0xFFFFFFFF
        if op == 0x30:
            accumulator = packet[offset]
        elif op == 0x28:
            accumulator = struct.unpack_from("!H", packet, offset)[0]
        elif op == 0x20:
            accumulator = struct.unpack_from("!I", packet, offset)[0]
        elif op == 0x74:
            accumulator >>= k
        elif op == 0x15:
            at += jump_true if accumulator == k else jump_false
        elif op == 0x06:
            return k
        else:
            raise AssertionError(f"unknown instruction {op:#x}")


def ipv4(source: str, port: int = 1234) -> bytes:
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address("127.0.0.1").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 60, 0, 0, 64, 6, 0) + addresses + struct.pack("!HH", port, 80) + bytes(16)


def ipv6(source: str, port: int, next_header: int = 6) -> bytes:
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address("fd00::2").packed
    return struct.pack("!IHBB", 0x60012345, 40, next_header, 64) + addresses + struct.pack("!HH", port, 80) + bytes(16)


@pytest.mark.parametrize("route", [None, ROUTE])
@pytest.mark.parametrize(
    ("source", "goes_to"),
    [(PROBE_HOST, IDLE), ("127.83.0.2", ACTIVE), ("127.0.0.1", ACTIVE), ("1.0.83.127", ACTIVE), ("192.0.2.1", ACTIVE)],
)
def test_ipv4(source: str, goes_to: int, route: PortRoute | None) -> None:
    assert run(program(ACTIVE, IDLE, route), ipv4(source)) == goes_to


@pytest.mark.parametrize(
    ("packet", "goes_to"),
    [
        (ipv6("fd00::2", 40_001), IDLE),
        (ipv6("fd00::2", 40_002), IDLE),
        (ipv6("fd00::2", 40_003), ACTIVE),
        (ipv6("fd00::3", 40_001), ACTIVE),  # somebody else's port of the same number
        (ipv6("fd01::2", 40_001), ACTIVE),
        (ipv6("fd00::2", 40_001, next_header=44), ACTIVE),  # a fragment: what follows are no ports
    ],
)
def test_ipv6_with_a_route(packet: bytes, goes_to: int) -> None:
    assert run(program(ACTIVE, IDLE, ROUTE), packet) == goes_to


def test_ipv6_without_a_route_is_always_a_user() -> None:
    probe_like = ipv6(f"{PROBE_HOST.replace('127.83.0.1', '7f53:1::')}", 40_001)
    assert run(program(ACTIVE, IDLE), probe_like) == ACTIVE


@given(st.binary(min_size=64, max_size=64), st.booleans())
def test_any_packet_goes_to_one_of_the_two(packet: bytes, routed: bool) -> None:
    assert run(program(ACTIVE, IDLE, ROUTE if routed else None), packet) in (ACTIVE, IDLE)


def test_the_last_member_takes_the_place_of_one_that_leaves() -> None:
    order = Order([10, 11, 12])
    order.leave(10)
    assert order.members == [12, 11]
    order.join(13)
    order.leave(13)
    assert (order.members, order.index(12)) == ([12, 11], 0)
    with pytest.raises(ValueError, match="is not in list"):
        order.index(10)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_no_member_but_the_last_moves(steps: list[tuple[bool, int]]) -> None:
    order = Order()
    for join, member in steps:
        before = list(order.members)
        if join and member not in before:
            order.join(member)
            assert order.members[:-1] == before
        elif not join and member in before:
            order.leave(member)
            assert set(order.members) == set(before) - {member}
            moved = [m for m in order.members if order.index(m) != before.index(m)]
            assert moved in ([], [before[-1]])
