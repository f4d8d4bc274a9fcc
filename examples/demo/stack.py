"""The stack of a demo: `hotswap up` in a process of its own, until it is told to stop."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from examples.demo.errors import DemoFailed
from examples.demo.folders import DemoFolder

_READY_LIMIT = 300.0  # seconds; `hotswap up` itself gives up before
_STOP_LIMIT = 40.0  # seconds; it promises 20
_PR_SET_PDEATHSIG = 1


def environment_of(folder: DemoFolder, outer: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process of a demo.

    Nothing that was set for another HotSwap reaches this one: neither its database nor its login.
    """
    own = {name: value for name, value in outer.items() if not name.startswith("HOTSWAP_")}
    return own | {
        "HOTSWAP_DATA_DIR": str(folder.data),
        "HOTSWAP_CONFIG": str(folder.configuration),
        "TMPDIR": str(folder.temporary),
    }


class Stack:
    """A running `hotswap up`."""

    def __init__(self, folder: DemoFolder, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process

    @classmethod
    def start(
        cls,
        program: Path,
        folder: DemoFolder,
        environment: Mapping[str, str],
        nodes: Mapping[str, int],
        *,
        outlives_us: bool,
    ) -> Stack:
        """Start it on free ports. Unless it `outlives_us` it is told to stop even when we are killed."""
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                [str(program), *up_arguments(folder, nodes)],
                cwd=folder.path,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we tell it
                preexec_fn=None if outlives_us else _stop_signal_at_our_death(),
            )
        return cls(folder, process)

    def wait_until_ready(self) -> dict[str, str]:
        """Its URLs. Raises DemoFailed with the end of its output when it does not get ready."""
        deadline = time.monotonic() + _READY_LIMIT
        while self._process.poll() is None and time.monotonic() < deadline:
            if urls := self.folder.urls():
                return urls
            time.sleep(0.1)
        said = self.folder.log.read_text("utf-8", "replace").splitlines()[-6:]
        raise DemoFailed(
            "\n".join(["the stack did not get ready; `hotswap up` said:", *(f"     {line}" for line in said)])
        )

    def stop(self) -> bool:
        """Tell it to stop everything and wait for that. False when it had to be killed, or had died before."""
        if self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_LIMIT) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False


def up_arguments(folder: DemoFolder, nodes: Mapping[str, int]) -> list[str]:
    """The command line after `hotswap`."""
    return ["up", "--data-dir", str(folder.data), "--port", "0", "--nodes", nodes_argument(nodes)]


def nodes_argument(nodes: Mapping[str, int]) -> str:
    """What `hotswap up --nodes` takes."""
    return ",".join(f"{name}={count}" for name, count in nodes.items())


def stop_kept(folder: DemoFolder) -> bool:
    """Stop the stack that an earlier demo left up, and wait for its end. False if it does not end in time."""
    pid = folder.supervisor()
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + _STOP_LIMIT
    while folder.in_use():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _stop_signal_at_our_death() -> Callable[[], None]:
    """For a child between fork and exec; everything is looked up before the fork."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) and None
