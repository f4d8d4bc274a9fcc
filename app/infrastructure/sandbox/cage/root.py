"""The file system that the command sees, built in a mount namespace of its own: a small tmpfs with the system bound
into it read-only, and nothing else of the machine. Done by the first process of the pid namespace."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from app.infrastructure.sandbox.cage import layout, syscalls
from app.infrastructure.sandbox.cage.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    mount,
)
from app.infrastructure.sandbox.plan import Plan, Proc

_OLD = Path("/old")
# Of statvfs(3) and mount(2): the same bits but for the last. A mount from outside keeps these, or it is not remounted.
_KEPT_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048
_ST_RELATIME = 4096


def build(plan: Plan, user: int, *, network: bool) -> None:
    """Changes our root for good. `user` is the command's id as seen inside. Raises OSError.

    The order matters: the old root must be there while a new /proc is mounted (the kernel gives one only to who already
    sees one whole), and what is bound over /tmp comes after /tmp.
    """
    workspace = os.path.realpath(plan.workspace)
    readable = [(path, os.path.realpath(path)) for path in plan.readable]
    _enter_empty_root()
    for path in layout.SYSTEM:
        _same(path)
    _scratch(plan, user)
    for path, source in readable:
        _show(path, source)
    _etc(user, network=network)
    _devices()
    _processes(plan)
    _bind(workspace, layout.WORKSPACE, MS_NOSUID | MS_NODEV)
    syscalls.unmount("/old")
    _OLD.rmdir()
    mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _enter_empty_root() -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    base = next(path for path in ("/tmp", "/mnt", "/var", "/usr") if Path(path).is_dir())
    mount("hotswap", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=8192,mode=0755")
    os.chdir(base)
    Path("old").mkdir()
    syscalls.pivot_root(".", "old")
    os.chdir("/")


def _same(path: str) -> None:
    """The machine's own, as it is there: a link (/bin -> usr/bin) as a link, all else bound read-only."""
    old = _OLD / path.lstrip("/")
    if old.is_symlink():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).symlink_to(old.readlink())
    elif old.exists():
        _bind(path, path, MS_RDONLY | MS_NOSUID | MS_NODEV)


def _show(path: str, source: str) -> None:
    if any(path == system or path.startswith(f"{system}/") for system in layout.SYSTEM):
        return
    if not Path(path).exists():
        _bind(source, path, MS_RDONLY | MS_NOSUID | MS_NODEV)


def _bind(source: str, target: str, flags: int) -> None:
    old = _OLD / source.lstrip("/")
    place = Path(target)
    if old.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(os.fspath(old), target, None, MS_BIND | MS_REC)
    try:
        syscalls.restrict_mounts(target, flags)
    except OSError:
        # Before Linux 5.12: the mount itself only, with what it had.
        have = os.statvfs(target).f_flag
        kept = (have & _KEPT_FLAGS) | (MS_RELATIME if have & _ST_RELATIME else 0)
        mount("none", target, None, MS_REMOUNT | MS_BIND | flags | kept)


def _scratch(plan: Plan, user: int) -> None:
    """One file system in memory behind /tmp, /var/tmp, /dev/shm and HOME, so that one bound holds for all."""
    Path("/home").mkdir()
    options = f"size={plan.scratch_bytes},nr_inodes={plan.files},mode=0755"
    mount("scratch", "/home", "tmpfs", MS_NOSUID | MS_NODEV, options)
    for name, target in (("sandbox", layout.HOME), (".tmp", "/tmp"), (".var", "/var/tmp"), (".shm", "/dev/shm")):
        folder = Path("/home") / name
        folder.mkdir()
        folder.chmod(0o700)
        os.chown(folder, user, user)
        if target != os.fspath(folder):
            Path(target).mkdir(parents=True)
            mount(os.fspath(folder), target, None, MS_BIND)


def _etc(user: int, *, network: bool) -> None:
    for name in layout.ETC:
        _same(f"/etc/{name}")
    etc = Path("/etc")
    etc.mkdir(exist_ok=True)
    account = f"{layout.USER_NAME}:x:{user}:{user}::{layout.HOME}:/bin/sh"
    (etc / "passwd").write_text(f"root:x:0:0::/nowhere:/bin/false\n{account}\n")
    (etc / "group").write_text(f"root:x:0:\n{layout.USER_NAME}:x:{user}:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    if network:
        for name in ("hosts", "resolv.conf"):
            with contextlib.suppress(OSError):
                (etc / name).write_bytes((_OLD / "etc" / name).read_bytes())


def _devices() -> None:
    for name in layout.DEVICES:
        node = Path("/dev") / name
        node.touch()
        mount(os.fspath(_OLD / "dev" / name), os.fspath(node), None, MS_BIND)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (Path("/dev") / name).symlink_to(f"/proc/self/fd{target}")
    Path("/dev/pts").mkdir()
    with contextlib.suppress(OSError):
        # Pseudo terminals of its own; some test suites want them, none is to fail to start for want of them.
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
        Path("/dev/ptmx").symlink_to("pts/ptmx")


def _processes(plan: Plan) -> None:
    Path("/proc").mkdir()
    if plan.proc is Proc.HOST:
        _bind("/proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    elif plan.proc is Proc.OWN:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
