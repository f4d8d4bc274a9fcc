"""Namespaces: who enters which, and the first process of a pid namespace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from app.infrastructure.sandbox.cage import layout, syscalls
from app.infrastructure.sandbox.plan import Identity, Plan


def enter_user_namespace() -> None:
    """Maps us, and nobody else, to the sandbox's user inside. For this process, and without a way back; it keeps its
    user outside, and has every capability over what it makes from here on. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{layout.USER_INSIDE} {user} 1"),
        ("gid_map", f"{layout.USER_INSIDE} {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text)


def prepare_children(plan: Plan) -> None:
    """In the supervisor: what it must be before it starts the command's first process."""
    if plan.identity is Identity.NAMESPACE:
        enter_user_namespace()
    if plan.pid_namespace:
        syscalls.unshare(syscalls.CLONE_NEWPID)


def enter_others(plan: Plan) -> None:
    """In the first process of the run."""
    flags = 0
    if plan.mount_namespace:
        flags |= syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    if plan.network_namespace:
        flags |= syscalls.CLONE_NEWNET
    if flags:
        syscalls.unshare(flags)
    if plan.mount_namespace:
        syscalls.set_hostname(layout.USER_NAME.encode())
    if plan.network_namespace:
        syscalls.loopback_up()


def be_first_process(command: Callable[[], None]) -> int:
    """Process 1: starts the command, waits for whatever dies, and returns the command's wait status. When it ends,
    the kernel ends all others of the namespace. Nothing inside can signal or look into it."""
    child = os.fork()
    if child == 0:
        command()
        os._exit(125)
    while True:
        pid, status = os.wait()
        if pid == child:
            return status
