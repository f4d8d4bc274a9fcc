"""A module's own commands, run to their end: hooks and health commands."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import logs

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. `code` is None if it was killed at its timeout, negative for a signal."""

    code: int | None
    output_tail: str

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0

    def describe(self, timeout: float) -> str:
        """One clause for a message."""
        if self.code is None:
            return f"took longer than {timeout:g} s"
        return f"was ended by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"


def _die_with_parent() -> None:
    """A command that outlived the agent would run beside its own repetition."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def run_command(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float, output: Path
) -> Outcome:
    """Run a command in a session of its own, its output appended to a file.

    At the timeout (seconds), or if this is cancelled, its whole process group is killed; otherwise what it leaves in
    the background goes on, as a hook that starts a daemon means it. A program that cannot be started is code 127, with
    the reason as output.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    since = logs.size_of(output)
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    except OSError as error:
        os.write(descriptor, f"{command[0]}: {error.strerror}\n".encode())
        return Outcome(127, logs.tail(output, since))
    finally:
        os.close(descriptor)
    try:
        async with asyncio.timeout(timeout):
            code: int | None = await process.wait()
    except TimeoutError:
        code = None
        kill_group(process.pid)
        await process.wait()
    except asyncio.CancelledError:
        kill_group(process.pid)
        raise
    return Outcome(code, logs.tail(output, since))


def kill_group(group: int) -> None:
    """SIGKILL to what is left of a process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
