"""A real agent process on a folder of its own, that a test can kill and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.certificates import CertificateAuthority, issue_node_certificate
from agent.crashpoints import VARIABLE
from tests.integration.agent.orchestrator import Orchestrator

ROOT = Path(__file__).parents[3]


class Node:
    """One node. `start` returns when its first heartbeat was answered."""

    def __init__(
        self, folder: Path, ca: CertificateAuthority, orchestrator: Orchestrator, name: str = "qa-1", more: str = ""
    ) -> None:
        self.name = name
        self.folder = folder / name
        self.data = self.folder / "data"
        self.keys = self.folder / "keys"
        self.keys.mkdir(parents=True)
        self.orchestrator = orchestrator
        self.config = self.folder / "agent.toml"
        (self.folder / "ca.pem").write_bytes(ca.certificate)
        issue_node_certificate(ca, name, "QA").write(self.folder / "node.pem", self.folder / "node.key")
        self.config.write_text(
            f'node_id = "{name}"\nenvironment = "QA"\ndata_dir = "data"\ntrusted_keys = "keys"\n'
            f'path = "{os.environ["PATH"]}"\n'
            f'orchestrator = {{urls = ["{orchestrator.url}"]}}\n'
            'tls = {ca = "ca.pem", certificate = "node.pem", key = "node.key"}\n'
            'labels = {role = "web"}\nlocal = {map_listen = true, map_destinations = true}\n' + more
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running agent."""
        assert self.process is not None
        return self.process.pid

    def launch(self, crash_at: str = "") -> None:
        """Start the agent and return at once."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: crash_at}
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.main", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    async def start(self, crash_at: str = "") -> None:
        """Start the agent and wait until it is ready for commands."""
        self.launch(crash_at)
        await self.ready()

    async def ready(self) -> None:
        """Wait for an answered heartbeat of the agent that runs now."""
        beats = self.orchestrator.answered
        count = beats[self.name]
        await self.orchestrator.until(lambda: beats[self.name] >= count + 1 or self.ended())
        assert not self.ended(), self.log()

    def ended(self) -> bool:
        """Whether the agent's process has ended."""
        return self.process is None or self.process.poll() is not None

    async def died(self) -> None:
        """Wait for the end of the agent's process."""
        assert self.process is not None
        await asyncio.to_thread(self.process.wait, 60)

    async def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        await self.died()

    async def stop(self, modules: bool = True) -> None:
        """SIGINT (modules, too) or SIGTERM."""
        if not self.ended():
            os.kill(self.pid, signal.SIGINT if modules else signal.SIGTERM)
            await self.died()

    def log(self) -> str:
        """What the agent said."""
        return (self.folder / "agent.log").read_text()
