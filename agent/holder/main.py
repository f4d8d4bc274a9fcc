"""Runs a holder: `python -m agent.holder --folder F`, or `run(F)` in a fork of a process that has the imports done."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import sys
from pathlib import Path

from agent.holder import identity, shim, wire
from agent.holder.holder import LOG_NAME as LOG_NAME
from agent.holder.loop import Loop
from agent.holder.protocol import LOCK_NAME, SOCKET_NAME
from agent.holder.report import report
from agent.holder.server import Server

_BACKLOG = 16
_LOG_BYTES = 1024 * 1024


def run(folder: Path) -> int:
    """Serves the folder until an agent calls `shutdown`. Returns the exit code, 0 also where another holder is at work.

    It leaves the caller's session, closes every descriptor it did not make, and writes what it has to say to
    `holder.log`. To be called in a process of its own that runs no threads. Raises OSError (no such folder, full disk).
    """
    folder = folder.resolve()
    _detach(folder)
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report("another holder serves this folder")
        return 0
    identity.name_this_process(f"hotswap-holder --folder {folder}")
    open_files = _raise_file_limit()
    gc.freeze()  # the collector would touch, and so copy, every page shared with the process we were forked from
    loop = Loop()
    listener = wire.new_socket()
    wire.bind(listener, folder)
    listener.listen(_BACKLOG)
    Server(loop, folder, listener, open_files)
    loop.run()
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    return 0


def _detach(folder: Path) -> None:
    """Nothing of the caller stays: session, terminal, working folder, descriptors, signal handlers."""
    with contextlib.suppress(PermissionError):  # it leads a group already
        os.setsid()
    shim.reset_signals()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(folder / LOG_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # A fork may have inherited buffers of its parent's; ours go to the log.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)


def _raise_file_limit() -> int:
    """To the hard limit; returns the soft limit before, which modules get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def main(arguments: list[str]) -> int:
    """`--folder F`, and `--detach` to return at once and serve in a child. Parsed by hand: argparse would stay in the
    memory of every holder."""
    detach = "--detach" in arguments
    rest = [argument for argument in arguments if argument != "--detach"]
    if len(rest) != 2 or rest[0] != "--folder":
        print("usage: python -m agent.holder --folder FOLDER [--detach]", file=sys.stderr)
        return 2
    folder = Path(rest[1])
    if not folder.is_dir():
        print(f"there is no folder {folder}", file=sys.stderr)
        return 2
    if detach and os.fork():
        return 0
    return run(folder)
