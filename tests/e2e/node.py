"""One node of the local stack, from below: its processes and folders."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ledger import Ledger
from deploy.local.processes import session_members
from tests.e2e.processes import command_of
from tests.e2e.waiting import GENEROUS, until


@dataclass(frozen=True)
class Node:
    """`root` is the stack's data folder."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / "nodes" / self.name

    @property
    def id(self) -> str:
        return (self.folder / "id").read_text().strip()

    # --- processes

    def agent(self) -> int:
        """The agent's pid, once there is one."""
        return until(lambda: next(self._agents(), 0), f"{self.name} has an agent")

    def _agents(self) -> Iterator[int]:
        hosts = (record for record in Ledger(self.root / "run" / "processes").records() if record.name == "agents")
        for host in hosts:
            for member in session_members(host.key):
                if command_of(member.pid) == f"hotswap-agent {self.id}":
                    yield member.pid

    def holder(self) -> int:
        """The holder's pid, once there is one."""
        return until(lambda: next(self._holders(), 0), f"{self.name} has a holder")

    def _holders(self) -> Iterator[int]:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and command_of(int(entry.name)) == f"hotswap-holder --folder {self.folder}":
                yield int(entry.name)

    def kill_agent(self) -> None:
        os.kill(self.agent(), signal.SIGKILL)

    def kill_holder(self) -> None:
        os.kill(self.holder(), signal.SIGKILL)

    @contextmanager
    def stopped_agent(self) -> Iterator[None]:
        """The agent stands still, as under SIGSTOP or on a machine that swaps."""
        pid = self.agent()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def without_agent(self) -> Iterator[None]:
        """The agent is killed and kept from coming back: its lock is taken. Its modules go on."""
        descriptor = os.open(self.folder / "agent.lock", os.O_RDWR)
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        deadline = time.monotonic() + GENEROUS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < deadline, f"the lock of {self.name}'s agent cannot be had"
                for pid in self._agents():
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.005)

    # --- what is on it

    def module(self, name: str) -> Path:
        """A module's folder. Raises StopIteration where it has never been here."""
        return next((self.folder / "modules").glob(f"*/{name}"))

    def starts(self, module: str) -> list[str]:
        """The versions of the probe module that were started here, in order."""
        return [line.split()[0] for line in (self.module(module) / "data" / "starts").read_text().splitlines()]

    def open_gate(self, module: str, version: str) -> None:
        """Let a gated release of the probe module get healthy here."""
        data = self.module(module) / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / f"open-{version}").touch()
