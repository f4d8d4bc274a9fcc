"""The filter, run by an interpreter of classic BPF: what it lets through and what not, on both machines."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infrastructure.sandbox.cage.seccomp import (
    AARCH64,
    ALLOW,
    ANY_BIT,
    AT_LEAST,
    EQUAL,
    ERRNO,
    KILL,
    LOAD,
    RETURN,
    X86_64,
    Architecture,
    Instruction,
    build,
)
from app.infrastructure.sandbox.plan import Sockets

EPERM = ERRNO | errno.EPERM
ENOSYS = ERRNO | errno.ENOSYS
BOTH = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
PROTECTED = (4711, -4712)


def answer(program: list[Instruction], number: int, *arguments: int, audit: int) -> int:
    """What the kernel would answer to a system call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit, 0, *[value & 2**64 - 1 for value in padded])
    accumulator = position = 0
    while True:
        code, when, otherwise, operand = program[position]
        position += 1
        if code == LOAD:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif code == RETURN:
            return operand
        else:
            met = {
                EQUAL: accumulator == operand,
                AT_LEAST: accumulator >= operand,
                ANY_BIT: bool(accumulator & operand),
            }
            position += when if met[code] else otherwise


def _asked(machine: Architecture, name: str, *arguments: int, sockets: Sockets, shared_user: bool = False) -> int:
    program = build(machine, sockets, shared_user=shared_user, own_ipc=not shared_user, protected=PROTECTED)
    return answer(program, machine.numbers[name], *arguments, audit=machine.audit)


@BOTH
@given(number=st.integers(0, 2**32 - 1), audit=st.integers(0, 2**32 - 1), sockets=st.sampled_from(Sockets))
def test_every_call_is_answered_and_no_other_architecture_gets_through(
    machine: Architecture, number: int, audit: int, sockets: Sockets
) -> None:
    program = build(machine, sockets, shared_user=True, own_ipc=False, protected=PROTECTED)
    assert len(program) < 4096
    assert answer(program, number, audit=machine.audit) in (ALLOW, EPERM, ENOSYS, KILL)
    if audit != machine.audit:
        assert answer(program, number, audit=audit) == KILL


def test_the_x32_numbers_are_closed() -> None:
    program = build(X86_64, Sockets.ANY, shared_user=False, own_ipc=True, protected=())
    assert answer(program, 0x40000000 | 41, audit=X86_64.audit) == KILL


@BOTH
def test_jumps_stay_within_eight_bits(machine: Architecture) -> None:
    for sockets in Sockets:
        program = build(machine, sockets, shared_user=True, own_ipc=False, protected=PROTECTED)
        assert all(0 <= when < 256 and 0 <= otherwise < 256 for _, when, otherwise, _ in program)


@BOTH
@pytest.mark.parametrize(
    ("sockets", "allowed"),
    [
        (Sockets.ANY, {1, 2, 10, 16, 17, 38, 40}),
        (Sockets.LOCAL_AND_INTERNET, {1, 2, 10, 16}),
        (Sockets.NO_UNIX, {2, 10, 16}),
        (Sockets.ONLY_UNIX, {1}),
        (Sockets.PAIRS, set()),
    ],
)
def test_sockets(machine: Architecture, sockets: Sockets, allowed: set[int]) -> None:
    for family in (1, 2, 10, 16, 17, 38, 40):
        expected = ALLOW if family in allowed else EPERM
        assert _asked(machine, "socket", family, 1, 0, sockets=sockets) == expected
        # The kernel takes the low half for an int: the high half fools nobody.
        assert _asked(machine, "socket", (7 << 32) | family, 1, 0, sockets=sockets) == expected


@BOTH
@pytest.mark.parametrize(
    "name", ["io_uring_setup", "mount", "setns", "bpf", "keyctl", "semget", "msgget", "userfaultfd", "move_mount"]
)
def test_never(machine: Architecture, name: str) -> None:
    assert _asked(machine, name, sockets=Sockets.ANY) == EPERM


@BOTH
def test_no_namespaces_of_its_own(machine: Architecture) -> None:
    for name in ("clone", "unshare"):
        assert _asked(machine, name, 0x10000000, sockets=Sockets.ANY) == EPERM
        assert _asked(machine, name, 0x40000000 | 17, sockets=Sockets.ANY) == EPERM
    # A thread, as pthread_create makes one.
    assert _asked(machine, "clone", 0x3D0F00, sockets=Sockets.ANY) == ALLOW
    assert _asked(machine, "clone3", sockets=Sockets.ANY) == ENOSYS


@BOTH
def test_no_set_user_id(machine: Architecture) -> None:
    assert _asked(machine, "fchmodat", -100, 0, 0o4755, sockets=Sockets.ANY) == EPERM
    assert _asked(machine, "fchmod", 3, 0o2755, sockets=Sockets.ANY) == EPERM
    assert _asked(machine, "fchmodat", -100, 0, 0o1777, sockets=Sockets.ANY) == ALLOW
    assert _asked(machine, "openat", -100, 0, os.O_CREAT, 0o4755, sockets=Sockets.ANY) == EPERM
    assert _asked(machine, "openat", -100, 0, os.O_CREAT, 0o644, sockets=Sockets.ANY) == ALLOW
    # Without O_CREAT the fourth argument is whatever was in the register.
    assert _asked(machine, "openat", -100, 0, os.O_RDONLY, 0o6777, sockets=Sockets.ANY) == ALLOW
    assert _asked(machine, "openat2", sockets=Sockets.ANY) == ENOSYS


@BOTH
def test_of_the_same_user_ours_cannot_be_signalled(machine: Architecture) -> None:
    expectations = {-1: EPERM, 4711: EPERM, -4712: EPERM, 4712: ALLOW, 0: ALLOW, -4711: ALLOW}
    for target, expected in expectations.items():
        assert _asked(machine, "kill", target, 9, sockets=Sockets.PAIRS, shared_user=True) == expected
    assert _asked(machine, "kill", -1, 9, sockets=Sockets.ANY) == ALLOW
    assert _asked(machine, "ptrace", sockets=Sockets.PAIRS, shared_user=True) == EPERM
    assert _asked(machine, "ptrace", sockets=Sockets.ANY) == ALLOW
    for name in ("shmget", "mq_open"):
        assert _asked(machine, name, sockets=Sockets.PAIRS, shared_user=True) == EPERM
        assert _asked(machine, name, sockets=Sockets.ANY) == ALLOW


@BOTH
def test_shared_memory_comes_in_small_segments(machine: Architecture) -> None:
    for size, expected in ((0, ALLOW), (56, ALLOW), (16384, ALLOW), (16385, EPERM), (2**40, EPERM), (2**63, EPERM)):
        assert _asked(machine, "shmget", 0, size, 0o600, sockets=Sockets.ANY) == expected
