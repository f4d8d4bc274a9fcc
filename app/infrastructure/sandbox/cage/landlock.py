"""Landlock (landlock(7)): keeps a process to the files that are named, without any privilege.

It also keeps ptrace and /proc/<pid>/environ, mem and fd of all processes outside from it, and from version 6 on
signals and abstract sockets.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

from app.infrastructure.sandbox.cage.syscalls import check, system_call

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_VERSION = (1 << 13) - 1
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = _FIRST_VERSION | _REFER | _TRUNCATE | _IOCTL_DEV
DEVICE = READ_FILE | WRITE_FILE | _TRUNCATE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scoped")]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The interface's version, 0 where the kernel has none or it is not switched on."""
    return max(0, system_call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def handled(interface: int) -> int:
    """All rights on files that a version knows; what is handled and not granted is refused."""
    rights = _FIRST_VERSION
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        rights |= right if interface >= since else 0
    return rights


def restrict(interface: int, granted: Sequence[tuple[str, int]]) -> None:
    """Keeps this process, and what it starts, to (path, rights); paths that do not exist are passed over.

    Needs no_new_privs. Cannot be taken back.
    """
    all_rights = handled(interface)
    attributes = _Ruleset(all_rights, 0, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    size = 24 if interface >= 6 else 16 if interface >= 4 else 8
    ruleset = check(
        system_call(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)), "landlock"
    )
    try:
        for path, rights in granted:
            _grant(ruleset, path, rights & all_rights)
        check(system_call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _FOR_FILES
        rule = _Beneath(rights, parent)
        kind = ctypes.c_int(_PATH_BENEATH)
        check(
            system_call(_ADD_RULE, ctypes.c_int(ruleset), kind, ctypes.byref(rule), ctypes.c_uint32(0)),
            f"landlock rule for {path}",
        )
    finally:
        os.close(parent)
