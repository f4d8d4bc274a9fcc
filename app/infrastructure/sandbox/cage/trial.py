"""What this machine can do, found by doing it, each in a child of its own."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import Any

from app.infrastructure.sandbox.cage import cgroup, landlock, namespaces, seccomp, syscalls, users
from app.infrastructure.sandbox.cage.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, MS_PRIVATE, MS_REC, mount
from app.infrastructure.sandbox.plan import Sockets

_WITHIN = 10.0


def everything() -> dict[str, Any]:
    """As `Capabilities`."""
    root = _works(_change_user)
    enter = _nothing if root else namespaces.enter_user_namespace
    controllers: tuple[str, ...]
    folder, controllers = cgroup.usable()
    return {
        "root": root,
        "user_namespace": _works(namespaces.enter_user_namespace),
        "mount_namespace": _works(lambda: _mounts(enter)),
        "pid_namespace": _works(lambda: _pids(enter, _nothing)),
        "network_namespace": _works(lambda: _network(enter)),
        "proc_mount": _works(lambda: _pids(enter, _proc)),
        "seccomp": _works(_filter),
        "landlock": landlock.version() if _works(_landlock) else 0,
        "cgroup": folder,
        "cgroup_controllers": controllers,
    }


def _works(attempt: Callable[[], None]) -> bool:
    """Whether it comes to an end without an error, in time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            syscalls.die_with_parent(signal.SIGKILL)
            attempt()
            code = 0
        finally:
            os._exit(code)
    ends = os.pidfd_open(child)
    if not select.select([ends], [], [], _WITHIN)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(ends)
    return os.waitpid(child, 0)[1] == 0


def _nothing() -> None:
    return None


def _change_user() -> None:
    if os.geteuid() != 0:
        raise PermissionError
    users.become(users.FIRST)


def _mounts(enter: Callable[[], None]) -> None:
    """A read-only system takes binding, restricting and pivoting, which some profiles refuse one by one."""
    enter()
    syscalls.unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("trial", "/tmp", "tmpfs", 0, "size=64k,nr_inodes=16")
    os.chdir("/tmp")
    os.mkdir("old")  # noqa: PTH102
    syscalls.pivot_root(".", "old")
    os.mkdir("/usr")  # noqa: PTH102
    mount("/old/usr", "/usr", None, syscalls.MS_BIND | MS_REC)
    have = os.statvfs("/usr").f_flag & 0xC0F
    mount("none", "/usr", None, syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | have)
    syscalls.unmount("/old")


def _pids(enter: Callable[[], None], then: Callable[[], None]) -> None:
    enter()
    syscalls.unshare(CLONE_NEWPID)

    def inside() -> None:
        if os.getpid() != 1:
            raise OSError("not the first process")
        then()

    if not _works(inside):
        raise OSError("no process in it")


def _proc() -> None:
    syscalls.unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", 0)


def _network(enter: Callable[[], None]) -> None:
    enter()
    syscalls.unshare(CLONE_NEWNET)
    syscalls.loopback_up()


def _filter() -> None:
    syscalls.no_new_privileges()
    architecture = seccomp.for_this_machine()
    seccomp.apply(seccomp.build(architecture, Sockets.PAIRS, shared_user=True, own_ipc=False, protected=()))
    if not seccomp.is_refused("socket"):
        raise OSError("the filter does not filter")


def _landlock() -> None:
    syscalls.no_new_privileges()
    landlock.restrict(landlock.version(), [("/usr", landlock.READ)])
    try:
        os.listdir("/etc")  # noqa: PTH208
    except PermissionError:
        return
    raise OSError("Landlock does not hold")
