"""The system call filter, in classic BPF, written by hand: each rule answers for one call, all others pass.

Layout of what the program reads, and the return values: seccomp(2), `struct seccomp_data`. Only the low halves of
arguments are looked at, unless said otherwise: what is checked are ints, which the kernel cuts to 32 bits itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from app.infrastructure.sandbox.cage.syscalls import check, prctl, system_call
from app.infrastructure.sandbox.plan import Sockets

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000

_NUMBER = 0
_ARCHITECTURE = 4
_ARGUMENTS = 16
_X32_BIT = 0x40000000

_SET_ID_BITS = 0o6000
_CREATES = os.O_CREAT | 0o20000000  # with __O_TMPFILE, the part of O_TMPFILE that is not O_DIRECTORY
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
# What socket(2) may make; none of the others: AF_VSOCK leads to the host of a virtual machine, the rest to old code.
_FAMILIES: dict[Sockets, tuple[int, ...]] = {
    Sockets.LOCAL_AND_INTERNET: (_UNIX, _INET, _INET6, _NETLINK),
    Sockets.NO_UNIX: (_INET, _INET6, _NETLINK),
    Sockets.ONLY_UNIX: (_UNIX,),
    Sockets.PAIRS: (),
}

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """AUDIT_ARCH_* and the numbers of the calls (asm/unistd_64.h; asm-generic/unistd.h). None: has no such call."""

    audit: int
    numbers: dict[str, int]
    has_x32: bool = False


# From pidfd_open on, numbers are the same everywhere.
_SAME = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429}
_SAME |= {"fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435}
_SAME |= {"openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442, "fchmodat2": 452}

X86_64 = Architecture(
    0xC000003E,
    _SAME
    | {"open": 2, "shmget": 29, "socket": 41, "clone": 56, "kill": 62, "semget": 64, "msgget": 68, "creat": 85}
    | {"chmod": 90, "fchmod": 91, "ptrace": 101, "rt_sigqueueinfo": 129, "mknod": 133, "pivot_root": 155}
    | {"mount": 165, "umount2": 166, "init_module": 175, "delete_module": 176, "tkill": 200, "tgkill": 234}
    | {
        "mq_open": 240,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "openat": 257,
        "mknodat": 259,
    }
    | {"fchmodat": 268, "unshare": 272, "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "prlimit64": 302}
    | {"open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313}
    | {"kexec_file_load": 320, "bpf": 321, "userfaultfd": 323},
    has_x32=True,
)
AARCH64 = Architecture(
    0xC00000B7,
    _SAME
    | {"mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41, "fchmod": 52, "fchmodat": 53, "openat": 56}
    | {"unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106, "ptrace": 117, "kill": 129}
    | {"tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194}
    | {"socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "rt_tgsigqueueinfo": 240}
    | {"perf_event_open": 241, "prlimit64": 261, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270}
    | {"process_vm_writev": 271, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294},
)
ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}

# Ways to a larger attack surface of the kernel, to mounts and namespaces of its own, or around this filter
# (io_uring makes sockets without socket(2); keys are kept by user, not by namespace).
_NEVER: tuple[str, ...] = ("io_uring_setup", "io_uring_enter", "io_uring_register", "mount", "umount2")
_NEVER += (
    "pivot_root",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "setns",
    "bpf",
    "perf_event_open",
)
_NEVER += ("userfaultfd", "keyctl", "add_key", "request_key", "open_by_handle_at", "kexec_load", "kexec_file_load")
_NEVER += ("init_module", "finit_module", "delete_module")
# Those that take a structure, which a filter cannot look into. The C library then falls back to the older call.
_UNKNOWN = ("clone3", "openat2")
# (call, position of the mode): no set-user-ID or set-group-ID file can be made, since it would be one of our user's.
_MODES = (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("mknod", 1), ("mknodat", 2), ("creat", 1))
# (call, position of the flags, position of the mode): the mode means something only when a file may be created.
_OPENS = (("open", 1, 2), ("openat", 2, 3))
# (call, position of a process id), kept from ours where they are processes of its own user.
_TARGETS: tuple[tuple[str, int], ...] = (("kill", 0), ("tkill", 0), ("tgkill", 0), ("rt_sigqueueinfo", 0))
_TARGETS += (("rt_tgsigqueueinfo", 0), ("pidfd_open", 0), ("prlimit64", 0))
# Ways into the memory of other processes of the same user.
_SHARED_USER = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
# What these make is memory of the kernel's that no process shows. Segments of shared memory are let through where they
# end with an IPC namespace, up to a size that suits PostgreSQL's interlock; a namespace holds 4096 of them at most.
_NEVER += ("semget", "msgget")
_LARGEST_SEGMENT = 16384


def build(
    architecture: Architecture, sockets: Sockets, *, shared_user: bool, own_ipc: bool, protected: Sequence[int]
) -> list[Instruction]:
    """The program. `shared_user`: processes of ours run as the command's own user and are not hidden by a namespace;
    then the ids in `protected`, and -1 (everybody), cannot be signalled. `own_ipc`: it has an IPC namespace."""
    numbers = architecture.numbers
    program = _entry(architecture)
    refused = [*_NEVER, *(_SHARED_USER if shared_user else ()), *(() if own_ipc else ("shmget", "mq_open"))]
    for name in refused:
        program += _rule(numbers[name], [_refuse()])
    for name in _UNKNOWN:
        program += _rule(numbers[name], [_refuse(errno.ENOSYS)])
    for name in ("clone", "unshare"):
        program += _rule(numbers[name], _refuse_bits(0, _NAMESPACE_FLAGS))
    for name, position in _MODES:
        if name in numbers:
            program += _rule(numbers[name], _refuse_bits(position, _SET_ID_BITS))
    for name, flags, position in _OPENS:
        if name in numbers:
            creates = [_argument(flags), (ANY_BIT, 1, 0, _CREATES), _allow()]
            program += _rule(numbers[name], creates + _refuse_bits(position, _SET_ID_BITS))
    if sockets is not Sockets.ANY:
        program += _rule(numbers["socket"], _refuse_others(0, _FAMILIES[sockets]))
    if own_ipc:
        program += _rule(numbers["shmget"], _refuse_above(1, _LARGEST_SEGMENT))
    if shared_user:
        for name, position in _TARGETS:
            program += _rule(numbers[name], _refuse_values(position, [0xFFFFFFFF, *protected]))
    return [*program, _allow()]


def apply(program: Sequence[Instruction]) -> None:
    """For this process and all that it becomes or starts; needs no_new_privs. Cannot be taken back."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    memory = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    holder = Program(len(program), ctypes.addressof(memory))
    prctl(22, 2, ctypes.addressof(holder))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def for_this_machine() -> Architecture:
    """Raises OSError (ENOSYS) on a machine whose numbers are not known here."""
    try:
        return ARCHITECTURES[os.uname().machine]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no system call filter for {os.uname().machine}") from None


def is_refused(name: str) -> bool:
    """Whether a call without arguments now answers EPERM, which an unfiltered kernel does not for these."""
    try:
        check(system_call(for_this_machine().numbers[name], None, None, None), name)
    except OSError as error:
        return error.errno == errno.EPERM
    return False


def _entry(architecture: Architecture) -> list[Instruction]:
    """Another instruction set (32 bit) would have other numbers: it is not answered but ended."""
    entry = [(LOAD, 0, 0, _ARCHITECTURE), (EQUAL, 1, 0, architecture.audit), (RETURN, 0, 0, KILL)]
    entry.append((LOAD, 0, 0, _NUMBER))
    if architecture.has_x32:
        entry += [(AT_LEAST, 0, 1, _X32_BIT), (RETURN, 0, 0, KILL)]
    return entry


def _rule(number: int, body: list[Instruction]) -> list[Instruction]:
    """Every body ends by returning, so the number is still loaded for the next rule."""
    return [(EQUAL, 0, len(body), number), *body]


def _argument(position: int) -> Instruction:
    return (LOAD, 0, 0, _ARGUMENTS + 8 * position)


def _refuse(number: int = errno.EPERM) -> Instruction:
    return (RETURN, 0, 0, ERRNO | number)


def _allow() -> Instruction:
    return (RETURN, 0, 0, ALLOW)


def _refuse_bits(position: int, bits: int) -> list[Instruction]:
    return [_argument(position), (ANY_BIT, 0, 1, bits), _refuse(), _allow()]


def _refuse_values(position: int, values: Sequence[int]) -> list[Instruction]:
    tests = [(EQUAL, len(values) - index, 0, value & 0xFFFFFFFF) for index, value in enumerate(values)]
    return [_argument(position), *tests, _allow(), _refuse()]


def _refuse_above(position: int, largest: int) -> list[Instruction]:
    """Of all 64 bits: the high half lies four bytes further."""
    load_high = (LOAD, 0, 0, _ARGUMENTS + 8 * position + 4)
    high_is_zero = [load_high, (EQUAL, 1, 0, 0), _refuse()]
    return [*high_is_zero, _argument(position), (AT_LEAST, 0, 1, largest + 1), _refuse(), _allow()]


def _refuse_others(position: int, values: Sequence[int]) -> list[Instruction]:
    tests = [(EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_argument(position), *tests, _refuse(), _allow()]
