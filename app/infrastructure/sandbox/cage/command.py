"""The last steps before the command: what the process that becomes it puts on itself. Each step is for good."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Sequence

from app.infrastructure.sandbox.cage import landlock, layout, seccomp, syscalls, users
from app.infrastructure.sandbox.cage.processes import threads_of_user
from app.infrastructure.sandbox.plan import Identity, Plan

# Shells' own answers for what cannot be started (POSIX, Shell Command Language 2.8.2).
NOT_EXECUTABLE, NOT_FOUND = 126, 127


def become_command(plan: Plan, user: int | None, output: int, protected: Sequence[int]) -> None:
    """Does not return when all goes well. `user` is a dedicated user's id; `protected` are processes of ours that a
    command of the same user is not to signal. Raises OSError before the command's own start; a command that cannot be
    started is told on its output, with a shell's exit code."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
        # Where both are the same, dup2 leaves it to be closed by exec.
        os.set_inheritable(target, True)
    already = threads_of_user(os.getuid()) if plan.identity is Identity.SAME else 0
    if user is not None:
        syscalls.drop_capabilities()
        users.become(user)
    elif plan.identity is Identity.NAMESPACE:
        syscalls.drop_capabilities()
    _limit(plan, already)
    # Only now: a change of user takes it back.
    syscalls.die_with_parent(signal.SIGKILL)
    os.umask(0o022)
    _enter(plan)
    syscalls.no_new_privileges()
    if plan.landlock:
        landlock.restrict(plan.landlock, granted(plan))
    if plan.seccomp:
        architecture = seccomp.for_this_machine()
        program = seccomp.build(
            architecture,
            plan.sockets,
            shared_user=plan.shares_user,
            own_ipc=plan.mount_namespace,
            protected=protected,
        )
        seccomp.apply(program)
    _forget_signals()
    if user is not None:
        # The change of user has closed this process to that user as well. Exec opens it; the watchdog may look before.
        syscalls.show_own_memory()
    os.closerange(3, 65536)
    _execute(plan)


def _enter(plan: Plan) -> None:
    folder = os.path.join(folder_of(plan), plan.folder)  # noqa: PTH118
    try:
        os.chdir(folder)
    except PermissionError as error:
        raise OSError(
            f"its user cannot reach {folder}: without a mount namespace, every folder above it must let others pass"
        ) from error


def folder_of(plan: Plan) -> str:
    """The workspace as the command sees it."""
    return layout.WORKSPACE if plan.mount_namespace else plan.workspace


def environment_of(plan: Plan) -> dict[str, str]:
    """All that the command gets."""
    if plan.mount_namespace:
        home, temporary = layout.HOME, "/tmp"
    else:
        home, temporary = f"{plan.scratch}/home", f"{plan.scratch}/tmp"
    own = {"PATH": layout.PATH, "HOME": home, "TMPDIR": temporary, "LANG": "C.UTF-8"}
    if plan.landlock:
        # Git does not go on when there is a configuration of the system that it may not read.
        own["GIT_CONFIG_NOSYSTEM"] = "1"
    return {**own, "USER": layout.USER_NAME, "LOGNAME": layout.USER_NAME, **plan.environment}


def granted(plan: Plan) -> list[tuple[str, int]]:
    """For Landlock: (path, rights)."""
    names = [*layout.ETC, *layout.ETC_OF_OURS]
    paths = [*layout.SYSTEM, *(f"/etc/{name}" for name in names), "/proc", *plan.readable]
    readable = [(path, landlock.READ) for path in paths]
    devices = [(f"/dev/{name}", landlock.DEVICE) for name in layout.DEVICES]
    writable = [plan.workspace, plan.scratch]
    if plan.identity is Identity.DEDICATED:
        # POSIX semaphores and shared memory. Of the same user, PostgreSQL's would be there, too.
        writable.append("/dev/shm")
    return [*readable, *devices, *((path, landlock.WRITE) for path in writable)]


def _limit(plan: Plan, already: int) -> None:
    """RLIMIT_DATA and not RLIMIT_AS: what is only reserved (Java, Node and Go reserve gigabytes) counts nothing."""
    limits = {
        resource.RLIMIT_CPU: max(1, int(plan.cpu_seconds + 0.999)),
        resource.RLIMIT_FSIZE: plan.file_bytes,
        resource.RLIMIT_DATA: plan.memory_bytes,
        resource.RLIMIT_NOFILE: plan.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 8 * 1024 * 1024,
        resource.RLIMIT_MSGQUEUE: 819200,
        # In a user namespace the supervisor and the first process count as well.
        resource.RLIMIT_NPROC: plan.processes + already + (2 if plan.identity is Identity.NAMESPACE else 0),
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (wanted, wanted))


def _forget_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so over exec."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _execute(plan: Plan) -> None:
    try:
        os.execvpe(plan.command[0], list(plan.command), environment_of(plan))
    except OSError as error:
        reason = error.strerror or str(error)
        os.write(2, os.fsencode(f"cannot start {plan.command[0]!r}: {reason}\n"))
        os._exit(NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE)
