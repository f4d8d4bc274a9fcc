"""The system calls that Python has no function for, by ctypes. Each raises OSError with the call's errno."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_RELATIME = 1 << 21
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def check(result: int, what: str) -> int:
    """The result of a call that answers -1 on failure."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    arguments = [ctypes.c_ulong(number) for number in (value, third, 0, 0)]
    check(_libc.prctl(option, *arguments), f"prctl({option})")


def die_with_parent(number: int) -> None:
    """`number` is sent to us when the thread that made us ends. Lost by a change of user: ask again after one."""
    prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Whoever descends from us and loses its parent becomes our child."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_own_memory() -> None:
    """Our /proc/self/mem, environ and fd are closed to other processes of our user."""
    prctl(_PR_SET_DUMPABLE, 0)


def show_own_memory() -> None:
    """The opposite."""
    prctl(_PR_SET_DUMPABLE, 1)


def no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Nothing that we execute gets any capability, whatever its file says. The bounding set needs CAP_SETPCAP."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            # Past the last capability (EINVAL), or we have none to lose (EPERM).
            break


def unshare(flags: int) -> None:
    check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    names = [os.fsencode(text) if text is not None else None for text in (source, target, kind)]
    data = options.encode() if options is not None else None
    check(_libc.mount(*names, ctypes.c_ulong(flags), data), f"mount on {target}")


def unmount(target: str) -> None:
    check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = {"x86_64": 155}.get(os.uname().machine, 41)
    check(_libc.syscall(ctypes.c_long(number), os.fsencode(new), os.fsencode(old)), "pivot_root")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def restrict_mounts(target: str, flags: int) -> None:
    """MS_RDONLY, MS_NOSUID, MS_NODEV for a mount and all below it (mount_setattr, Linux 5.12)."""
    wanted = _MountAttributes(attr_set=flags)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )
    check(result, f"mount_setattr on {target}")


def set_hostname(name: bytes) -> None:
    check(_libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def loopback_up() -> None:
    """The interface `lo` of a new network namespace is down until somebody raises it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


@contextmanager
def looking_as(user: int | None) -> Iterator[None]:
    """What is opened meanwhile is opened as that user, who may look into its own processes even where we, as root, lack
    the capability to look into others'. Without a user, as we are."""
    if user is None:
        yield
        return
    previous = os.geteuid(), os.getegid()
    _libc.setfsgid(user)
    _libc.setfsuid(user)
    try:
        yield
    finally:
        _libc.setfsuid(previous[0])
        _libc.setfsgid(previous[1])


def system_call(number: int, *arguments: object) -> int:
    """A call without a function of its own; the arguments are ctypes values, bytes or None."""
    return int(_libc.syscall(ctypes.c_long(number), *arguments))
