"""kill -9 of each of our own processes while a command runs: nothing of the run outlives it."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.sandbox.cage.processes import descendants
from tests.integration.sandbox import attacks
from tests.integration.sandbox.conftest import NAMES
from tests.integration.sandbox.processes_seen import wait_for, with_token
from tests.integration.sandbox.sites import NOBODY, Driver, Site, Sites

DEADLINE = 30.0


class Background:
    """A run that goes on in a driver of its own while the test does something to it."""

    def __init__(self, site: Site, base: Path) -> None:
        user = NOBODY if site.name.startswith("user") else 0
        self.driver = Driver(user if os.geteuid() == 0 else 0, base)
        self.token = str(secrets.randbelow(10**12))
        self.answer: dict[str, Any] | None = None
        self.site = Site(site.name, site.capabilities, base, self.driver)
        self.workspace = self.site.workspace()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            # It goes on for long after leaving what is to outlive it.
            program = attacks.OUTLIVE + "\ntime.sleep(60)"
            self.answer = self.site.python(program, self.token, workspace=self.workspace, limits={"wall_seconds": 60.0})
        except (AssertionError, BrokenPipeError):
            self.answer = None

    def ours(self) -> list[int]:
        """Guardian and supervisor, once the command has left what is to outlive it."""
        deadline = time.monotonic() + DEADLINE
        while len(found := descendants(self.driver.process.pid)) < 5 or not with_token(f"600.0{self.token}"):
            assert self.thread.is_alive(), self.answer
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found[:2]

    def close(self) -> None:
        self.driver.process.kill()
        self.driver.process.wait()
        self.thread.join(DEADLINE)


@pytest.fixture
def background(sites: Sites, base: Path, name: str) -> Iterator[Background]:
    running = Background(sites[name], base)
    yield running
    running.close()


def _gone(pids: list[int]) -> bool:
    """Ended, even if who inherits it (the machine's init) has not asked for it yet."""
    return not any(_command_line(pid) for pid in pids)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not _gone(pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outlives_the_caller(background: Background, base: Path) -> None:
    ours = background.ours()
    os.kill(background.driver.process.pid, signal.SIGKILL)
    wait_for(background.token, present=False)
    _wait_until_gone(ours)
    assert not list(base.glob(f".{background.workspace.name}*"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["guardian", "supervisor"])
def test_nothing_outlives_the_supervisor(background: Background, which: str, base: Path) -> None:
    ours = background.ours()
    os.kill(ours[0 if which == "guardian" else 1], signal.SIGKILL)
    wait_for(background.token, present=False)
    _wait_until_gone(ours)
    background.thread.join(DEADLINE)
    assert not list(base.glob(f".{background.workspace.name}*"))
    group = background.site.capabilities.cgroup
    assert not group or not list(Path(group).glob(f"hotswap-{ours[0]}-*"))
    # The caller was told: as of a run that was cancelled, or that it broke.
    assert background.answer is not None
    assert background.answer.get("limit") == "CANCELLED" or "broken" in background.answer
