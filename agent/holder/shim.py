"""From the fork to the exec: what a process of a module finds when its program begins.

Runs in the child and never returns. Whatever fails before the exec goes to the parent through a pipe that the exec
closes, so an empty pipe means success.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import resource
import signal as signals
from collections.abc import Sequence
from dataclasses import dataclass

from agent.holder.limits import Bounds
from agent.holder.marker import VARIABLE, Marker
from agent.holder.protocol import Handover, ProcessSpec, StartFailed

_FIRST_SOCKET = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
_UMASK = 0o022


@dataclass(frozen=True, slots=True)
class Account:
    """A user to become."""

    name: str
    uid: int
    gid: int


def account_of(user: str | None) -> Account | None:
    """Looked up before the fork. Raises StartFailed."""
    if user is None:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise StartFailed(f"there is no user {user!r}") from error
    if os.geteuid() != 0 and entry.pw_uid != os.geteuid():
        raise StartFailed(f"only root may start a process as {user!r}")
    return Account(user, entry.pw_uid, entry.pw_gid)


def environment(spec: ProcessSpec, marker: Marker, pid: int) -> dict[str, str]:
    """The process's whole environment."""
    result = dict(spec.environment)
    result[VARIABLE] = marker.for_pid(pid).text()
    if spec.handover is Handover.PORT:
        result["PORT"] = str(marker.port)
    elif spec.keys and spec.handover is Handover.SOCKET:
        result["LISTEN_FDS"] = str(len(spec.keys))
        result["LISTEN_FDNAMES"] = ":".join(key.rsplit("/", 1)[-1] for key in spec.keys)
        result["LISTEN_PID"] = str(pid)
        result["NGINX"] = "".join(f"{_FIRST_SOCKET + i};" for i in range(len(spec.keys)))
    return result


def fork(
    spec: ProcessSpec, marker: Marker, sockets: Sequence[int], bounds: Bounds, account: Account | None, files: int
) -> tuple[int, int]:
    """Starts the child; returns its pid and the pipe's end to read (non-blocking). `files` is the soft limit of open
    files to give back. Raises OSError."""
    reads, writes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        pid = os.fork()
    except OSError:
        os.close(reads)
        os.close(writes)
        raise
    if pid:
        os.close(writes)
        return pid, reads
    step, report = "session", writes
    try:
        os.setsid()
        reset_signals()
        step = "log file"
        _output(spec)
        step = "sockets"
        report = _place(sockets, writes)
        step = "limits"
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard) if hard >= 0 else files, hard))
        bounds.enter()
        os.umask(_UMASK)
        if account is not None:
            step = f"user {account.name}"
            _become(account)
        step = f"working folder {spec.cwd}"
        os.chdir(spec.cwd)
        step = f"command {spec.command[0]!r}"
        os.execvpe(spec.command[0], list(spec.command), environment(spec, marker, os.getpid()))
    except BaseException as error:
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        os.write(report, json.dumps({"step": step, "error": text}).encode())
    finally:
        os._exit(127)


def reset_signals() -> None:
    """As a program expects them: Python ignores SIGPIPE and SIGXFSZ, and an exec keeps what is ignored."""
    for signal in (signals.SIGPIPE, signals.SIGXFSZ, signals.SIGHUP, signals.SIGINT, signals.SIGTERM, signals.SIGCHLD):
        signals.signal(signal, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())


def _output(spec: ProcessSpec) -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    log = os.open(spec.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _place(sockets: Sequence[int], report: int) -> int:
    """The sockets to 3, 4, ... and nothing else above, but the pipe; returns where that is now.

    First far up, because one may sit where another has to go; dup2 onto itself would also leave CLOEXEC on.
    """
    high = [_dup_above(fd, _FIRST_SOCKET + len(sockets) + 1) for fd in (*sockets, report)]
    for i, fd in enumerate(high):
        os.dup2(fd, _FIRST_SOCKET + i, inheritable=i < len(sockets))
    after = _FIRST_SOCKET + len(high)
    os.closerange(after, os.sysconf("SC_OPEN_MAX"))
    return after - 1


def keep_only(fd: int) -> int:
    """Closes everything above stderr but `fd`, which becomes descriptor 3; for a fork that does not exec."""
    os.dup2(_dup_above(fd, _FIRST_SOCKET + 1), _FIRST_SOCKET, inheritable=False)
    os.closerange(_FIRST_SOCKET + 1, os.sysconf("SC_OPEN_MAX"))
    return _FIRST_SOCKET


def _dup_above(fd: int, lowest: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)


def _become(account: Account) -> None:
    if os.geteuid() == 0:
        os.initgroups(account.name, account.gid)
        os.setgid(account.gid)
        os.setuid(account.uid)
